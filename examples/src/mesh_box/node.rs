//! A node as the parent sees it: its process, the channel to it, its log.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::attack::{Attack, Attacked};
use super::channel::Channel;
use super::error::BoxError;
use super::flood::{Flood, Flooded};
use super::node_process;
use super::plan::{CONFIG_PATH, NodePlan};
use super::protocol::{Answer, Asked, Event, Pings, Probing, Request, Said, Usage};
use super::wireguard::{PeerStatus, PeerUpdate};

/// How many lines of a node's log are remembered.
const LOG_LINES: usize = 2000;

/// What a program printed that was run in a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// A program that runs in a node; [`Node::finish`] waits for its end.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Started(u64);

/// How a daemon ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code, if it exited.
    pub code: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// Whether it had been sent a signal through [`Node::signal_daemon`].
    pub expected: bool,
}

/// One machine of the mesh.
///
/// All methods ask the node's process and wait for its answer. Errors are [`BoxError::Node`] with what the system
/// said there, or [`BoxError::Gone`] when the process has ended.
pub struct Node {
    plan: NodePlan,
    process: Child,
    channel: Channel,
    next_id: u64,
    /// What came while an answer was waited for.
    events: VecDeque<Event>,
    /// Programs that run beside, by the number of their request, with the answer if it came while another was waited for.
    beside: HashMap<u64, Option<Answer>>,
    ended: Option<Ended>,
    signalled: bool,
    log: Arc<Mutex<VecDeque<String>>>,
    log_thread: Option<std::thread::JoinHandle<()>>,
}

impl Node {
    /// Starts the process. It waits for its setup.
    pub(crate) fn spawn(
        plan: NodePlan,
        program: &Path,
        verbose: bool,
        keep_logs: Option<&Path>,
    ) -> Result<Self, BoxError> {
        let (ours, theirs) = Channel::pair().map_err(BoxError::io("make a channel"))?;
        let mut process = Command::new(program)
            .args([node_process::WORD, &std::process::id().to_string()])
            .stdin(Stdio::from(theirs.into_fd()))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(BoxError::io("start the process of a node"))?;
        let log = Arc::new(Mutex::new(VecDeque::new()));
        let file = match keep_logs {
            Some(directory) => {
                Some(open_log(directory, &plan.name).map_err(BoxError::io("open a log file"))?)
            }
            None => None,
        };
        let log_thread = process.stderr.take().map(|stderr| {
            let (name, log) = (plan.name.clone(), Arc::clone(&log));
            std::thread::spawn(move || follow_log(BufReader::new(stderr), &name, verbose, file, &log))
        });
        Ok(Self {
            plan,
            process,
            channel: ours,
            next_id: 0,
            events: VecDeque::new(),
            beside: HashMap::new(),
            ended: None,
            signalled: false,
            log,
            log_thread,
        })
    }

    /// What it was planned as: name, keys, addresses.
    #[must_use]
    pub const fn plan(&self) -> &NodePlan {
        &self.plan
    }

