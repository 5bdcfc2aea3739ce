//! What is logged: a level for all, and others for parts, as `RUST_LOG` has it.
//!
//! `info,wgautomesh::portmap=debug` is a list of parts with commas between. A level alone is for everything; `target=level` is
//! for what is logged by modules whose path begins with the target. The longest target that fits decides. What no part
//! speaks of is logged at `info`.

use log::{Level, LevelFilter};

/// What is logged.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Filter {
    general: LevelFilter,
    /// Begins of paths of modules, in the order of the setting.
    targets: Vec<(Box<str>, LevelFilter)>,
}

impl Filter {
    /// Reads a setting.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(setting: &str) -> Result<Self, String> {
        let mut filter = Self::default();
        for part in setting.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (target, level) = match part.split_once('=') {
                None => (None, part),
                Some((target, level)) => (Some(target.trim()), level.trim()),
            };
            let Ok(parsed) = level.parse() else {
                let level = level.escape_debug();
                return Err(format!("\"{level}\" is no level; use error, warn, info, debug, trace or off"));
            };
            match target {
                None => filter.general = parsed,
                Some(target) if is_path(target) => filter.targets.push((target.into(), parsed)),
                Some(target) => {
                    let target = target.escape_debug();
                    return Err(format!(
                        "\"{target}\" is no part of the program; wgautomesh::portmap is one"
                    ));
                }
            }
        }
        Ok(filter)
    }

    /// As much as it lets through of anything.
    pub(super) fn most(&self) -> LevelFilter {
        self.targets.iter().map(|(_, level)| *level).fold(self.general, Ord::max)
    }

    /// Whether it lets through what this module logs at this level.
    pub(super) fn lets(&self, module: &str, level: Level) -> bool {
        // Of two that are the same, the last one counts.
        let fitting = self.targets.iter().filter(|(target, _)| module.starts_with(&**target));
        let most = fitting.max_by_key(|(target, _)| target.len()).map_or(self.general, |(_, level)| *level);
        level <= most
    }
}

impl Default for Filter {
    fn default() -> Self {
        Self { general: LevelFilter::Info, targets: Vec::new() }
    }
}

/// Whether it could be the begin of a module's path.
fn is_path(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn most(setting: &str, module: &str) -> LevelFilter {
        let filter = Filter::parse(setting).unwrap();
        let logged = Level::iter().filter(|level| filter.lets(module, *level)).max();
        let most = logged.map_or(LevelFilter::Off, |level| level.to_level_filter());
        assert!(most <= filter.most(), "{setting}");
        most
    }

    #[test]
    fn the_longest_target_that_fits_decides() {
        let (run, portmap, igd) =
            ("wgautomesh::run::daemon", "wgautomesh::portmap", "wgautomesh::portmap::igd");
        for (setting, of_run, of_portmap, of_igd) in [
            ("", LevelFilter::Info, LevelFilter::Info, LevelFilter::Info),
            ("debug", LevelFilter::Debug, LevelFilter::Debug, LevelFilter::Debug),
            ("info,wgautomesh::portmap=debug", LevelFilter::Info, LevelFilter::Debug, LevelFilter::Debug),
            ("wgautomesh::portmap=debug,info", LevelFilter::Info, LevelFilter::Debug, LevelFilter::Debug),
            ("wgautomesh::portmap = DEBUG , warn", LevelFilter::Warn, LevelFilter::Debug, LevelFilter::Debug),
            (
                "wgautomesh::portmap::igd=off,wgautomesh::portmap=trace,wgautomesh=error",
                LevelFilter::Error,
                LevelFilter::Trace,
                LevelFilter::Off,
            ),
            ("wgautomesh=debug", LevelFilter::Debug, LevelFilter::Debug, LevelFilter::Debug),
            ("off,wgautomesh::portmap=info", LevelFilter::Off, LevelFilter::Info, LevelFilter::Info),
            ("hyper=trace", LevelFilter::Info, LevelFilter::Info, LevelFilter::Info),
            ("warn,error", LevelFilter::Error, LevelFilter::Error, LevelFilter::Error),
            (
                "wgautomesh::run=warn,wgautomesh::run=off",
                LevelFilter::Off,
                LevelFilter::Info,
                LevelFilter::Info,
            ),
        ] {
            let found = (most(setting, run), most(setting, portmap), most(setting, igd));
            assert_eq!(found, (of_run, of_portmap, of_igd), "{setting:?}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (setting, complaint) in [
            ("loud", "\"loud\" is no level"),
            ("info,wgautomesh::portmap=loud", "\"loud\" is no level"),
            ("wgautomesh=", "\"\" is no level"),
            ("info debug", "\"info debug\" is no level"),
            ("=debug", "\"\" is no part of the program"),
            ("wg automesh=debug", "\"wg automesh\" is no part of the program"),
            ("info/regex", "\"info/regex\" is no level"),
            ("a=b=c", "\"b=c\" is no level"),
            ("\u{1b}[2J", "\"\\u{1b}[2J\" is no level"),
        ] {
            let said = Filter::parse(setting).unwrap_err();
            assert!(said.starts_with(complaint), "{setting:?}: {said}");
        }
    }
}
