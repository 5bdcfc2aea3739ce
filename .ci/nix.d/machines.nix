# What the module for NixOS, the package and the flake come to, for `.ci/nix` to look at. The secret is a file that is there.
{ folder, secret }:

let
  nixpkgs = import ./nixpkgs.nix;
  flake = (import (folder + "/flake.nix")).outputs { self = flake; inherit nixpkgs; };
  configure = given: nixpkgs.configure flake.nixosModules.default { services.wgautomesh = given; };

  # As the documentation of the original's module has it.
  original = {
    enable = true;
    gossipSecretFile = secret;
    openFirewall = true;
    settings = {
      interface = "wg1";
      gossip_port = 1700;
      upnp_forward_external_port = 33723;
      peers = [
        {
          pubkey = "o+uvbKOyDG2IaGKsRLsN2uBac6WqhXTW3+BPI+1poxQ=";
          address = "10.14.0.1";
          endpoint = "203.0.113.1:33723";
        }
        { pubkey = "/111nDbW0HWQb6Tr4OZ63S1nM4FpxVAg1Tcguz9SfQI="; address = "10.14.0.2"; }
      ];
    };
  };

  seen = machine: {
    inherit (machine) assertions;
    service = machine.systemd.services.wgautomesh;
    file = (builtins.head machine.systemd.services.wgautomesh.restartTriggers).value;
    firewall = machine.networking.firewall.interfaces;
  };
in
{
  original = seen (configure original);
  # What is new, and what nobody has declared.
  new = seen (configure (original // {
    enablePersistence = false;
    openFirewall = false;
    settings = original.settings // { state_commit = 3600; metrics_listen = "127.0.0.1:9666"; };
  }));
  off = configure { };
  refused = map (wrong: (builtins.tryEval (builtins.deepSeq (configure (original // wrong)) null)).success) [
    { gossipSecretFile = "secret"; }
    { settings = original.settings // { gossip_port = 70000; }; }
    { gossipSecret = "0123456789abcdef"; }
  ];
  packages = builtins.mapAttrs (_: { default, ... }: { inherit (default) pname version; lock = builtins.pathExists default.cargoLock.lockFile; }) flake.packages;
}
