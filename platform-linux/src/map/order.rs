//! In which order nodes are shown: those without a NAT first, then one NAT's nodes after the other's.

use super::{Map, Nat};
use core::cmp::Ordering;
use core::net::IpAddr;

/// Nodes that belong together.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Group {
    /// The public address that all of them are behind; `None` where there is no NAT, or none is known.
    pub(super) behind: Option<IpAddr>,
    /// What is in front of the one it is worst for.
    pub(super) nat: Nat,
    /// Their places in [`Map::nodes`].
    pub(super) members: Vec<usize>,
}

/// All nodes: those without a NAT, then those behind each public address, then those of which nothing is known.
pub(super) fn groups(map: &Map) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (at, node) in map.nodes.iter().enumerate() {
        let nat = node.nat();
        let behind = node.outside.map(|outside| outside.ip()).filter(|_| nat != Nat::Open);
        let shared = |group: &&mut Group| match (group.nat, nat) {
            (Nat::Open, Nat::Open) => true,
            (Nat::Open, _) | (_, Nat::Open) => false,
            _ => group.behind == behind,
        };
        match groups.iter_mut().find(shared) {
            Some(group) => {
                group.nat = group.nat.max(nat);
                group.members.push(at);
            }
            None => groups.push(Group { behind, nat, members: vec![at] }),
        }
    }
    let label = |at: &usize| map.nodes.get(*at).map(super::Node::label).unwrap_or_default();
    for group in &mut groups {
        group.members.sort_by(|a, b| natural(&label(a), &label(b)).then(a.cmp(b)));
    }
    let rank = |group: &Group| match (group.nat, group.behind) {
        (Nat::Open, _) => 0,
        (_, Some(_)) => 1,
        (_, None) => 2,
    };
    let first = |group: &Group| group.members.first().map(label).unwrap_or_default();
    groups.sort_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| natural(&first(a), &first(b))));
    groups
}

/// Names as people order them: node2 before node10.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (number_a, number_b) = (digits(a), digits(b));
        let (part_a, part_b) = if number_a > 0 && number_b > 0 {
            (a.split_at(number_a), b.split_at(number_b))
        } else {
            (a.split_at(first(a)), b.split_at(first(b)))
        };
        let of = |part: &str| part.trim_start_matches('0').len();
        let order = if number_a > 0 && number_b > 0 {
            let (trimmed_a, trimmed_b) = (part_a.0.trim_start_matches('0'), part_b.0.trim_start_matches('0'));
            of(part_a.0).cmp(&of(part_b.0)).then_with(|| trimmed_a.cmp(trimmed_b))
        } else {
            part_a.0.cmp(part_b.0)
        };
        if order.is_ne() || a.is_empty() || b.is_empty() {
            return order.then_with(|| a.len().cmp(&b.len()));
        }
        (a, b) = (part_a.1, part_b.1);
    }
}

/// How many bytes of digits a text begins with.
fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// How many bytes its first character has.
fn first(text: &str) -> usize {
    text.chars().next().map_or(0, char::len_utf8)
}

#[cfg(test)]
mod tests {
    use super::natural;

    #[test]
    fn numbers_in_names_are_numbers() {
        let mut names = ["b", "node10", "node2", "node", "node02b", "ä1", "a", "", "node2a", "10", "9"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["", "9", "10", "a", "b", "node", "node2", "node2a", "node02b", "node10", "ä1"]);
    }
}
