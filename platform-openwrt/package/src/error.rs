//! What can go wrong.

use core::fmt;
use std::{
    io,
    path::{Path, PathBuf},
};

/// Why there are no packages.
#[derive(Debug)]
pub(crate) enum Error {
    /// A file or folder cannot be read or written.
    Io(PathBuf, io::Error),
    /// A program cannot be started, or has failed.
    Program(String, String),
    /// A tool that is needed is not there: what, and how to get it.
    Missing(&'static str, &'static str),
    /// SOURCE_DATE_EPOCH, or what git says, is no time.
    Epoch(String),
    /// Something that cannot be packed.
    Unpackable(PathBuf, &'static str),
    /// What was built is no ELF program.
    Elf(&'static str),
    /// The secret key cannot be used.
    Key(PathBuf, &'static str),
    /// The key makes no signature, which only an impossible hash can bring about.
    Signature,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Program(program, why) => write!(f, "{program}: {why}"),
            Self::Missing(what, remedy) => write!(f, "there is no {what}; {remedy}"),
            Self::Epoch(text) => write!(
                f,
                "{text:?} is no time in seconds since 1970; set SOURCE_DATE_EPOCH to the time stamp that all files are to have"
            ),
            Self::Unpackable(path, why) => write!(f, "{}: {why}", path.display()),
            Self::Elf(why) => write!(f, "the program that was built: {why}"),
            Self::Key(path, why) => write!(f, "{}: {why}", path.display()),
            Self::Signature => f.write_str("the key makes no signature of this index"),
        }
    }
}

/// Says which file an error of input and output is about.
pub(crate) trait Context<T> {
    /// Of this one.
    fn at(self, path: &Path) -> Result<T, Error>;
}

impl<T> Context<T> for io::Result<T> {
    fn at(self, path: &Path) -> Result<T, Error> {
        self.map_err(|error| Error::Io(path.to_owned(), error))
    }
}
