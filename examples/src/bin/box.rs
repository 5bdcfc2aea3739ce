//! A real mesh on one machine: `cargo box`, or `cargo box --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Nodes, devices and daemons start as this binary. Before anything else: no thread may exist yet.
    if let Some(code) = wgautomesh_examples::mesh_box::run_if_part() {
        return code;
    }
    wgautomesh_examples::mesh_box::main()
}
