//! Settings of the kernel, by /proc/sys: everybody may read these.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::super::facts::Kernel;

pub(super) fn look(interface: &str, underlay: &BTreeSet<String>) -> Kernel {
    // A dot in a name would be a directory to `sysctl`; here it is a path, and names of interfaces are safe in one.
    let of = |link: &str, setting: &str| read(&Path::new("/proc/sys/net/ipv4/conf").join(link).join(setting));
    let larger = |link: &str, setting: &str| of("all", setting).max(of(link, setting));
    Kernel {
        rp_filter: larger(interface, "rp_filter"),
        underlay_rp_filter: underlay
            .iter()
            .filter_map(|link| Some((link.clone(), larger(link, "rp_filter")?)))
            .collect(),
        src_valid_mark: underlay
            .iter()
            .map(|link| of(link, "src_valid_mark"))
            .fold(of("all", "src_valid_mark"), Option::max),
        udp_timeout_stream: read(&PathBuf::from("/proc/sys/net/netfilter/nf_conntrack_udp_timeout_stream")),
    }
}

fn read(path: &Path) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_not_there_is_none() {
        let kernel = super::look("lo", &["lo".into()].into());
        assert!(kernel.rp_filter.is_none_or(|filter| filter <= 2), "{kernel:?}");
        assert_eq!(super::read("/proc/sys/net/nowhere".as_ref()), None);
    }
}
