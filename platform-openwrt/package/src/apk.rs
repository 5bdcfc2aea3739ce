//! The package format of apk-tools 3 (OpenWrt from 25.12), as OpenWrt's build system has `apk mkpkg` make it.

use std::{collections::BTreeMap, io, path::Path};

use sha2::{Digest as _, Sha256};

use crate::{
    adb::{Container, Schema, Value, Values},
    error::{Context as _, Error},
    package::Package,
    tree::{File, Tree},
};

/// A package as a file.
#[derive(Debug)]
pub(crate) struct Apk {
    /// What the file is to be called: apk wants it so.
    pub(crate) file_name: String,
    /// What an index says of the package.
    pub(crate) info: Info,
    /// The file.
    pub(crate) bytes: Vec<u8>,
}

/// What a package says of itself.
#[derive(Debug)]
pub(crate) struct Info {
    name: &'static str,
    version: String,
    description: String,
    arch: &'static str,
    license: &'static str,
    depends: Vec<&'static str>,
    installed: u32,
    /// What its values hash to: by that an index vouches for the whole package.
    identity: [u8; 32],
}

/// The part of the file system that is counted for a file.
const BLOCK: usize = 4096;

/// The length of a package's own identifier: of a hash of all that it says, while this is still zeros.
const OWN_ID: usize = 20;

const START: &str =
    "[ -s ${IPKG_INSTROOT}/lib/functions.sh ] || exit 0\n. ${IPKG_INSTROOT}/lib/functions.sh\n";

/// Makes the file of a package.
pub(crate) fn build(package: &Package) -> Result<Apk, Error> {
    let file_name = format!("{}-{}.apk", package.name, package.version());
    write(package, file_name.clone()).at(Path::new(&file_name))
}

fn write(package: &Package, file_name: String) -> io::Result<Apk> {
    let tree = with_records(package);
    let folders = folders(&tree);
    let epoch = package.release.epoch;
    let mut info = Info {
        name: package.name,
        version: package.version(),
        // As on one line: apk's lists have no more.
        description: package.description.replace('\n', " "),
        arch: if package.arch == "all" { "noarch" } else { package.arch },
        license: package.license,
        depends: package.depends.to_vec(),
        installed: folders.values().flatten().map(|(_, file)| blocks(file)).sum::<usize>() as u32,
        identity: [0; 32],
    };
    info.depends.sort_unstable();

    let mut values = Values::new();
    let own_id = values.blob(&[0; OWN_ID]);
    let described = info.values(&mut values, own_id, None);
    let paths: Vec<Value> = folders
        .iter()
        .map(|(name, files)| {
            let acl = acl(&mut values, 0o755);
            let files: Vec<Value> =
                files.iter().map(|(name, file)| file_values(&mut values, name, file, epoch)).collect();
            let fields = [values.blob(name.as_bytes()), acl, values.array(&files)];
            values.object(&fields)
        })
        .collect();
    let paths = values.array(&paths);
    let scripts = scripts(&mut values, package);
    let root = values.object(&[described, paths, scripts]);
    let mut bytes = values.finish(root);
    let id = Sha256::digest(&bytes);
    // Behind its length.
    let at = own_id.offset() + 1;
    bytes[at..at + OWN_ID].copy_from_slice(&id[..OWN_ID]);
    info.identity = Sha256::digest(&bytes).into();

    let mut container = Container::new(Schema::Package, &bytes)?;
    for (folder, files) in (1..).zip(folders.values()) {
        for (number, (_, file)) in (1..).zip(files) {
            container.file(folder, number, &file.content)?;
        }
    }
    Ok(Apk { file_name, info, bytes: container.finish()? })
}

impl Info {
    /// As values, with what is called "hashes" there, and the size of the package's file if it is known.
    pub(crate) fn values(&self, values: &mut Values, hashes: Value, size: Option<u32>) -> Value {
        let depends: Vec<Value> = self
            .depends
            .iter()
            .map(|name| {
                let name = values.blob(name.as_bytes());
                values.object(&[name])
            })
            .collect();
        let mut text = |text: &str| values.blob(text.as_bytes());
        let mut fields = vec![
            text(self.name),
            text(&self.version),
            hashes,
            text(&self.description),
            text(self.arch),
            text(self.license),
            text(self.name),
            text("the wgautomesh developers"),
            Value::NULL, // address
            Value::NULL, // commit
            Value::NULL, // time of the build
        ];
        fields.push(values.int(self.installed));
        fields.push(size.map_or(Value::NULL, |size| values.int(size)));
        fields.push(Value::NULL); // priority among those that provide the same
        fields.push(values.array(&depends));
        values.object(&fields)
    }

