# services.wgautomesh, with the options that the module of the original has. What is new: `package`, and every setting of
# wgautomesh.toml(5) in `settings`, named there or not.
{ config, lib, pkgs, ... }:

let
  inherit (lib) mkEnableOption mkIf mkOption types;

  cfg = config.services.wgautomesh;
  toml = pkgs.formats.toml { };

  # In TOML nothing is null: what is not set is not there.
  given = lib.filterAttrs (_: value: value != null);
  settings = given cfg.settings // { peers = map given cfg.settings.peers; };
  # Its credential is called as it is, so that the daemon reads that in its place, and a reload the file itself.
  secretFile = toString cfg.gossipSecretFile;
  file = toml.generate "wgautomesh.toml" (
    settings
    // { gossip_secret_file = secretFile; }
    // lib.optionalAttrs cfg.enablePersistence { persist_file = "/var/lib/wgautomesh/state"; }
  );

  optional = type: description: mkOption {
    type = types.nullOr type;
    default = null;
    inherit description;
  };

  peer = types.submodule {
    freeformType = toml.type;
    options = {
      pubkey = mkOption {
        type = types.str;
        description = "Its WireGuard public key, in base64.";
      };
      address = mkOption {
        type = types.str;
        description = "Its address inside the mesh.";
      };
      endpoint = optional types.str "Where its WireGuard can be reached, if that is known.";
      name = optional types.str "What the status and the log call it.";
    };
  };
in
{
  options.services.wgautomesh = {
    enable = mkEnableOption "wgautomesh, a mesh over a WireGuard interface";

    package = mkOption {
      type = types.package;
      default = pkgs.callPackage ./package.nix { };
      defaultText = lib.literalExpression "pkgs.callPackage ./package.nix { }";
      description = "The package that the daemon, its unit and its command come from.";
    };

    logLevel = mkOption {
      type = types.str;
      default = "info";
      example = "info,wgautomesh::portmap=debug";
      description = "How much is logged: trace, debug, info, warn or error, and for parts of the program.";
    };

    enableGossipEncryption = mkOption {
      type = types.bool;
      default = true;
      description = "Of the original. Here the gossip is always sealed: it cannot be switched off.";
    };

    gossipSecretFile = mkOption {
      type = types.path;
      example = "/var/lib/secrets/wgautomesh";
      description = ''
        The file with the secret that all nodes share, as `wgautomesh genkey` prints it. Only root needs to be able to
        read it: the service manager hands it on.
      '';
    };

    enablePersistence = mkOption {
      type = types.bool;
      default = true;
      description = "Keep over a restart where peers were reached.";
    };

    openFirewall = mkOption {
      type = types.bool;
      default = true;
      description = "Let the gossip through the firewall, on the WireGuard interface only.";
    };

    settings = mkOption {
      description = "What is in the configuration file, see wgautomesh.toml(5).";
      default = { };
      type = types.submodule {
        freeformType = toml.type;
        options = {
          interface = mkOption {
            type = types.str;
            default = "wg0";
            description = "The WireGuard interface of the mesh.";
          };
          gossip_port = mkOption {
            type = types.port;
            default = 1666;
            description = "The UDP port of the gossip inside the mesh, the same on all nodes.";
          };
          lan_discovery = mkOption {
            type = types.bool;
            default = true;
            description = "Look for peers on the LANs of this machine.";
          };
          upnp_forward_external_port =
            optional types.port "The external port that the router is to forward to WireGuard's.";
          metrics_listen =
            optional types.str "Where Prometheus may fetch metrics: an address of this machine, and a TCP port.";
          peers = mkOption {
            type = types.listOf peer;
            default = [ ];
            description = "The nodes of the mesh, this one among them or not.";
          };
        };
      };
    };
  };

  config = mkIf cfg.enable {
    assertions = [
      {
        assertion = cfg.enableGossipEncryption;
        message = "services.wgautomesh.enableGossipEncryption: wgautomesh does not speak without a secret";
      }
    ];

    environment.systemPackages = [ cfg.package ];

    users.users.wgautomesh = {
      isSystemUser = true;
      group = "wgautomesh";
    };
    users.groups.wgautomesh = { };

    # The unit of the package, with what is different here. An empty value forgets what the unit says.
    systemd.packages = [ cfg.package ];
    systemd.services.wgautomesh = {
      wantedBy = [ "multi-user.target" ];
      restartTriggers = [ file ];
      environment.WGAUTOMESH_LOG = cfg.logLevel;
      unitConfig.ConditionPathExists = [ "" ];
      serviceConfig = {
        ExecStart = [ "" "${cfg.package}/libexec/wgautomesh/wgautomeshd ${file}" ];
        ExecReload = [ "" "+${cfg.package}/bin/wgautomesh reload ${file}" ];
        LoadCredential = [ "" "${baseNameOf secretFile}:${secretFile}" ];
        SetCredential = [ "" ];
        # The libraries of the program.
        ExecPaths = [ "" builtins.storeDir ];
      };
    };

    networking.firewall.interfaces = mkIf cfg.openFirewall {
      ${cfg.settings.interface}.allowedUDPPorts = [ cfg.settings.gossip_port ];
    };
  };
}
