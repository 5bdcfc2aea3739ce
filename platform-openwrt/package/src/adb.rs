//! The container of apk-tools 3, which both a package and an index are: a tree of values, and blocks around it. Its format is
//! described in apk-tools' manual page apk-v3(5).
//!
//! ```text
//! "ADBd" | deflate of:
//!     "ADB." schema
//!     block ADB:  version, root | values ...        what the package or the index says
//!     block SIG:  a signature of that               of an index
//!     block DATA: which file | its bytes            of a package, one for each file
//! ```

use std::{collections::HashMap, io};

use crate::archive::deflate;

/// What a container is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Schema {
    /// A package.
    Package,
    /// An index of packages.
    Index,
}

impl Schema {
    /// How it is spelled in the file.
    pub(crate) const fn magic(self) -> [u8; 4] {
        match self {
            Self::Package => *b"pckg",
            Self::Index => *b"indx",
        }
    }
}

/// A value: what kind in the upper four bits, and the number itself or where it is stored in the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Value(u32);

impl Value {
    /// Nothing there.
    pub(crate) const NULL: Self = Self(0);

    const INT: u32 = 0x1000_0000;
    const INT_32: u32 = 0x2000_0000;
    const BLOB_8: u32 = 0x8000_0000;
    const BLOB_16: u32 = 0x9000_0000;
    const BLOB_32: u32 = 0xa000_0000;
    const ARRAY: u32 = 0xd000_0000;
    const OBJECT: u32 = 0xe000_0000;

    /// Where it is stored.
    pub(crate) const fn offset(self) -> usize {
        (self.0 & 0x0fff_ffff) as usize
    }
}

/// A tree of values being written.
#[derive(Debug)]
pub(crate) struct Values {
    bytes: Vec<u8>,
    /// What is stored already, and where.
    known: HashMap<Vec<u8>, u32>,
}

impl Values {
    /// Where the root is noted.
    const ROOT: usize = 4;

    pub(crate) fn new() -> Self {
        // Versions 0 and 0, two bytes reserved, and the root.
        Self { bytes: vec![0; 8], known: HashMap::new() }
    }

    /// A number.
    pub(crate) fn int(&mut self, number: u32) -> Value {
        if number < Value::INT {
            return Value(Value::INT | number);
        }
        Value(Value::INT_32 | self.store(&number.to_le_bytes(), 4))
    }

    /// Some bytes; no value if there are none.
    pub(crate) fn blob(&mut self, bytes: &[u8]) -> Value {
        let (kind, width) = match bytes.len() {
            0 => return Value::NULL,
            1..=0xff => (Value::BLOB_8, 1),
            0x100..=0xffff => (Value::BLOB_16, 2),
            _ => (Value::BLOB_32, 4),
        };
        let mut stored = bytes.len().to_le_bytes()[..width].to_vec();
        stored.extend(bytes);
        Value(kind | self.store(&stored, width))
    }

    /// Fields by their number, which begins with 1; the last ones may be left out.
    pub(crate) fn object(&mut self, fields: &[Value]) -> Value {
        self.slots(Value::OBJECT, fields)
    }

    /// Any number of values of one kind.
    pub(crate) fn array(&mut self, values: &[Value]) -> Value {
        self.slots(Value::ARRAY, values)
    }

    fn slots(&mut self, kind: u32, values: &[Value]) -> Value {
        let used = values.iter().rposition(|&value| value != Value::NULL).map_or(0, |last| last + 1);
        if used == 0 {
            return Value::NULL;
        }
        // The first slot is the number of slots, itself included.
        let mut stored = (used as u32 + 1).to_le_bytes().to_vec();
        stored.extend(values.iter().take(used).flat_map(|value| value.0.to_le_bytes()));
        Value(kind | self.store(&stored, 4))
    }

    /// Stores bytes, unless they are already. Where they are.
    fn store(&mut self, stored: &[u8], alignment: usize) -> u32 {
        if let Some(&known) = self.known.get(stored).filter(|&&at| (at as usize).is_multiple_of(alignment)) {
            return known;
        }
        self.bytes.resize(self.bytes.len().next_multiple_of(alignment), 0);
        let at = self.bytes.len() as u32;
        self.bytes.extend(stored);
        self.known.insert(stored.to_vec(), at);
        at
    }

    /// The bytes, with the root noted.
    pub(crate) fn finish(mut self, root: Value) -> Vec<u8> {
        self.bytes[Self::ROOT..Self::ROOT + 4].copy_from_slice(&root.0.to_le_bytes());
        self.bytes
    }
}

/// A container being written.
pub(crate) struct Container {
    /// As it is before it is compressed.
    blocks: Vec<u8>,
}

impl Container {
    /// One that begins with these values.
    pub(crate) fn new(schema: Schema, values: &[u8]) -> io::Result<Self> {
        let mut container = Self { blocks: [*b"ADB.", schema.magic()].concat() };
        container.block(0, &[values])?;
        Ok(container)
    }

    /// Adds a signature.
    pub(crate) fn signature(&mut self, signature: &[u8]) -> io::Result<()> {
        self.block(1, &[signature])
    }

    /// Adds the bytes of a file: the `file`th of the `folder`th folder, both counted from 1. A file without any has none.
    pub(crate) fn file(&mut self, folder: u32, file: u32, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.block(2, &[&folder.to_le_bytes(), &file.to_le_bytes(), bytes])
    }

    fn block(&mut self, kind: u32, parts: &[&[u8]]) -> io::Result<()> {
        // The length counts this word, but not what is filled up to eight.
        let length = 4 + parts.iter().map(|part| part.len()).sum::<usize>();
        let word = u32::try_from(length).ok().filter(|&length| length < 1 << 30);
        let word = word.ok_or_else(|| io::Error::other("a file of a gigabyte cannot be packed"))?;
        self.blocks.extend((kind << 30 | word).to_le_bytes());
        for part in parts {
            self.blocks.extend(*part);
        }
        self.blocks.resize(self.blocks.len() + length.next_multiple_of(8) - length, 0);
        Ok(())
    }

    /// The file.
    pub(crate) fn finish(self) -> io::Result<Vec<u8>> {
        Ok([b"ADBd".to_vec(), deflate(&self.blocks)?].concat())
    }
}
