//! How large the packages are, as a table.

use core::fmt;

/// The sizes of all packages of one run.
#[derive(Debug, Default)]
pub(crate) struct Sizes(Vec<Row>);

/// Of one package, in bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// Its name.
    pub(crate) package: &'static str,
    /// OpenWrt's name of the architecture, or `all`.
    pub(crate) arch: &'static str,
    /// The file for opkg.
    pub(crate) ipk: usize,
    /// The file for apk.
    pub(crate) apk: usize,
    /// The sum of what is in it.
    pub(crate) installed: usize,
}

impl Sizes {
    /// Adds a package. One for all architectures is in each of their feeds, and shown once.
    pub(crate) fn add(&mut self, row: Row) {
        if !self.0.contains(&row) {
            self.0.push(row);
        }
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<20} {:<25} {:>9} {:>9} {:>9}", "bytes", "", ".ipk", ".apk", "installed")?;
        for Row { package, arch, ipk, apk, installed } in &self.0 {
            writeln!(f, "{package:<20} {arch:<25} {ipk:>9} {apk:>9} {installed:>9}")?;
        }
        Ok(())
    }
}
