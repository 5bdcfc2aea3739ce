//! Reading the configuration again: by SIGHUP, or when somebody asks for it at the control socket.
//!
//! The file is checked whole before anything is done, so that a bad one changes nothing. What has come of it is logged, whoever
//! wanted it.

use super::{daemon::Fresh, mapper};
use crate::{
    config::{Config, Difference, Files, Report, Severity, load_again},
    control::{Handover, Reloaded},
    net::lan::LanSockets,
};

/// The configuration that the daemon goes by.
pub(super) struct Reload<'c> {
    start: &'c Config,
    /// What has come in its place.
    later: Option<Config>,
    /// As many peers as there is room for.
    capacity: usize,
}

impl<'c> Reload<'c> {
    /// As at the start.
    pub(super) const fn new(start: &'c Config, capacity: usize) -> Self {
        Self { start, later: None, capacity }
    }

    /// Reads the file that the daemon was started with, or the files that were handed over, and has `change` done what is
    /// different.
    pub(super) fn reload(
        &mut self,
        handover: Option<&Handover>,
        change: impl FnOnce(&Difference<'_>, &Config, Fresh),
    ) -> Reloaded {
        let interface = self.start.interface();
        let refused = |why: &str| {
            log::error!("{interface}: not reloaded: {why}");
            format!("{interface}: goes on as it was: {why}\n")
        };
        let (config, report) = match self.read(handover) {
            Ok(read) => read,
            Err(Refusal::Report(report)) => {
                let text = said(&report) + &refused(&report.summary());
                return Reloaded { done: false, text };
            }
            Err(Refusal::Other(why)) => return Reloaded { done: false, text: refused(&why) },
        };
        let difference = Difference::between(self.present(), &config);
        let mapper = match difference.port_mapping.and_then(|_| mapper(&config).transpose()).transpose() {
            Ok(mapper) => mapper,
            Err(error) => return Reloaded { done: false, text: refused(&error.to_string()) },
        };
        let mut text = said(&report);
        let words = format!("{interface}: reloaded: {difference}");
        log::info!("{words}");
        text.push_str(&words);
        text.push('\n');
        let lan = Box::new(LanSockets::new(config.gossip_port().get()));
        change(&difference, &config, Fresh { lan, mapper });
        self.later = Some(config);
        Reloaded { done: true, text }
    }

    fn present(&self) -> &Config {
        self.later.as_ref().unwrap_or(self.start)
    }

    fn read(&self, handover: Option<&Handover>) -> Result<(Config, Report), Refusal> {
        let (file, files) = match handover {
            Some(handover) => match handover.files() {
                Ok(Some(files)) => (handover.name(), Files::Handed(files)),
                Ok(None) => return Err(Refusal::Other("the files have not come with the request".into())),
                Err(error) => return Err(Refusal::Other(error.to_string())),
            },
            None => match self.start.file() {
                Some(file) => (file, Files::Again),
                None => return Err(Refusal::Other("it was not started with a file".into())),
            },
        };
        load_again(file, self.capacity, files, self.present()).map_err(Refusal::Report)
    }
}

/// Why nothing is changed.
enum Refusal {
    Report(Report),
    Other(String),
}

/// Logs what was found, and gives it as text.
fn said(report: &Report) -> String {
    let mut text = String::new();
    for (finding, line) in report.findings().iter().zip(report.lines()) {
        let level = match finding.severity {
            Severity::Error => log::Level::Error,
            Severity::Warning => log::Level::Warn,
            Severity::Note => log::Level::Info,
        };
        log::log!(level, "{line}");
        text.push_str(&line);
        text.push('\n');
    }
    text
}
