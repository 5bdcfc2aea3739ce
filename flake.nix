{
  description = "Turns existing WireGuard interfaces into a full mesh, with no server";

  inputs.nixpkgs.url = "nixpkgs";

  outputs =
    { self, nixpkgs }:
    let
      systems = [ "x86_64-linux" "aarch64-linux" "armv7l-linux" ];
      forEach = make: nixpkgs.lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});
    in
    {
      packages = forEach (pkgs: {
        default = pkgs.callPackage ./platform-linux/dist/nix/package.nix { };
      });
      nixosModules.default = ./platform-linux/dist/nix/module.nix;
    };
}
