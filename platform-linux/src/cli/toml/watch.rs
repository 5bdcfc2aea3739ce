//! `status --watch`: the status again and again.

use super::{START, whose::Whose};
use crate::cli::live::{Happened, Seen, Terminal, Woken, changes, frame};
use crate::cli::{self, FAILED, complain};
use crate::config::InterfaceName;
use crate::control::{Request, status::Status};
use core::time::Duration;
use std::collections::VecDeque;
use std::process::ExitCode;
use std::time::Instant;

/// From one screen to the next.
const EACH: Duration = Duration::from_secs(1);
/// Events that are remembered: more than a screen has room for.
const EVENTS: usize = 32;

/// Shows the status until told to stop.
pub(super) fn watch(whose: &Whose) -> ExitCode {
    let interface = match whose.interface() {
        Ok(interface) => interface,
        Err(complaint) => return failed(&complaint),
    };
    // Nobody wants a screen that only says that there is nothing.
    if let Err(complaint) = ask(&interface) {
        return failed(&complaint);
    }
    match Terminal::take() {
        Ok(terminal) => {
            show(&interface, &terminal);
            ExitCode::SUCCESS
        }
        Err(error) => failed(&format!(
            "wgautomesh: --watch needs a terminal to draw on, for input and output: {error}\n"
        )),
    }
}

fn failed(complaint: &str) -> ExitCode {
    complain(complaint);
    ExitCode::from(FAILED)
}

fn show(interface: &InterfaceName, terminal: &Terminal) {
    let mut before: Option<(Status, Instant)> = None;
    let mut now: Option<(Status, Instant)> = None;
    let mut events: VecDeque<(Instant, String)> = VecDeque::new();
    let mut complaint = String::new();
    let mut due = Instant::now();
    loop {
        if due <= Instant::now() {
            match ask(interface) {
                Ok(status) => {
                    let at = Instant::now();
                    let last = now.replace((status, at));
                    if let (Some((last, _)), Some((status, _))) = (&last, &now) {
                        let news = changes(last, status).into_iter().map(|what| (at, what));
                        news.for_each(|happened| events.push_front(happened));
                        events.truncate(EVENTS);
                    }
                    before = last;
                    complaint.clear();
                }
                Err(error) => complaint = error,
            }
            // Not a second after the last one was due: after a wait of the machine's, that would be many at once.
            due = Instant::now() + EACH;
        }
        let happened: Vec<_> =
            events.iter().map(|(at, what)| Happened { ago: at.elapsed(), what: what.clone() }).collect();
        let size = terminal.size();
        let lines = match (&now, complaint.is_empty()) {
            (Some((status, at)), true) => {
                let between = before.as_ref().map_or(EACH, |(_, before)| at.duration_since(*before));
                let seen = Seen { before: before.as_ref().map(|(status, _)| status), now: status, between };
                frame(seen, &happened, size, cli::colours())
            }
            // It goes on when the daemon is there again.
            _ => complaint.lines().map(|line| line.chars().take(size.columns).collect()).collect(),
        };
        if terminal.draw(&lines).is_err() || terminal.wait(due) == Woken::Quit {
            return;
        }
    }
}

fn ask(interface: &InterfaceName) -> Result<Status, String> {
    let text = cli::ask(interface, &Request::Status, START)?;
    serde_json::from_str(&text)
        .map_err(|error| format!("wgautomesh: the daemon's status cannot be read: {error}\n"))
}
