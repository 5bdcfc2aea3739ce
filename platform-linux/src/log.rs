//! The daemon's own logger: one line per event on standard error, flushed at once, without a time stamp.
//!
//! journald and procd put the time and the name in front; a second time stamp would only be in the way. Under
//! journald each line begins with its priority as `<N>`, which journald takes off again and files, so that
//! `journalctl -p warning` works. Elsewhere a line begins with the level in words. What is logged at all is said by a filter.

#[cfg_attr(not(feature = "admin"), path = "log/level.rs")]
mod filter;

use core::fmt::Write as _;
use filter::Filter;
use log::{Level, Log, Metadata, Record};
use std::{
    fs::File,
    io::Write as _,
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
};

/// The variable that says what is logged: a level (`error`, `warn`, `info`, which is the default, `debug`, `trace` or `off`), and,
/// with the feature `admin`, levels for parts of the program: `info,wgautomesh::portmap=debug`.
pub const LEVEL_VARIABLE: &str = "WGAUTOMESH_LOG";

/// Installs the logger. A second call changes nothing.
///
/// What is logged comes from [`LEVEL_VARIABLE`]; where that is not set, from `RUST_LOG`, which units written for the
/// original wgautomesh set, as `debug` or `wgautomesh=debug`. Where it makes no sense, that is said, and it is `info`.
pub fn init() {
    let setting =
        [LEVEL_VARIABLE, "RUST_LOG"].into_iter().find_map(|name| Some((name, std::env::var(name).ok()?)));
    let (filter, complaint) = match setting.as_ref().map(|(_, setting)| Filter::parse(setting)) {
        None => (Filter::default(), None),
        Some(Ok(filter)) => (filter, None),
        Some(Err(complaint)) => (Filter::default(), Some(complaint)),
    };
    let most = filter.most();
    // An error means that a logger is installed already: by an earlier call, or by a test that brings its own.
    if log::set_boxed_logger(Box::new(Logger { style: style(), filter })).is_err() {
        return;
    }
    log::set_max_level(most);
    if let (Some((name, setting)), Some(complaint)) = (setting, complaint) {
        log::warn!("{name}=\"{}\": {complaint}; logging at info", setting.escape_debug());
    }
}

/// What goes in front of a line of this level that is not logged, and is to be filed as if it were: nothing but in the journal.
#[must_use]
pub fn mark(level: Level) -> &'static str {
    match style() {
        Style::Journal => priority(level),
        Style::Plain => "",
    }
}

fn style() -> Style {
    let stream = std::env::var("JOURNAL_STREAM").ok();
    // The standard library's: rustix's crashes in a static program for MIPS.
    let stderr = std::io::stderr().as_fd().try_clone_to_owned().map(File::from);
    match (stream, stderr) {
        (Some(stream), Ok(stderr)) if is_journal(&stream, &stderr) => Style::Journal,
        _ => Style::Plain,
    }
}

/// Whether a file leads to journald: it says so by giving the device and inode of the stream it made. The variable is
/// inherited by whoever is started from a service, so what it says is compared with what is.
fn is_journal(stream: &str, file: &File) -> bool {
    file.metadata().is_ok_and(|stat| stream == format!("{}:{}", stat.dev(), stat.ino()))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Journal,
}

struct Logger {
    style: Style,
    filter: Filter,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.filter.lets(metadata.target(), metadata.level())
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
        (Style::Journal, level) => priority(level),
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

/// As journald takes it, one of syslog's.
fn priority(level: Level) -> &'static str {
    match level {
        Level::Error => "<3>",
        Level::Warn => "<4>",
        Level::Info => "<6>",
        Level::Debug | Level::Trace => "<7>",
    }
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
    use super::{Style, filter::Filter, is_journal, line};
    use log::{Level, LevelFilter, Record};
    use std::fs::File;
    use std::os::unix::fs::MetadataExt as _;

    /// What units written for the original set, and what every build takes.
    #[test]
    fn reads_levels() {
        for (setting, level) in [
            ("debug", Some(LevelFilter::Debug)),
            ("WARN", Some(LevelFilter::Warn)),
            ("off", Some(LevelFilter::Off)),
            ("wgautomesh=trace", Some(LevelFilter::Trace)),
            ("warn,wgautomesh=debug", Some(LevelFilter::Debug)),
            ("", Some(LevelFilter::Info)),
            ("loud", None),
            ("wgautomesh=loud", None),
        ] {
            let filter = Filter::parse(setting).ok();
            assert_eq!(filter.is_some(), level.is_some(), "{setting:?}");
            let (Some(filter), Some(most)) = (filter, level) else { continue };
            for level in Level::iter() {
                assert_eq!(filter.lets("wgautomesh::run", level), level <= most, "{setting:?} {level}");
                assert_eq!(filter.lets("wgautomesh_core::mesh", level), level <= most, "{setting:?} {level}");
            }
        }
        assert!(Filter::default().lets("wgautomesh", Level::Info));
        assert!(!Filter::default().lets("wgautomesh", Level::Debug));
    }

    /// Only the very stream that the variable names, and nothing that has merely inherited it.
    #[test]
    fn the_journal_is_known_by_its_stream() {
        let (file, other) = (File::open("/dev/null").unwrap(), File::open("/").unwrap());
        let stat = file.metadata().unwrap();
        let stream = format!("{}:{}", stat.dev(), stat.ino());
        assert!(is_journal(&stream, &file));
        assert!(!is_journal(&stream, &other));
        for wrong in ["", ":", "8", &format!("{stream}0"), &format!(" {stream}")] {
            assert!(!is_journal(wrong, &file), "{wrong:?}");
        }
    }

    #[test]
    fn a_record_is_one_line() {
        let show = |style, level, text: &str| {
            line(style, &Record::builder().level(level).args(format_args!("{text}")).build())
        };
        assert_eq!(show(Style::Plain, Level::Info, "wg0 is up"), "wg0 is up\n");
        assert_eq!(show(Style::Plain, Level::Warn, "no peers"), "warning: no peers\n");
        for (level, mark) in [
            (Level::Error, "<3>"),
            (Level::Warn, "<4>"),
            (Level::Info, "<6>"),
            (Level::Debug, "<7>"),
            (Level::Trace, "<7>"),
        ] {
            assert_eq!(show(Style::Journal, level, "no peers"), format!("{mark}no peers\n"));
        }
        // A second line would be filed as something else.
        assert_eq!(show(Style::Journal, Level::Info, "a\n<0>b"), "<6>a\\n<0>b\n");
        assert_eq!(show(Style::Plain, Level::Error, "a\nb\u{1b}[2J"), "error: a\\nb\\u{1b}[2J\n");
    }
}
