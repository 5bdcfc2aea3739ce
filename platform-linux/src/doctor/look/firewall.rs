//! The rules of the firewall, as the administrator's own programs list them.

use core::time::Duration;
use std::{fs, path::Path};

use rustix::process::geteuid;

use super::{
    super::{
        facts::{Seen, Unseen},
        firewall::{Ruleset, iptables, nft},
    },
    program,
};

const PATIENCE: Duration = Duration::from_secs(10);

/// The rules by all programs that are installed.
pub(super) fn look() -> Seen<Vec<Ruleset>> {
    let mut rulesets = Vec::new();
    let nft = program::find("nft");
    if let Some(nft) = &nft {
        let json = output(nft, &["-j", "list", "ruleset"])?;
        rulesets.push(
            nft::parse(&json).ok_or_else(|| {
                Unseen::new("what nft prints is not understood", "look at `nft list ruleset`")
            })?,
        );
    }
    for (family, name) in ["iptables-save", "ip6tables-save"].into_iter().enumerate() {
        let Some(save) = program::find(name) else { continue };
        // The newer of its kinds keeps its rules in nft's tables, where they have been read.
        if nft.is_some() && is_nft(&save) {
            continue;
        }
        rulesets.push(iptables::parse(&String::from_utf8_lossy(&output(&save, &[])?), family));
    }
    match rulesets.is_empty() {
        true => Err(Unseen::new("neither nft nor iptables-save is installed", "install nftables")),
        false => Ok(rulesets),
    }
}

fn is_nft(program: &Path) -> bool {
    let real = fs::canonicalize(program).unwrap_or_default();
    real.file_name().is_some_and(|name| name.to_string_lossy().contains("nft"))
}

fn output(program: &Path, arguments: &[&str]) -> Seen<Vec<u8>> {
    program::output(program, arguments, PATIENCE).map_err(|error| {
        let need = if geteuid().is_root() { "" } else { super::AS_ROOT };
        Unseen::new(format!("{}: {error}", program.display()), need)
    })
}
