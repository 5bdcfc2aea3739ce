# Shared by the scripts beside this file: where things are cached, which compilers are used, and how a step is shown.
# Meant to be sourced by bash with `set -euo pipefail` in force and the repository's root as working directory.
# shellcheck shell=bash
# What is set here is used by the scripts that source it.
# shellcheck disable=SC2034

# Everything that outlives one run sits here, outside the clone, so that a fresh clone starts with warm caches.
cache=${WGAUTOMESH_CI_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/wgautomesh-ci}

# A fresh clone (CI) builds into the cache, so that dependencies are not built again for each; a developer's own clone
# keeps to its own target directory. The scripts add a suffix to this for each kind of build that wants its own.
if [ "${CI:-}" = true ]; then
    target=$cache/target
    # One run at a time in there; what a run starts is part of it.
    if [ -z "${WGAUTOMESH_CI_LOCKED:-}" ]; then
        mkdir -p "$cache"
        exec 9>"$cache/lock"
        flock --nonblock 9 || {
            printf 'another run is using %s; waiting for it\n' "$cache"
            flock 9
        }
        export WGAUTOMESH_CI_LOCKED=1
    fi
else
    target=$PWD/target/ci
fi

# PyPI carries both as wheels. Pinned: zig's command line and libc stubs change between releases.
zig_version=0.17.1
zigbuild_version=0.24.0
# Decodes the firmware's log. From the Rust registry; its version has to know the format of the defmt that is linked.
defmt_print_version=1.2.0
# Runs the fuzz targets.
cargo_fuzz_version=0.13.2
# Makes the package for Debian.
cargo_deb_version=3.8.0
# Its sources are on PyPI. It reads the packages of apk-tools, which is in no registry at hand, and shares no code with that.
solv_version=0.7.39.post1
tools=$cache/tools/zig-$zig_version-zigbuild-$zigbuild_version

# The second compiler. It comes with the sources of the standard library and their vendored dependencies, which is
# what `-Z build-std` needs for targets whose precompiled library is not at hand.
debian_rustc=/usr/bin/rustc
debian_cargo=/usr/bin/cargo

# Runs its arguments (a cargo sub-command) under the Debian compiler, unstable options allowed, free of a rustup proxy.
debian_cargo() {
    env PATH="$tools/bin:/usr/local/bin:/usr/bin:/bin" RUSTC_BOOTSTRAP=1 RUSTC="$debian_rustc" CARGO="$debian_cargo" \
        RUSTUP_TOOLCHAIN= "$debian_cargo" "$@"
}

# Debian's clippy. Not by way of cargo, which would prefer rustup's.
debian_clippy() {
    env PATH="$tools/bin:/usr/local/bin:/usr/bin:/bin" RUSTC_BOOTSTRAP=1 RUSTC="$debian_rustc" CARGO="$debian_cargo" \
        RUSTUP_TOOLCHAIN= /usr/bin/cargo-clippy clippy "$@"
}

# The same through cargo-zigbuild, for targets that need a C library and a linker.
debian_zigbuild() {
    env PATH="$tools/bin:/usr/local/bin:/usr/bin:/bin" RUSTC_BOOTSTRAP=1 RUSTC="$debian_rustc" CARGO="$debian_cargo" \
        CARGO_ZIGBUILD_ZIG_PATH="$tools/ziglang/zig" CARGO_ZIGBUILD_CACHE_DIR="$cache/zigbuild" \
        ZIG_GLOBAL_CACHE_DIR="$cache/zig" RUSTUP_TOOLCHAIN= "$tools/bin/cargo-zigbuild" zigbuild "$@"
}

# The name that compilers have for one of Debian's architectures.
server_triple() {
    case $1 in
        amd64) echo x86_64-unknown-linux-musl ;;
        arm64) echo aarch64-unknown-linux-musl ;;
        armhf) echo armv7-unknown-linux-musleabihf ;;
        *) die "no server of the architecture $1 is known" ;;
    esac
}

# Builds the daemon for servers, as $target-cross/TRIPLE/dist/wgautomesh, and what else is asked for.
build_server() {
    # Debian's rustc brings no start files for these; zig does. Tables for unwinding are of no use to a program that aborts
    # on a panic, and are a tenth of it.
    RUSTFLAGS="-C force-unwind-tables=no -C link-self-contained=no" debian_zigbuild --quiet --locked --package wgautomesh \
        --bin wgautomesh --profile dist --target "$1" --target-dir "$target-cross" \
        -Z build-std=std,panic_abort -Z build-std-features=optimize_for_size "${@:2}"
}

say() { printf '%s\n' "$*"; }

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# expect CODE COMMAND...: runs the command and fails unless it exits with exactly CODE.
expect() {
    local want=$1 got=0
    shift
    "$@" || got=$?
    [ "$got" -eq "$want" ] || die "exit code $got instead of $want: $*"
}

# within LIMIT VALUE WHAT: prints a measured figure and fails when it is over its budget.
within() {
    say "$3: $2 (budget $1)"
    [ "$2" -le "$1" ] || die "$3 is over its budget: $2 > $1"
}
