//! The index of a feed: what opkg downloads to know what there is.

use core::fmt::Write as _;
use std::{fs, path::Path};

use sha2::{Digest as _, Sha256};

use crate::{
    archive::gzip,
    error::{Context as _, Error},
    ipk::Ipk,
    usign::{self, SecretKey},
};

/// The packages of one folder.
#[derive(Debug, Default)]
pub(crate) struct Index {
    text: String,
}

impl Index {
    /// Adds a package, which lies beside the index.
    pub(crate) fn add(&mut self, ipk: &Ipk) {
        let Ipk { file_name, fields, description, bytes } = ipk;
        // Writing to a string cannot fail.
        let _ = write!(self.text, "{fields}Filename: {file_name}\nSize: {}\nSHA256sum: ", bytes.len());
        for byte in Sha256::digest(bytes) {
            let _ = write!(self.text, "{byte:02x}");
        }
        let _ = write!(self.text, "\n{description}\n");
    }

    /// Writes `Packages` and `Packages.gz` into the folder of the packages, and the signature of the first if there is a
    /// key.
    pub(crate) fn write(mut self, folder: &Path, key: Option<&SecretKey>) -> Result<(), Error> {
        usign::pad(&mut self.text);
        let index = folder.join("Packages");
        fs::write(&index, &self.text).at(&index)?;
        let packed = folder.join("Packages.gz");
        fs::write(&packed, gzip(self.text.as_bytes()).at(&packed)?).at(&packed)?;
        if let Some(key) = key {
            let signature = folder.join("Packages.sig");
            fs::write(&signature, key.sign(self.text.as_bytes())).at(&signature)?;
        }
        Ok(())
    }
}
