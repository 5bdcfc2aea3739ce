//! What the packages are.

use std::path::Path;

use crate::{error::Error, tree::Tree};

/// What all packages of one build have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Release {
    /// Counts the packages of one version.
    pub(crate) number: u32,
    /// The time that all files get, in seconds since 1970.
    pub(crate) epoch: u32,
}

/// A package, in no format yet.
#[derive(Debug)]
pub(crate) struct Package {
    /// Its name.
    pub(crate) name: &'static str,
    /// OpenWrt's name of the architecture, or `all`.
    pub(crate) arch: &'static str,
    /// Which build it is of.
    pub(crate) release: Release,
    /// The packages it needs.
    pub(crate) depends: &'static [&'static str],
    /// The terms it is under, as an SPDX expression.
    pub(crate) license: &'static str,
    /// The menu it is shown in.
    pub(crate) section: &'static str,
    /// What it is for, a line or more.
    pub(crate) description: &'static str,
    /// A shell script for after the installation, which OpenWrt's own part of it runs.
    pub(crate) after_install: &'static str,
    /// Its files.
    pub(crate) tree: Tree,
}

impl Package {
    /// Version and release, as OpenWrt writes them.
    pub(crate) fn version(&self) -> String {
        format!("{}-r{}", env!("CARGO_PKG_VERSION"), self.release.number)
    }
}

/// The program has a library in it that has terms of its own: wireguard-control.
const LICENSE_OF_THE_PROGRAM: &str = "(MIT OR Apache-2.0) AND LGPL-2.1-or-later";

/// rpcd looks for plugins and access lists only when it is started or reloaded.
/// That it cannot be reloaded is no reason to call the package not installed: the next start of the router does it.
const RELOAD_RPCD: &str = "\
#!/bin/sh
[ -n \"${IPKG_INSTROOT}\" ] || [ ! -x /etc/init.d/rpcd ] || /etc/init.d/rpcd reload || true
";

/// And the menu of the web interface is kept.
const RELOAD_LUCI: &str = "\
#!/bin/sh
[ -n \"${IPKG_INSTROOT}\" ] || rm -rf /tmp/luci-indexcache* /tmp/luci-modulecache
[ -n \"${IPKG_INSTROOT}\" ] || [ ! -x /etc/init.d/rpcd ] || /etc/init.d/rpcd reload || true
";

/// The daemon: `program`, and what is in `folder`.
pub(crate) fn daemon(
    folder: &Path,
    program: Vec<u8>,
    arch: &'static str,
    release: Release,
) -> Result<Package, Error> {
    let mut tree = Tree::default();
    tree.add_folder(folder, "")?;
    if tree.is_empty() {
        return Err(Error::Unpackable(folder.to_owned(), "has nothing in it, or is not there"));
    }
    tree.add_file("/usr/bin/wgautomesh", program);
    Ok(Package {
        name: "wgautomesh",
        arch,
        release,
        // It brings the kernel's module, and the protocol of /etc/config/network.
        depends: &["wireguard-tools"],
        license: LICENSE_OF_THE_PROGRAM,
        section: "net",
        description: "Turns WireGuard interfaces into a full mesh\n\
                      Nodes tell each other, inside the tunnels, where they see one another. Two nodes\n\
                      behind NATs are introduced by a third one, and punch through. There is no server.",
        after_install: RELOAD_RPCD,
        tree,
    })
}

/// The web interface, if `folder` is there: laid out as LuCI's own packages are.
pub(crate) fn luci(folder: &Path, release: Release) -> Result<Option<Package>, Error> {
    let mut tree = Tree::default();
    tree.add_folder(&folder.join("htdocs"), "/www")?;
    tree.add_folder(&folder.join("root"), "")?;
    Ok((!tree.is_empty()).then_some(Package {
        name: "luci-app-wgautomesh",
        arch: "all",
        release,
        depends: &["luci-base", "wgautomesh"],
        license: env!("CARGO_PKG_LICENSE"),
        section: "luci",
        description: "LuCI support for wgautomesh\n\
                      Shows the peers of a WireGuard mesh, how each is reached, and configures the mesh.",
        after_install: RELOAD_LUCI,
        tree,
    }))
}
