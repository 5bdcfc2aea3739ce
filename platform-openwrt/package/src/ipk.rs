//! The package format of opkg (OpenWrt up to 24.10): a compressed tar archive of three members, of which two are compressed
//! tar archives. The order of everything is that of OpenWrt's `ipkg-build`.

use std::{collections::BTreeSet, io, path::Path};

use crate::{
    archive::{Archive, gzip},
    error::{Context as _, Error},
    package::Package,
};

/// A package as a file.
#[derive(Debug)]
pub(crate) struct Ipk {
    /// What the file is to be called: opkg wants it so.
    pub(crate) file_name: String,
    /// What describes it, here and in the index: `Name: value` lines, without the description.
    pub(crate) fields: String,
    /// The last one of these, of more than one line.
    pub(crate) description: String,
    /// The file.
    pub(crate) bytes: Vec<u8>,
}

/// Runs OpenWrt's own part: it enables and starts the service, which does nothing before it is configured.
const POSTINST: &str = "\
#!/bin/sh
[ \"${IPKG_NO_SCRIPT}\" = \"1\" ] && exit 0
[ -s ${IPKG_INSTROOT}/lib/functions.sh ] || exit 0
. ${IPKG_INSTROOT}/lib/functions.sh
default_postinst $0 $@
";

/// Stops the service and disables it.
const PRERM: &str = "\
#!/bin/sh
[ -s ${IPKG_INSTROOT}/lib/functions.sh ] || exit 0
. ${IPKG_INSTROOT}/lib/functions.sh
default_prerm $0 $@
";

/// Makes the file of a package.
pub(crate) fn build(package: &Package) -> Result<Ipk, Error> {
    let file_name = format!("{}_{}_{}.ipk", package.name, package.version(), package.arch);
    write(package, file_name.clone()).at(Path::new(&file_name))
}

fn write(package: &Package, file_name: String) -> io::Result<Ipk> {
    let epoch = package.release.epoch;
    let data = data(package)?;
    let fields = fields(package, data.len());
    let description = description(package);

    let mut control = Archive::new(epoch);
    control.folder("./", 0o755)?;
    let conffiles: String = package.tree.conffiles().map(|path| format!("{path}\n")).collect();
    if !conffiles.is_empty() {
        control.file("./conffiles", 0o644, conffiles.as_bytes())?;
    }
    control.file("./control", 0o644, format!("{fields}{description}").as_bytes())?;
    control.file("./postinst", 0o755, POSTINST.as_bytes())?;
    control.file("./postinst-pkg", 0o755, package.after_install.as_bytes())?;
    control.file("./prerm", 0o755, PRERM.as_bytes())?;

    let mut outer = Archive::new(epoch);
    outer.file("./debian-binary", 0o644, b"2.0\n")?;
    outer.file("./data.tar.gz", 0o644, &gzip(&data)?)?;
    outer.file("./control.tar.gz", 0o644, &gzip(&control.finish()?)?)?;
    Ok(Ipk { file_name, fields, description, bytes: gzip(&outer.finish()?)? })
}

/// The archive of the files, with every folder on the way to them.
fn data(package: &Package) -> io::Result<Vec<u8>> {
    let mut archive = Archive::new(package.release.epoch);
    archive.folder("./", 0o755)?;
    let mut folders = BTreeSet::new();
    for (path, file) in package.tree.files() {
        let mut above: Vec<&Path> = path.ancestors().skip(1).filter(|path| path.parent().is_some()).collect();
        above.reverse();
        for folder in above {
            if folders.insert(folder) {
                archive.folder(&format!(".{}/", folder.display()), 0o755)?;
            }
        }
        archive.file(&format!(".{}", path.display()), file.mode, &file.content)?;
    }
    archive.finish()
}

fn fields(package: &Package, installed: usize) -> String {
    format!(
        "Package: {name}\n\
         Version: {version}\n\
         Depends: {depends}\n\
         Source: {name}\n\
         SourceName: {name}\n\
         License: {license}\n\
         Section: {section}\n\
         SourceDateEpoch: {epoch}\n\
         Maintainer: the wgautomesh developers\n\
         Architecture: {arch}\n\
         Installed-Size: {installed}\n",
        name = package.name,
        version = package.version(),
        depends = package.depends.join(", "),
        license = package.license,
        section = package.section,
        epoch = package.release.epoch,
        arch = package.arch,
    )
}

/// A line that goes on begins with a space.
fn description(package: &Package) -> String {
    format!("Description: {}\n", package.description.replace('\n', "\n "))
}
