# The daemon with its units, manual pages and completions, from the source that this file is part of.
{ lib, rustPlatform }:

rustPlatform.buildRustPackage {
  pname = "wgautomesh";
  version = (lib.importTOML ../../../Cargo.toml).workspace.package.version;
  src = lib.cleanSource ../../..;
  cargoLock.lockFile = ../../../Cargo.lock;

  buildType = "dist";
  cargoBuildFlags = [ "--package" "wgautomesh" "--package" "wgautomesh-manual" ];
  # They want namespaces, and minutes.
  doCheck = false;

  postInstall = ''
    $out/bin/manual --out $out
    rm $out/bin/manual
    mkdir -p $out/libexec/wgautomesh
    mv $out/bin/wgautomeshd $out/libexec/wgautomesh/
    mv $out/share/zsh/vendor-completions $out/share/zsh/site-functions
    mkdir -p $out/lib/systemd/system
    install -D -m 644 platform-linux/dist/grafana/wgautomesh.json $out/share/doc/wgautomesh/examples/grafana-dashboard.json
    substitute platform-linux/dist/systemd/wgautomesh.service $out/lib/systemd/system/wgautomesh.service \
      --replace-fail /usr/bin/wgautomesh $out/bin/wgautomesh \
      --replace-fail /usr/libexec/wgautomesh $out/libexec/wgautomesh
  '';

  meta = {
    description = "Turns existing WireGuard interfaces into a full mesh, with no server";
    license = with lib.licenses; [ mit asl20 ];
    platforms = lib.platforms.linux;
    mainProgram = "wgautomesh";
  };
}