    /// The process that holds its namespaces: for `nsenter`.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// The last lines it printed: daemon, WireGuard device and the node itself.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.log.lock().map(|lines| lines.iter().cloned().collect()).unwrap_or_default()
    }

    /// What its WireGuard interface says of its peers.
    ///
    /// # Errors
    /// See [`Node`]; also when the interface is deleted.
    pub fn peers(&mut self) -> Result<Vec<PeerStatus>, BoxError> {
        match self.ask(Request::Peers, None)? {
            Answer::Peers(peers) => Ok(peers),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Changes peers of its WireGuard interface, as an admin would by hand.
    ///
    /// # Errors
    /// See [`Node`].
    pub fn update_peers(&mut self, peers: Vec<PeerUpdate>) -> Result<(), BoxError> {
        self.ask_done(Request::UpdatePeers(peers), None)
    }

    /// Deletes its WireGuard interface. The daemon is not told.
    ///
    /// # Errors
    /// See [`Node`].
    pub fn delete_interface(&mut self) -> Result<(), BoxError> {
        self.ask_done(Request::DeleteInterface, None)
    }

    /// Creates its WireGuard interface again: same key, port and address, no peers, another index.
    ///
    /// # Errors
    /// See [`Node`].
    pub fn create_interface(&mut self) -> Result<(), BoxError> {
        self.ask_done(Request::CreateInterface, None)
    }

    /// Starts its daemon at once.
    ///
    /// # Errors
    /// See [`Node`]; also when it is running.
    pub fn start_daemon(&mut self) -> Result<(), BoxError> {
        let gate = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(io::Error::from);
        let (reader, _writer) = gate.map_err(BoxError::io("make a pipe"))?;
        self.start_daemon_behind(std::os::fd::AsFd::as_fd(&reader))
    }

    /// Starts its daemon up to the moment before it runs; it runs when the other end of the pipe is closed.
    pub(crate) fn start_daemon_behind(&mut self, gate: BorrowedFd<'_>) -> Result<(), BoxError> {
        (self.ended, self.signalled) = (None, false);
        self.ask_done(Request::StartDaemon, Some(gate))
    }

    /// Sends its daemon a signal, by number: 15 to end it, 9 to kill it.
    ///
    /// # Errors
    /// See [`Node`]; also when it is not running.
    pub fn signal_daemon(&mut self, signal: i32) -> Result<(), BoxError> {
        self.signalled = true;
        self.ask_done(Request::SignalDaemon(signal), None)
    }

    /// Waits until its daemon has ended.
    ///
    /// # Errors
    /// See [`Node`].
    pub fn wait_daemon(&mut self) -> Result<Ended, BoxError> {
        loop {
            while self.next_event().is_some() {}
            if let Some(ended) = self.ended {
                return Ok(ended);
            }
            self.receive()?;
        }
    }

    /// How its daemon ended, if it has ended since it was last started and [`super::Mesh`] has seen it.
    #[must_use]
    pub const fn daemon_ended(&self) -> Option<Ended> {
        self.ended
    }

    /// Runs a program inside the node to its end, without standard input.
    ///
    /// # Errors
    /// See [`Node`].
    pub fn run(&mut self, program: &[&str]) -> Result<Output, BoxError> {
        let started = self.start(program)?;
        self.finish(started)
    }

    /// Starts a program inside the node, without standard input.
    ///
    /// # Errors
    /// See [`Node`]; that the program cannot be started is said by [`Node::finish`].
    pub fn start(&mut self, program: &[&str]) -> Result<Started, BoxError> {
        let program = program.iter().map(ToString::to_string).collect();
        let id = self.send(Request::Run(program), None)?;
        self.beside.insert(id, None);
        Ok(Started(id))
    }

    /// Whether a program has ended, as far as has been heard from the node; [`super::Mesh`] listens as time passes.
    #[must_use]
    pub fn has_finished(&self, started: &Started) -> bool {
        self.beside.get(&started.0).is_some_and(Option::is_some)
    }

    /// Whether a program has ended, which is looked for now: for a host that [`super::Mesh`] does not listen to.
    ///
    /// # Errors
    /// See [`Node`].
    pub fn poll_finished(&mut self, started: &Started) -> Result<bool, BoxError> {
        // It has nothing else to say: an answer to a question that is asked now comes after it.
        self.usage()?;
        Ok(self.has_finished(started))
    }

    /// Waits for the end of a program.
    ///
    /// # Errors
    /// See [`Node`].
    pub fn finish(&mut self, started: Started) -> Result<Output, BoxError> {
        let Started(id) = started;
        let answer = match self.beside.remove(&id).flatten() {
            Some(answer) => self.checked(answer)?,
            None => self.answer(id)?.0,
        };
        match answer {
            Answer::Output { code, stdout, stderr } => Ok(Output { code, stdout, stderr }),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Starts an attack on the LAN that it is on.
    ///
    /// # Errors
    /// See [`Node`].
    pub fn start_attack(&mut self, attack: &Attack) -> Result<Started, BoxError> {
        let command = attack.command().map_err(BoxError::io("describe an attack"))?;
        self.start(&command.each_ref().map(String::as_str))
    }

    /// Waits for the end of an attack.
    ///
    /// # Errors
    /// See [`Node`]; also when it could not listen or send.
    pub fn finish_attack(&mut self, started: Started) -> Result<Attacked, BoxError> {
        self.finish_report(started)
    }

    /// Starts sending garbage from inside the node.
    ///
    /// # Errors
    /// See [`Node`].
    pub fn start_flood(&mut self, flood: &Flood) -> Result<Started, BoxError> {
        let command = flood.command().map_err(BoxError::io("describe a flood"))?;
        self.start(&command.each_ref().map(String::as_str))
    }

    /// Waits for the end of a flood.
    ///
    /// # Errors
    /// See [`Node`]; also when it could not send.
    pub fn finish_flood(&mut self, started: Started) -> Result<Flooded, BoxError> {
        self.finish_report(started)
    }

    /// What a program says of itself in JSON when it ends.
    fn finish_report<T: DeserializeOwned>(&mut self, started: Started) -> Result<T, BoxError> {
        let output = self.finish(started)?;
        serde_json::from_str(&output.stdout)
            .map_err(|_| BoxError::Node { node: self.plan.name.clone(), text: output.stderr })
    }

    /// What its daemon has used.
    ///
    /// # Errors
    /// See [`Node`].
    pub fn usage(&mut self) -> Result<Usage, BoxError> {
        match self.ask(Request::Usage, None)? {
            Answer::Usage(usage) => Ok(usage),
            other => Err(self.unexpected(&other)),
        }
    }

    /// What its daemon, the binary at this path, says of itself: `status --json`. `None` from one that does not know
    /// this command, or is not running.
    ///
    /// # Errors
    /// See [`Node`].
    pub fn status(&mut self, daemon: &Path) -> Result<Option<Value>, BoxError> {
        self.ask_daemon(daemon, &["status", "--json"])
    }

    /// What its daemon, the binary at this path, says of its link with a peer: `why --json PEER`. `None` where it says nothing.
    ///
    /// # Errors
    /// See [`Node`].
    pub fn why(&mut self, daemon: &Path, peer: &str) -> Result<Option<Value>, BoxError> {
        self.ask_daemon(daemon, &["why", "--json", peer])
    }

    fn ask_daemon(&mut self, daemon: &Path, command: &[&str]) -> Result<Option<Value>, BoxError> {
        let program = with_commands(daemon);
        let output = self.run(&[&[&*program.to_string_lossy()], command, &[CONFIG_PATH]].concat())?;
        Ok(serde_json::from_str(&output.stdout).ok().filter(|_| output.code == Some(0)))
    }

    /// Writes a file inside the node; only what is below `/run` is its own.
    ///
    /// # Errors
    /// See [`Node`].
    pub fn write_file(&mut self, path: &str, text: &str) -> Result<(), BoxError> {
        self.ask_done(Request::WriteFile { path: path.into(), text: text.into() }, None)
    }

    /// Reads its configuration file.
    ///
    /// # Errors
    /// See [`Node`].
    pub fn config(&mut self) -> Result<String, BoxError> {
        Ok(self.run(&["/bin/cat", CONFIG_PATH])?.stdout)
    }

    /// Gives its wan interface these addresses with their prefix lengths, and takes all others away. The virtual internet
    /// is not told.
    ///
    /// # Errors
    /// See [`Node`].
    pub fn set_wan(&mut self, addresses: Vec<(IpAddr, u8)>) -> Result<(), BoxError> {
        self.ask_done(Request::SetWan(addresses), None)
    }

    pub(crate) fn ping(&mut self, period: Option<Duration>) -> Result<(), BoxError> {
        self.ask_done(Request::Ping(period), None)
    }

    pub(crate) fn pings(&mut self) -> Result<Vec<(usize, Pings)>, BoxError> {
        match self.ask(Request::Pings, None)? {
            Answer::Pings(pings) => Ok(pings),
            other => Err(self.unexpected(&other)),
        }
    }

    pub(crate) fn probe(&mut self, probing: Probing) -> Result<(), BoxError> {
        self.ask_done(Request::Probe(probing), None)
    }

    pub(crate) fn stop_probing(&mut self) -> Result<(), BoxError> {
        self.ask_done(Request::StopProbing, None)
    }

    pub(crate) const fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Sends a request whose answer is fetched later, so that nodes can work at the same time.
    pub(crate) fn send(&mut self, request: Request, fd: Option<BorrowedFd<'_>>) -> Result<u64, BoxError> {
        self.next_id += 1;
        let id = self.next_id;
        self.channel.send(&Asked { id, request }, fd).map_err(|error| self.broken(&error))?;
        Ok(id)
    }

    /// Waits for the answer with this number. Answers come in the order of the requests, except those of programs.
    pub(crate) fn answer(&mut self, wanted: u64) -> Result<(Answer, Option<File>), BoxError> {
        loop {
            let (said, fd) = self.channel.receive::<Said>().map_err(|error| self.broken(&error))?;
            match said {
                Said::Answer { id, answer } if id == wanted => {
                    return Ok((self.checked(answer)?, fd.map(File::from)));
                }
                other => self.keep(other),
            }
        }
    }

    /// Takes one message, which must be there or coming.
    pub(crate) fn receive(&mut self) -> Result<(), BoxError> {
        let (said, _) = self.channel.receive::<Said>().map_err(|error| self.broken(&error))?;
        self.keep(said);
        Ok(())
    }

    /// Puts aside what was not waited for.
    fn keep(&mut self, said: Said) {
        match said {
            Said::Event(event) => self.events.push_back(event),
            Said::Answer { id, answer } => {
                // Others are of a request that was given up.
                if let Some(slot) = self.beside.get_mut(&id) {
                    *slot = Some(answer);
                }
            }
        }
    }

    /// The answer, unless it is that the request failed.
    fn checked(&self, answer: Answer) -> Result<Answer, BoxError> {
        match answer {
            Answer::Failed { closed, text } => {
                let node = self.plan.name.clone();
                Err(closed.map_or(BoxError::Node { node, text }, BoxError::Closed))
            }
            answer => Ok(answer),
        }
    }

    /// Takes the next event that has come already.
    pub(crate) fn next_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        if let Event::DaemonEnded { code, signal } = event {
            self.ended = Some(Ended { code, signal, expected: self.signalled });
        }
        Some(event)
    }

    fn ask(&mut self, request: Request, fd: Option<BorrowedFd<'_>>) -> Result<Answer, BoxError> {
        let id = self.send(request, fd)?;
        Ok(self.answer(id)?.0)
    }

    fn ask_done(&mut self, request: Request, fd: Option<BorrowedFd<'_>>) -> Result<(), BoxError> {
        match self.ask(request, fd)? {
            Answer::Done => Ok(()),
            other => Err(self.unexpected(&other)),
        }
    }

    fn unexpected(&self, answer: &Answer) -> BoxError {
        BoxError::Node {
            node: self.plan.name.clone(),
            text: format!("an answer to something else: {answer:?}"),
        }
    }

    fn broken(&self, error: &io::Error) -> BoxError {
        let node = self.plan.name.clone();
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
                BoxError::Gone { node }
            }
            _ => BoxError::Node { node, text: error.to_string() },
        }
    }
}

