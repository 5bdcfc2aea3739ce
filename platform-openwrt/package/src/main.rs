//! Builds the packages for OpenWrt routers, and a feed of them. [`USAGE`] says how.
//!
//! ```text
//! compile ──► strip ──► package ──► ipk, apk ──► feed ──► usign, apk_key
//! the static  what only the tree    as opkg and  the      sign the
//! binary      debuggers and scripts apk want it  indexes  indexes
//! ```
//!
//! The same sources make the same bytes, wherever they lie and whenever it is done.

mod adb;
mod apk;
mod apk_key;
mod arch;
mod archive;
mod compile;
mod error;
mod feed;
mod ipk;
mod package;
mod sizes;
mod strip;
mod tree;
mod usign;

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use arch::Arch;
use error::{Context as _, Error};
use package::{Package, Release};
use sizes::Sizes;

const USAGE: &str = "\
Builds the packages of wgautomesh for OpenWrt, and a feed of them.

Usage: openwrt-package --arch ARCH|all [OPTIONS]
       openwrt-package --arch ARCH|all --cargo COMMAND...

  --arch ARCH      mipsel_24kc, for example; may be repeated; all: every one
                   (opkg print-architecture, on a router, says which it wants)
  --out DIR        where to put them, in a folder for each ARCH
                   [default: target/openwrt]
  --key FILE       sign the feed for opkg with this key of signify or usign
  --apk-key FILE   sign the feed for apk with this key of OpenSSL
  --release N      the packages' release [default: 1]
  --binary FILE    pack this program and build none
  --no-upnp        build a smaller program, which asks gateways for port
                   mappings by PCP and NAT-PMP only
  --source DIR     what else is packed [default: platform-openwrt]
  --cargo COMMAND  pack nothing: run this command of cargo-zigbuild, with
                   all words that follow, as if it were to build the program
  -h, --help       print this

Environment:
  SOURCE_DATE_EPOCH   the time stamp of all files [default: the last commit's]
  RUSTC               a compiler that has its standard library's sources
  CARGO_ZIGBUILD      the program cargo-zigbuild
";

/// What the command line asks for.
struct Options {
    arches: Vec<&'static Arch>,
    out: PathBuf,
    key: Option<PathBuf>,
    apk_key: Option<PathBuf>,
    release: u32,
    binary: Option<PathBuf>,
    upnp: bool,
    source: PathBuf,
    cargo: Option<Vec<OsString>>,
}

fn main() -> ExitCode {
    let options = match parse(std::env::args_os()) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("openwrt-package: {error}\nTry `openwrt-package --help`.");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("openwrt-package: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Reads a command line, of which the first word is the name of the program. Nothing when help is wanted.
fn parse(
    args: impl IntoIterator<Item = OsString, IntoIter: 'static>,
) -> Result<Option<Options>, lexopt::Error> {
    use lexopt::prelude::{Long, Short, ValueExt as _};

    let mut options = Options {
        arches: Vec::new(),
        out: workspace().join("target/openwrt"),
        key: None,
        apk_key: None,
        release: 1,
        binary: None,
        upnp: true,
        source: workspace().join("platform-openwrt"),
        cargo: None,
    };
    let mut parser = lexopt::Parser::from_iter(args);
    while let Some(arg) = parser.next()? {
        match arg {
            Short('h') | Long("help") => return Ok(None),
            Long("arch") => {
                let name = parser.value()?.string()?;
                let wanted = Arch::named(&name).ok_or_else(|| {
                    let known: Vec<&str> = arch::ALL.iter().map(|arch| arch.name).collect();
                    format!("--arch {name}: there is {}, and all", known.join(", "))
                })?;
                options.arches.extend(wanted);
            }
            Long("out") => options.out = parser.value()?.into(),
            Long("key") => options.key = Some(parser.value()?.into()),
            Long("apk-key") => options.apk_key = Some(parser.value()?.into()),
            Long("release") => options.release = parser.value()?.parse()?,
            Long("binary") => options.binary = Some(parser.value()?.into()),
            Long("no-upnp") => options.upnp = false,
            Long("source") => options.source = parser.value()?.into(),
            Long("cargo") => {
                let mut words = vec![parser.value()?];
                words.extend(parser.raw_args()?);
                options.cargo = Some(words);
            }
            other => return Err(other.unexpected()),
        }
    }
    if options.arches.is_empty() {
        return Err("--arch is missing".into());
    }
    if options.arches.len() > 1 && options.binary.is_some() {
        return Err("--binary is of one architecture, so give one --arch".into());
    }
    Ok(Some(options))
}

fn run(options: &Options) -> Result<(), Error> {
    if let Some(words) = &options.cargo {
        return options.arches.iter().try_for_each(|arch| compile::cargo(arch, workspace(), words));
    }
    // What can be wrong with them is known before a long build.
    let keys = feed::Keys {
        usign: options.key.as_deref().map(usign::SecretKey::read).transpose()?,
        apk: options.apk_key.as_deref().map(apk_key::SecretKey::read).transpose()?,
    };
    let release = Release { number: options.release, epoch: epoch()? };
    let luci = package::luci(&options.source.join("luci"), release)?;
    if luci.is_none() {
        println!("luci-app-wgautomesh: skipped, there is no {}", options.source.join("luci").display());
    }

    let mut sizes = Sizes::default();
    for arch in &options.arches {
        let program = match &options.binary {
            Some(path) => fs::read(path).at(path)?,
            None => strip::strip(compile::compile(arch, workspace(), options.upnp)?)?,
        };
        let folder = options.out.join(arch.name);
        // An index is of all that lies there: nothing of an older version may be left.
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).at(&folder),
            _ => fs::create_dir_all(&folder).at(&folder)?,
        }

        let daemon = package::daemon(&options.source.join("files"), program, arch.name, release)?;
        let mut index = feed::Index::default();
        for package in [Some(&daemon), luci.as_ref()].into_iter().flatten() {
            sizes.add(add(package, &folder, &mut index)?);
        }
        index.write(&folder, &keys)?;
    }
    print!("{sizes}");
    Ok(())
}

/// Writes a package into the folder of a feed, in both formats, and its entries into the feed's indexes. Gives its sizes.
fn add(package: &Package, folder: &Path, index: &mut feed::Index) -> Result<sizes::Row, Error> {
    let ipk = ipk::build(package)?;
    let apk = apk::build(package)?;
    for (name, bytes) in [(&ipk.file_name, &ipk.bytes), (&apk.file_name, &apk.bytes)] {
        let path = folder.join(name);
        fs::write(&path, bytes).at(&path)?;
        println!("{}", path.display());
    }
    let row = sizes::Row {
        package: package.name,
        arch: package.arch,
        ipk: ipk.bytes.len(),
        apk: apk.bytes.len(),
        installed: package.tree.size(),
    };
    index.add_ipk(&ipk);
    index.add_apk(apk);
    Ok(row)
}

/// The folder of the workspace that this program was built from.
fn workspace() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here)
}

/// The time that all files get, in seconds since 1970.
fn epoch() -> Result<u32, Error> {
    let text = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text,
        Err(_) => compile::output(std::process::Command::new("git").arg("-C").arg(workspace()).args([
            "log",
            "-1",
            "--format=%ct",
        ]))?,
    };
    let text = text.trim();
    text.parse().map_err(|_| Error::Epoch(text.to_owned()))
}
