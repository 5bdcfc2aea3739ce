//! What people call the peers.

use core::fmt;

use wgautomesh_core::PublicKey;

use crate::config::Config;

/// The configured peers' names, in the order of the configuration.
#[derive(Default)]
pub(super) struct Names(Vec<(PublicKey, Option<Box<str>>)>);

impl Names {
    pub(super) fn new(config: &Config) -> Self {
        Self(
            config
                .peers()
                .iter()
                .map(|peer| (*peer.key(), peer.name().map(|name| name.as_str().into())))
                .collect(),
        )
    }

    /// The configuration is another one now; these others are in the mesh too.
    #[cfg(feature = "admin")]
    pub(super) fn rename<'k>(&mut self, config: &Config, others: impl Iterator<Item = &'k PublicKey>) {
        *self = Self::new(config);
        others.for_each(|key| self.add(*key));
    }

    /// One peer with a name.
    #[cfg(test)]
    pub(super) fn one(key: PublicKey, name: &str) -> Self {
        Self(vec![(key, Some(name.into()))])
    }

    #[cfg(all(test, feature = "admin", not(target_arch = "mips")))]
    pub(super) fn of_test<'n>(named: impl IntoIterator<Item = (PublicKey, &'n str)>) -> Self {
        Self(named.into_iter().map(|(key, name)| (key, Some(name.into()))).collect())
    }

    /// A peer that the configuration does not name.
    pub(super) fn add(&mut self, key: PublicKey) {
        self.0.push((key, None));
    }

    /// It is gone.
    pub(super) fn remove(&mut self, key: &PublicKey) {
        self.0.retain(|(other, _)| other != key);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&PublicKey, Option<&str>)> {
        self.0.iter().map(|(key, name)| (key, name.as_deref()))
    }

    /// Whether it is a peer.
    pub(super) fn contains(&self, key: &PublicKey) -> bool {
        self.0.iter().any(|(other, _)| other == key)
    }

    /// A peer in a line of the log.
    pub(super) fn of(&self, key: PublicKey) -> Named<'_> {
        Named { key, name: self.name(&key) }
    }

    /// A peer in a few characters: its name, or the begin of its key.
    pub(super) fn short(&self, key: &PublicKey) -> String {
        self.name(key).map_or_else(|| format!("{key:.8}"), Into::into)
    }

    /// What the configuration calls it.
    pub(super) fn name(&self, key: &PublicKey) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == key)?.1.as_deref()
    }
}

/// `attic (AbCdEfGh)`, or `AbCdEfGh` for a peer without a name.
pub(super) struct Named<'n> {
    key: PublicKey,
    name: Option<&'n str>,
}

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Some(name) => write!(f, "{name} ({:.8})", self.key),
            None => write!(f, "{:.8}", self.key),
        }
    }
}
