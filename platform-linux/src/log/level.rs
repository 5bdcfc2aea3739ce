//! In place of the filter, on routers, for size: one level for the whole program.

use log::{Level, LevelFilter};

/// A level.
pub(super) struct Filter(LevelFilter);

impl Filter {
    /// The level in a setting: a bare level, or the one for this program in a list of `target=level`.
    pub(super) fn parse(setting: &str) -> Result<Self, &'static str> {
        level_of(setting).map(Self).ok_or("is not a level; use error, warn, info, debug, trace or off")
    }

    /// As much as it lets through of anything.
    pub(super) const fn most(&self) -> LevelFilter {
        self.0
    }

    pub(super) fn lets(&self, _: &str, level: Level) -> bool {
        level <= self.0
    }
}

impl Default for Filter {
    fn default() -> Self {
        Self(LevelFilter::Info)
    }
}

fn level_of(setting: &str) -> Option<LevelFilter> {
    let mut general = None;
    for part in setting.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match part.split_once('=') {
            Some((target, level)) if target.trim().starts_with("wgautomesh") => {
                return level.trim().parse().ok();
            }
            // What other crates log is of no interest here.
            Some(_) => {}
            None => general = Some(part.parse().ok()?),
        }
    }
    Some(general.unwrap_or(LevelFilter::Info))
}
