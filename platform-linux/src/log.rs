//! The daemon's own logger: one line per event on standard error, flushed at once, without a time stamp.
//!
//! journald and procd put the time and the name in front; a second time stamp would only be in the way. Under
//! journald each line begins with its priority as `<N>`, which journald takes off again and files, so that
//! `journalctl -p warning` works. Elsewhere a line begins with the level in words.

use core::fmt::Write as _;
use log::{Level, LevelFilter, Log, Metadata, Record};
use std::{
    fs::File,
    io::Write as _,
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
};

/// The variable that sets the level: `error`, `warn`, `info` (the default), `debug`, `trace` or `off`.
pub const LEVEL_VARIABLE: &str = "WGAUTOMESH_LOG";

/// Installs the logger. A second call changes nothing but the level.
///
/// The level comes from [`LEVEL_VARIABLE`]; where that is not set, from `RUST_LOG`, which units written for the
/// original wgautomesh set, as `debug` or `wgautomesh=debug`.
pub fn init() {
    let setting = [LEVEL_VARIABLE, "RUST_LOG"].iter().find_map(|name| std::env::var(name).ok());
    let level = setting.as_deref().map_or(Some(LevelFilter::Info), level_of);
    log::set_max_level(level.unwrap_or(LevelFilter::Info));
    let style = if stderr_is_the_journal() { Style::Journal } else { Style::Plain };
    // An error means that a logger is installed already: by an earlier call, or by a test that brings its own.
    let installed = log::set_boxed_logger(Box::new(Logger { style })).is_ok();
    if installed && level.is_none() {
        log::warn!(
            "{LEVEL_VARIABLE}={} is not a level; use error, warn, info, debug, trace or off",
            setting.unwrap_or_default().escape_debug()
        );
    }
}

/// The level in a setting: a bare level, or the one for this program in a list of `target=level`.
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

/// Whether standard error leads to journald: it says so by giving the device and inode of the stream it made.
fn stderr_is_the_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    // The variable is inherited by whoever is started from a service, so what it says is compared with what is.
    // The standard library's: rustix's crashes in a static program for MIPS.
    let stderr = std::io::stderr().as_fd().try_clone_to_owned().map(File::from);
    stderr
        .and_then(|file| file.metadata())
        .is_ok_and(|stat| stream == format!("{}:{}", stat.dev(), stat.ino()))
}

#[derive(Clone, Copy)]
enum Style {
    Plain,
    Journal,
}

struct Logger {
    style: Style,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let line = line(self.style, record);
        // One write for the whole line, so that lines of two threads do not mix. Where nobody listens any more, there
        // is nobody to tell.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

fn line(style: Style, record: &Record<'_>) -> String {
    let mut out = String::with_capacity(128);
    out.push_str(match (style, record.level()) {
        (Style::Journal, Level::Error) => "<3>",
        (Style::Journal, Level::Warn) => "<4>",
        (Style::Journal, Level::Info) => "<6>",
        (Style::Journal, Level::Debug | Level::Trace) => "<7>",
        (Style::Plain, Level::Error) => "error: ",
        (Style::Plain, Level::Warn) => "warning: ",
        (Style::Plain, Level::Info) => "",
        (Style::Plain, Level::Debug) => "debug: ",
        (Style::Plain, Level::Trace) => "trace: ",
    });
    // What a peer or a file supplied may be in here: it must not be able to make a line of its own.
    let _ = write!(OneLine(&mut out), "{}", record.args());
    out.push('\n');
    out
}

/// Escapes control characters.
struct OneLine<'a>(&'a mut String);

impl core::fmt::Write for OneLine<'_> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for c in text.chars() {
            if c.is_control() {
                self.0.extend(c.escape_default());
            } else {
                self.0.push(c);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Style, level_of, line};
    use log::{Level, LevelFilter, Record};

    #[test]
    fn reads_levels() {
        for (setting, level) in [
            ("debug", Some(LevelFilter::Debug)),
            ("WARN", Some(LevelFilter::Warn)),
            ("off", Some(LevelFilter::Off)),
            ("wgautomesh=trace", Some(LevelFilter::Trace)),
            ("warn,wgautomesh=debug", Some(LevelFilter::Debug)),
            ("hyper=debug", Some(LevelFilter::Info)),
            ("", Some(LevelFilter::Info)),
            ("loud", None),
            ("wgautomesh=loud", None),
        ] {
            assert_eq!(level_of(setting), level, "{setting:?}");
        }
    }

    #[test]
    fn a_record_is_one_line() {
        let show = |style, level, text: &str| {
            line(style, &Record::builder().level(level).args(format_args!("{text}")).build())
        };
        assert_eq!(show(Style::Plain, Level::Info, "wg0 is up"), "wg0 is up\n");
        assert_eq!(show(Style::Plain, Level::Warn, "no peers"), "warning: no peers\n");
        assert_eq!(show(Style::Journal, Level::Warn, "no peers"), "<4>no peers\n");
        assert_eq!(show(Style::Plain, Level::Error, "a\nb\u{1b}[2J"), "error: a\\nb\\u{1b}[2J\n");
    }
}
