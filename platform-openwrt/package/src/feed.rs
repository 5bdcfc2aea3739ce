//! The indexes of a feed: what opkg and apk download to know what there is.

use core::fmt::Write as _;
use std::{fs, path::Path};

use sha2::{Digest as _, Sha256};

use crate::{
    adb::{Container, Schema, Value, Values},
    apk::Apk,
    apk_key,
    archive::gzip,
    error::{Context as _, Error},
    ipk::Ipk,
    usign,
};

/// The packages of one folder.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// opkg's.
    text: String,
    /// apk's.
    apks: Vec<Apk>,
}

/// What the indexes are signed with.
#[derive(Default)]
pub(crate) struct Keys {
    /// opkg's.
    pub(crate) usign: Option<usign::SecretKey>,
    /// apk's.
    pub(crate) apk: Option<apk_key::SecretKey>,
}

impl Index {
    /// Adds a package of apk's, which lies beside the index.
    pub(crate) fn add_apk(&mut self, apk: Apk) {
        self.apks.push(apk);
    }

    /// Adds a package of opkg's, which lies beside the index.
    pub(crate) fn add_ipk(&mut self, ipk: &Ipk) {
        let Ipk { file_name, fields, description, bytes } = ipk;
        // Writing to a string cannot fail.
        let _ = write!(self.text, "{fields}Filename: {file_name}\nSize: {}\nSHA256sum: ", bytes.len());
        for byte in Sha256::digest(bytes) {
            let _ = write!(self.text, "{byte:02x}");
        }
        let _ = write!(self.text, "\n{description}\n");
    }

    /// Writes the indexes into the folder of the packages: `Packages`, `Packages.gz` and, if there is a key, `Packages.sig`
    /// for opkg; `packages.adb` for apk, which has its signature inside.
    pub(crate) fn write(mut self, folder: &Path, keys: &Keys) -> Result<(), Error> {
        let put = |name: &str, content: &[u8]| {
            let path = folder.join(name);
            fs::write(&path, content).at(&path)
        };
        usign::pad(&mut self.text);
        put("Packages", self.text.as_bytes())?;
        put("Packages.gz", &gzip(self.text.as_bytes()).at(folder)?)?;
        if let Some(key) = &keys.usign {
            put("Packages.sig", key.sign(self.text.as_bytes()).as_bytes())?;
        }
        put("packages.adb", &self.adb(keys.apk.as_ref(), folder)?)
    }

    fn adb(mut self, key: Option<&apk_key::SecretKey>, folder: &Path) -> Result<Vec<u8>, Error> {
        // apk searches it by name.
        self.apks.sort_by(|one, other| one.file_name.cmp(&other.file_name));
        let mut values = Values::new();
        let packages: Vec<Value> = self
            .apks
            .iter()
            .map(|apk| {
                let identity = values.blob(apk.info.identity());
                apk.info.values(&mut values, identity, Some(apk.bytes.len() as u32))
            })
            .collect();
        let packages = values.array(&packages);
        // The first field is a description of the index.
        let root = values.object(&[Value::NULL, packages]);
        let values = values.finish(root);
        let mut container = Container::new(Schema::Index, &values).at(folder)?;
        if let Some(key) = key {
            container.signature(&key.sign(Schema::Index, &values)?).at(folder)?;
        }
        container.finish().at(folder)
    }
}
