//! Which pairs can be connected at all, by theory: what a simulation must reach once its faults have stopped.
//!
//! Assumed: each side's *reflexive* endpoint, as some third host on the public internet sees it, is known to the
//! other, and kept alive; both sides send to it, and answer what they hear at the address they hear it from; the
//! hosts behind one NAT use different ports. "Stable" is a NAT that shows everyone the same outside port (EIM, or
//! one that keeps ports).
//!
//! | filtering → ↓ | open host | stable | not stable (EDM, random ports) |
//! |---|---|---|---|
//! | open host | direct | direct | direct |
//! | stable, EIF | direct | punched | punched |
//! | stable, ADF | direct | punched | punched: its filter minds the address only |
//! | stable, APDF | direct | punched | not, unless the other lets anyone in |
//! | not stable, EIF | direct | punched | punched |
//! | not stable, ADF or APDF | direct | as the other's row says | not |
//!
//! Chains of NATs: each stage must let the other in. A stage knows the other only if it and all NATs inside of it
//! are stable, since otherwise our own packets to the other left by other mappings. Two hosts behind one outermost NAT need
//! hairpin there, unless they share a home.

use super::nat::{Filtering, NatConfig};
use super::net::GatewayId;

#[cfg(test)]
mod tests;

/// One NAT or firewall in front of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Which one it is, to tell a shared one from two of a kind.
    pub gateway: Option<GatewayId>,
    /// All remotes see the same outside port.
    pub stable: bool,
    /// Whom it lets in.
    pub filtering: Filtering,
    /// Inside hosts reach each other by its outside address.
    pub hairpin: bool,
    /// UDP does not pass.
    pub blocks_udp: bool,
}

impl From<&NatConfig> for Stage {
    fn from(nat: &NatConfig) -> Self {
        Self {
            gateway: None,
            stable: nat.is_stable(),
            filtering: nat.filtering,
            hairpin: nat.hairpin,
            blocks_udp: nat.blocks_udp,
        }
    }
}

/// All NATs in front of a host, nearest first; none for a public host.
pub type Side = Vec<Stage>;

/// How a pair connects. Better kinds compare less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PairKind {
    /// In one home: by private addresses, once they know them.
    Lan,
    /// One side is a public host: whoever is not initiates.
    Direct,
    /// Both behind NATs or firewalls that can be punched.
    Punched,
    /// Behind one NAT, by its outside address.
    Hairpin,
    /// Not without a relay or a port mapping.
    Unreachable,
}

impl PairKind {
    /// Whether the pair can be connected.
    #[must_use]
    pub fn is_connectable(self) -> bool {
        self != Self::Unreachable
    }
}

/// How two hosts that do not share a network connect in one family. Firewalls (`ipv6`) translate nothing, so hosts
/// behind the same outer one meet below it and need no hairpin.
#[must_use]
pub fn pair(a: &[Stage], b: &[Stage], ipv6: bool) -> PairKind {
    let (a, b, shared) = if ipv6 {
        let (a, b) = without_shared(a, b);
        (a, b, false)
    } else {
        (a, b, outermost(a).is_some() && outermost(a) == outermost(b))
    };
    if a.iter().chain(b).any(|stage| stage.blocks_udp) {
        return PairKind::Unreachable;
    }
    if a.is_empty() || b.is_empty() {
        return PairKind::Direct;
    }
    if shared && !a.last().is_some_and(|stage| stage.hairpin) {
        return PairKind::Unreachable;
    }
    if !delivers(a, b) && !delivers(b, a) {
        PairKind::Unreachable
    } else if shared {
        PairKind::Hairpin
    } else {
        PairKind::Punched
    }
}

/// Whether a packet of `x` to the reflexive endpoint of `y` arrives, once both have been sending.
fn delivers(x: &[Stage], y: &[Stage]) -> bool {
    let x_is_stable = x.iter().all(|stage| stage.stable);
    let mut stable_so_far = true;
    y.iter().all(|stage| {
        stable_so_far &= stage.stable;
        match stage.filtering {
            Filtering::EndpointIndependent => true,
            Filtering::AddressDependent => stable_so_far,
            Filtering::AddressAndPortDependent => stable_so_far && x_is_stable,
        }
    })
}

fn outermost(side: &[Stage]) -> Option<GatewayId> {
    side.last().and_then(|stage| stage.gateway)
}

fn without_shared<'a>(mut a: &'a [Stage], mut b: &'a [Stage]) -> (&'a [Stage], &'a [Stage]) {
    while let ([a_rest @ .., a_last], [b_rest @ .., b_last]) = (a, b)
        && a_last.gateway.is_some()
        && a_last.gateway == b_last.gateway
    {
        (a, b) = (a_rest, b_rest);
    }
    (a, b)
}
