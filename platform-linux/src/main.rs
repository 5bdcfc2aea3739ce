//! The wgautomesh daemon and its commands.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
