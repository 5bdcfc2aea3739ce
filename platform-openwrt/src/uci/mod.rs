//! The UCI file format, as OpenWrt's `/etc/config` is written in.
//!
//! A file is a series of commands, one to a line or with `;` between them; `#` begins a comment:
//!
//! ```text
//! package wgautomesh            # only in what `uci export` prints
//!
//! config mesh 'home'            # a section of a type, with a name
//!         option enabled '1'
//!         list lan_interfaces 'br-lan'
//!         list lan_interfaces 'eth1'
//!
//! config peer                   # one without a name
//!         option name "next door"
//! ```
//!
//! A word is quoted by `'`, which knows no escapes, or by `"`, in which a backslash takes the next character as it is;
//! pieces put together without a space are one word, so that `'it'\''s'` is `it's`. Quoted words go on over line ends. A
//! backslash at the end of a line joins it with the next. A second section of the same name continues the first; an
//! `option` replaces what was there, and is removed by an empty value; a `list` adds to what was there. `uci` and LuCI write
//! the spelling with `'`; old releases put quotes around types and names too.
//!
//! All that is as libuci does it, but for two corners in which that stumbles: `;` right after a word without quotes ends the
//! command here (there, the rest of the line is lost), and a line may be continued between two words.
//!
//! Values may be secrets: no message repeats one, and what is put together from pieces is wiped from memory when dropped.

mod parse;

#[cfg(test)]
mod tests;

pub use parse::parse;

use core::ops::Deref;
use wgautomesh::config::{Located, Position};
use zeroize::Zeroizing;

/// What a file says.
#[derive(Default)]
pub struct Package<'t> {
    /// Its name, where the file gives one.
    pub name: Option<Located<Text<'t>>>,
    /// Its sections, in order.
    pub sections: Vec<Section<'t>>,
}

/// A section.
pub struct Section<'t> {
    /// Its type.
    pub kind: Text<'t>,
    /// Its name, where it has one.
    pub name: Option<Text<'t>>,
    /// Where it begins.
    pub at: Position,
    /// What is set in it, each once, in order.
    pub settings: Vec<Setting<'t>>,
}

impl<'t> Section<'t> {
    /// What is set, by its name.
    pub fn get(&self, name: &str) -> Option<&Setting<'t>> {
        self.settings.iter().find(|setting| &*setting.name == name)
    }
}

/// What one `option`, or all `list`s of one name, set.
pub struct Setting<'t> {
    /// Its name.
    pub name: Text<'t>,
    /// Where its name is.
    pub at: Position,
    /// Whether it is a list.
    pub list: bool,
    /// Its values, each with its place; never none, and exactly one where it is no list.
    pub values: Vec<Located<Text<'t>>>,
}

impl<'t> Setting<'t> {
    /// The value, where there is one only.
    pub fn single(&self) -> Option<&Located<Text<'t>>> {
        match self.values.as_slice() {
            [one] => Some(one),
            _ => None,
        }
    }
}

/// A word.
#[derive(Clone)]
pub enum Text<'t> {
    /// As it stands in the file.
    Plain(&'t str),
    /// Put together from pieces.
    Joined(Zeroizing<String>),
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Plain(text) => text,
            Self::Joined(text) => text,
        }
    }
}

/// A value as `uci export` writes it.
pub fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}
