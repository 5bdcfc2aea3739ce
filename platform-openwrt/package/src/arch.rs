//! OpenWrt's architectures, and what the compiler calls them.

/// One architecture.
#[derive(Debug)]
pub(crate) struct Arch {
    /// OpenWrt's name for it.
    pub(crate) name: &'static str,
    /// The compiler's.
    pub(crate) triple: &'static str,
    /// What the compiler is to be told besides.
    pub(crate) flags: &'static [&'static str],
}

/// As static-pie, programs for MIPS link and print, then crash in `thread::spawn` and `panic!`.
const MIPS: &[&str] = &["-C", "relocation-model=static"];

/// The compiler may bring no start files for these; zig does.
const START_FILES: &[&str] = &["-C", "link-self-contained=no"];

/// All there are packages for.
pub(crate) const ALL: &[Arch] = &[
    Arch { name: "mipsel_24kc", triple: "mipsel-unknown-linux-musl", flags: MIPS },
    Arch { name: "mips_24kc", triple: "mips-unknown-linux-musl", flags: MIPS },
    Arch { name: "arm_cortex-a7_neon-vfpv4", triple: "armv7-unknown-linux-musleabihf", flags: START_FILES },
    Arch { name: "arm_cortex-a9", triple: "armv7-unknown-linux-musleabi", flags: START_FILES },
    Arch { name: "aarch64_cortex-a53", triple: "aarch64-unknown-linux-musl", flags: START_FILES },
    Arch { name: "aarch64_generic", triple: "aarch64-unknown-linux-musl", flags: START_FILES },
    Arch { name: "x86_64", triple: "x86_64-unknown-linux-musl", flags: START_FILES },
];

impl Arch {
    /// The one of this name, or every one for `all`.
    pub(crate) fn named(name: &str) -> Option<&'static [Self]> {
        if name == "all" {
            return Some(ALL);
        }
        ALL.iter().find(|arch| arch.name == name).map(core::slice::from_ref)
    }
}