impl Drop for Node {
    /// Ends the node: its process first, with which the kernel ends daemon and device, interfaces and namespaces.
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if let Some(thread) = self.log_thread.take() {
            let _ = thread.join();
        }
    }
}

/// The program with the commands of a daemon: itself, but for `wgautomeshd`, which has none, `wgautomesh` where that is beside it.
fn with_commands(daemon: &Path) -> PathBuf {
    let beside = daemon.with_file_name("wgautomesh");
    let has_none = daemon.file_name().is_some_and(|name| name == "wgautomeshd");
    if has_none && beside.exists() { beside } else { daemon.into() }
}

fn open_log(directory: &Path, name: &str) -> io::Result<File> {
    std::fs::create_dir_all(directory)?;
    File::create(directory.join(format!("{name}.log")))
}

fn follow_log(
    mut input: impl BufRead,
    name: &str,
    verbose: bool,
    mut file: Option<File>,
    log: &Mutex<VecDeque<String>>,
) {
    // Of all nodes, so that their lines can be put in order.
    static START: OnceLock<Instant> = OnceLock::new();
    let start = *START.get_or_init(Instant::now);
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        line.clear();
        let at = start.elapsed().as_secs_f64();
        if verbose {
            eprintln!("{name:>8} {at:8.3} | {text}");
        }
        if let Some(file) = &mut file {
            // A full disk must not stop the run.
            let _ = writeln!(file, "{at:8.3} {text}");
        }
        if let Ok(mut log) = log.lock() {
            if log.len() >= LOG_LINES {
                log.pop_front();
            }
            log.push_back(text);
        }
    }
}
