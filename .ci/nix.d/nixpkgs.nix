# Stands in for nixpkgs, which is not at hand: of its library what the module, the package and the flake of wgautomesh use. Types
# check their values and fill in defaults, and an option that nobody declared is an error, as in NixOS.
let
  inherit (builtins) attrNames filter isAttrs isBool isInt isList isString mapAttrs substring;

  absent = { _absent = true; };
  isAbsent = value: isAttrs value && value ? _absent;

  # What options come to when these values are given.
  evaluate = where: declared: given:
    if declared ? _option then
      if !isAbsent given then declared.type.merge where given
      else if declared ? default then declared.type.merge where declared.default
      else throw "${where} is not set and has no default"
    else
      let unknown = if isAbsent given then [ ] else filter (name: !(declared ? ${name})) (attrNames given); in
      if unknown != [ ] then throw "${where}: no option is called ${builtins.head unknown}"
      else mapAttrs (name: inner: evaluate "${where}.${name}" inner (given.${name} or absent)) declared;

  type = what: holds: {
    merge = where: value: if holds value then value else throw "${where} is not ${what}";
  };

  types = {
    str = type "a string" isString;
    bool = type "true or false" isBool;
    port = type "a port" (value: isInt value && value >= 0 && value <= 65535);
    path = type "a path" (value: builtins.isPath value || (isString value && substring 0 1 value == "/"));
    package = type "a package" (value: isAttrs value && value ? outPath);
    nullOr = inner: {
      merge = where: value: if value == null then null else inner.merge where value;
    };
    listOf = inner: {
      merge = where: value: if isList value then map (inner.merge where) value else throw "${where} is not a list";
    };
    # What is not declared is taken as it is where there is a type for it.
    submodule = { options, freeformType }: {
      merge = where: value: value // mapAttrs (name: inner: evaluate "${where}.${name}" inner (value.${name} or absent)) options;
    };
  };

  lib = {
    inherit types;
    mkOption = option: option // { _option = true; };
    mkEnableOption = what: lib.mkOption { type = types.bool; default = false; description = what; };
    mkIf = condition: value: if condition then value else { };
    literalExpression = text: text;
    filterAttrs = keep: set: removeAttrs set (filter (name: !keep name set.${name}) (attrNames set));
    optionalAttrs = condition: set: if condition then set else { };
    genAttrs = names: make: builtins.listToAttrs (map (name: { inherit name; value = make name; }) names);
    importTOML = path: builtins.fromTOML (builtins.readFile path);
    cleanSource = path: path;
    licenses = { mit = "MIT"; asl20 = "Apache-2.0"; };
    platforms.linux = "linux";
  };

  pkgs = {
    # A file that is not written: its name where a path is wanted, and what would be in it.
    formats.toml = { }: {
      type = null;
      generate = name: value: { inherit value; __toString = _: "/made/${name}"; };
    };
    callPackage = file: { }: import file {
      inherit lib;
      rustPlatform.buildRustPackage = package: package // { outPath = "/made/package"; };
    };
  };
in
{
  inherit lib;
  legacyPackages = lib.genAttrs [ "x86_64-linux" "aarch64-linux" "armv7l-linux" ] (_: pkgs);

  # What a machine's configuration comes to, by a module and what its owner has set.
  configure = module: given:
    let
      result = import module { inherit lib pkgs; config = evaluate "config" result.options given; };
    in
    result.config;
}