    /// By which an index knows the package.
    pub(crate) fn identity(&self) -> &[u8] {
        &self.identity
    }
}

/// The files, and what OpenWrt keeps of a package in files: its list, and which ones are configuration.
fn with_records(package: &Package) -> Tree {
    let record = |kind: &str| format!("/lib/apk/packages/{}.{kind}", package.name);
    let mut tree = Tree::default();
    let mut paths = Vec::new();
    for (path, file) in package.tree.files() {
        let path = path.to_string_lossy().into_owned();
        tree.add_file(&path, file.content.clone());
        paths.push(path);
    }
    paths.sort_unstable();
    tree.add_file(&record("list"), lines(paths).into_bytes());

    let conffiles: Vec<String> = package.tree.conffiles().map(str::to_owned).collect();
    if !conffiles.is_empty() {
        let sums = package.tree.files().filter_map(|(path, file)| {
            let path = path.to_str().filter(|path| conffiles.iter().any(|conffile| conffile == path))?;
            let sum: String =
                Sha256::digest(&file.content).iter().map(|byte| format!("{byte:02x}")).collect();
            Some(format!("{path} {sum}"))
        });
        let sums = lines(sums.collect());
        tree.add_file(&record("conffiles"), lines(conffiles).into_bytes());
        tree.add_file(&record("conffiles_static"), sums.into_bytes());
    }
    tree
}

fn lines(lines: Vec<String>) -> String {
    lines.into_iter().map(|line| line + "\n").collect()
}

type Folders<'t> = BTreeMap<String, Vec<(&'t str, &'t File)>>;

/// Every folder with its files, both in the order of their bytes, which apk searches by. Without the slash at the start.
fn folders(tree: &Tree) -> Folders<'_> {
    let mut folders = Folders::new();
    for (path, file) in tree.files() {
        for folder in path.ancestors().skip(1) {
            folders.entry(without_slash(folder)).or_default();
        }
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let folder = path.parent().map(without_slash).unwrap_or_default();
        folders.entry(folder).or_default().push((name, file));
    }
    for files in folders.values_mut() {
        files.sort_unstable_by_key(|(name, _)| *name);
    }
    folders
}

fn without_slash(path: &Path) -> String {
    path.to_string_lossy().trim_start_matches('/').to_owned()
}

fn blocks(file: &File) -> usize {
    file.content.len().next_multiple_of(BLOCK)
}

fn acl(values: &mut Values, mode: u32) -> Value {
    let root = values.blob(b"root");
    let mode = values.int(mode);
    values.object(&[mode, root, root])
}

fn file_values(values: &mut Values, name: &str, file: &File, epoch: u32) -> Value {
    let fields = [
        values.blob(name.as_bytes()),
        acl(values, file.mode),
        values.int(file.content.len() as u32),
        values.int(epoch),
        values.blob(&Sha256::digest(&file.content)),
    ];
    values.object(&fields)
}

/// OpenWrt's own parts, around ours.
fn scripts(values: &mut Values, package: &Package) -> Value {
    let known = format!("export root=\"${{IPKG_INSTROOT}}\"\nexport pkgname=\"{}\"\n", package.name);
    let ours = package.after_install.trim_start_matches("#!/bin/sh\n");
    let install = format!(
        "[ \"${{IPKG_NO_SCRIPT}}\" = \"1\" ] && exit 0\n{START}{known}add_group_and_user\ndefault_postinst\n{ours}"
    );
    let post_install = values.blob(format!("#!/bin/sh\n{install}").as_bytes());
    let pre_deinstall = values.blob(format!("#!/bin/sh\n{START}{known}default_prerm\n").as_bytes());
    let post_upgrade = values.blob(format!("#!/bin/sh\nexport PKG_UPGRADE=1\n{install}").as_bytes());
    let null = Value::NULL;
    // Of a trigger, before and after installing, before and after removing, before and after an upgrade.
    values.object(&[null, null, post_install, pre_deinstall, null, null, post_upgrade])
}
