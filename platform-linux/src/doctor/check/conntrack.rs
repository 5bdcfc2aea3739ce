//! This machine's own tracking of connections, which forgets silent ones.

use super::super::{
    facts::{Facts, MeshFacts},
    finding::Findings,
};

/// WireGuard's keepalive on links that pass a NAT, in seconds.
const KEEPALIVE: u32 = 25;

pub(super) fn check(_: &Facts, mesh: &MeshFacts, out: &mut Findings) {
    const ID: &str = "conntrack";
    match mesh.kernel.udp_timeout_stream {
        Some(timeout) if timeout <= KEEPALIVE => out.warning(
            ID,
            format!(
                "this machine forgets UDP connections after {timeout} s, and keepalives come every {KEEPALIVE} s: a \
                 firewall that lets in answers only shuts out peers in between"
            ),
            "`sysctl -w net.netfilter.nf_conntrack_udp_timeout_stream=120`, which is the usual time",
        ),
        Some(timeout) => out.ok(ID, format!("UDP connections are remembered for {timeout} s")),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ids, of_mesh, only};
    use super::*;
    use crate::doctor::{Severity, made_up};

    #[test]
    fn connections_must_outlive_the_silence_between_keepalives() {
        let of = |timeout| of_mesh(check, &made_up::with(|mesh| mesh.kernel.udp_timeout_stream = timeout));
        only(&of(Some(25)), Severity::Warning, "conntrack");
        assert_eq!(ids(&of(Some(26))), [(Severity::Ok, "conntrack")]);
        assert_eq!(ids(&of(None)), []);
    }
}
