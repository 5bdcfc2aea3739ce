//! Builds the program for an architecture: static, with a standard library built for size, by cargo-zigbuild, which brings
//! linker and C library for all of them.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    arch::Arch,
    error::{Context as _, Error},
};

const PACKAGE: &str = "wgautomesh-openwrt";
/// Opt-level z, one unit, link-time optimization.
const PROFILE: &str = "small";

/// Where `.ci/install` puts cargo-zigbuild and zig, in the user's folder for caches.
const INSTALLED: &str = "wgautomesh-ci/tools";

/// Builds, with UPnP or without, and gives the program's bytes.
pub(crate) fn compile(arch: &Arch, workspace: &Path, upnp: bool) -> Result<Vec<u8>, Error> {
    let features = if upnp { "wgautomesh/upnp" } else { "" };
    let words = ["zigbuild", "--locked", "--package", PACKAGE, "--bin", PACKAGE, "--features", features];
    cargo(
        arch,
        workspace,
        &words.iter().chain(&["--profile", PROFILE]).map(OsString::from).collect::<Vec<_>>(),
    )?;
    let program = target_dir(workspace).join(arch.triple).join(PROFILE).join(PACKAGE);
    fs::read(&program).at(&program)
}

/// Runs cargo-zigbuild with these words, of which the first is its command: with the compiler, the standard library and the
/// flags that the program is built with.
pub(crate) fn cargo(arch: &Arch, workspace: &Path, words: &[OsString]) -> Result<(), Error> {
    let compiler = Compiler::find()?;
    let zigbuild = Zigbuild::find()?;
    println!("{}: building for {} with {}", arch.name, arch.triple, compiler.rustc.display());

    let (command, rest) = words.split_first().ok_or(Error::Program(
        zigbuild.program.clone(),
        "which of its commands? `zigbuild`, for example".into(),
    ))?;
    let library = if catches_panics(command) { "std" } else { "std,panic_abort" };
    let mut cargo = Command::new(&zigbuild.program);
    cargo
        .current_dir(workspace)
        .arg(command)
        .args(["--target", arch.triple, "--target-dir"])
        .arg(target_dir(workspace))
        .arg(format!("-Zbuild-std={library}"))
        .args(["-Z", "build-std-features=optimize_for_size"])
        .env("RUSTFLAGS", flags(arch, &compiler, catches_panics(command)))
        // Building a standard library is unstable.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTC", &compiler.rustc)
        .env("CARGO", &compiler.cargo)
        // What `cargo run` has set for this program is of another compiler.
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("LD_LIBRARY_PATH");
    if !catches_panics(command) {
        // A panic ends the program at once and without a message: those, and the code that prints them, would be another 30 kB
        // in the package. For procd it is a crash like others, which it starts the program anew after.
        cargo.args(["-Z", "panic-immediate-abort"]).env("CARGO_PROFILE_SMALL_PANIC", "immediate-abort");
    }
    cargo.args(rest);
    if let Some(zig) = &zigbuild.zig {
        cargo.env("CARGO_ZIGBUILD_ZIG_PATH", zig);
    }
    let status =
        cargo.status().map_err(|error| Error::Program(zigbuild.program.clone(), error.to_string()))?;
    if !status.success() {
        return Err(Error::Program(zigbuild.program, status.to_string()));
    }
    Ok(())
}

/// Another compiler's than the one that runs us, so a folder of its own.
fn target_dir(workspace: &Path) -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => PathBuf::from(folder).join("openwrt-build"),
        None => workspace.join("target/openwrt-build"),
    }
}

/// What runs tests goes on after one of them has panicked.
fn catches_panics(command: &OsStr) -> bool {
    command == "test"
}

/// The standard output of a program.
pub(crate) fn output(command: &mut Command) -> Result<String, Error> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| Error::Program(name.clone(), error.to_string()))?;
    if !output.status.success() {
        return Err(Error::Program(name, String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn flags(arch: &Arch, compiler: &Compiler, catches_panics: bool) -> String {
    let mut flags = arch.flags.join(" ");
    if !catches_panics {
        // Tables for unwinding are of no use to a program that aborts on a panic, and are a tenth of it.
        flags.push_str(" -C force-unwind-tables=no");
    }
    // Messages of panics have paths in them, which are to be the same on every machine. Those of this workspace are relative.
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    for (path, name) in [(home.as_deref(), "cargo"), (Some(&*compiler.sources), "std")] {
        if let Some(path) = path {
            flags.push_str(&format!(" --remap-path-prefix={}={name}", path.display()));
        }
    }
    flags
}

/// A compiler that has the sources of its standard library.
struct Compiler {
    rustc: PathBuf,
    cargo: PathBuf,
    sources: PathBuf,
}

impl Compiler {
    /// The one that RUSTC names, the one in the PATH, or Debian's.
    fn find() -> Result<Self, Error> {
        let named = env::var_os("RUSTC").map(PathBuf::from);
        let found = named.into_iter().chain(in_path("rustc")).chain([PathBuf::from("/usr/bin/rustc")]);
        found.into_iter().find_map(Self::with_sources).ok_or(Error::Missing(
            "Rust compiler with the sources of its standard library",
            "`rustup component add rust-src` or Debian's rust-src brings them; RUSTC names another compiler",
        ))
    }

    fn with_sources(rustc: PathBuf) -> Option<Self> {
        let mut command = Command::new(&rustc);
        // Which has the toolchain of the one that runs us in it.
        command.args(["--print", "sysroot"]).env_remove("LD_LIBRARY_PATH");
        let sysroot = output(&mut command).ok()?;
        let sources = Path::new(sysroot.trim()).join("lib/rustlib/src/rust");
        let cargo = rustc.with_file_name("cargo");
        (sources.join("library/std/Cargo.toml").exists() && cargo.exists()).then_some(Self {
            rustc,
            cargo,
            sources,
        })
    }
}

/// The program that builds, and its linker where that is not found by itself.
struct Zigbuild {
    program: String,
    zig: Option<PathBuf>,
}

impl Zigbuild {
    /// What CARGO_ZIGBUILD names, what is in the PATH, or what `.ci/install` installed.
    fn find() -> Result<Self, Error> {
        if let Ok(program) = env::var("CARGO_ZIGBUILD") {
            return Ok(Self { program, zig: None });
        }
        if let Some(path) = in_path("cargo-zigbuild") {
            return Ok(Self { program: path.display().to_string(), zig: None });
        }
        let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| env::home_dir().map(|home| home.join(".cache"))).unwrap_or_default();
        let tools = fs::read_dir(cache.join(INSTALLED)).into_iter().flatten().flatten();
        // There may be older ones: the same choice each time.
        let mut tools: Vec<PathBuf> = tools.map(|entry| entry.path()).collect();
        tools.sort();
        tools
            .into_iter()
            .rev()
            .find(|tools| tools.join("bin/cargo-zigbuild").exists() && tools.join("ziglang/zig").exists())
            .map(|tools| Self {
                program: tools.join("bin/cargo-zigbuild").display().to_string(),
                zig: Some(tools.join("ziglang/zig")),
            })
            .ok_or(Error::Missing(
                "cargo-zigbuild",
                "`pip install ziglang cargo-zigbuild` brings it, and so does .ci/install",
            ))
    }
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.exists())
}
