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

# Where the packer builds.
openwrt_target=${CARGO_TARGET_DIR:-$PWD/target}/openwrt-build

# `cargo openwrt-package`, which knows the flags for each machine, with the tools of `.ci/install`. Nothing else is set that
# the linker's path depends on: cargo would build everything again for those who call the packer themselves.
openwrt_package() {
    env CARGO_ZIGBUILD="$tools/bin/cargo-zigbuild" CARGO_ZIGBUILD_ZIG_PATH="$tools/ziglang/zig" cargo openwrt-package "$@"
}

# smoke COMMAND...: runs the smoke test that this command is.
smoke() {
    expect 0 "$@"
    # 134: the shell's word for SIGABRT. A crash in the unwinder would show as 139. No dump is wanted of that.
    (ulimit -c 0 && expect 134 "$@" panic)
}

# How apt-get and apt-cache are called.
apt_options=(-qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o APT::Sandbox::User=root)

# An index that cannot be refreshed does not matter as long as the packages can still be had.
update_index() { apt-get "${apt_options[@]}" update || say "apt-get update failed; trying with the index at hand"; }

# fetch DIRECTORY PACKAGE...: fetches Debian packages of these names and unpacks them there, without installing them.
fetch() {
    local packages
    packages=$(mktemp -d)
    (cd "$packages" && apt-get "${apt_options[@]}" download "${@:2}" >&2) || die "apt-get could not download ${*:2}"
    mkdir -p "$1"
    for file in "$packages"/*.deb; do dpkg -x "$file" "$1"; done
    rm -rf "$packages"
}

# libraries_of PACKAGE...: the packages of the libraries that these want, but for the C library, which is the one that
# our own programs are linked with.
libraries_of() {
    apt-cache "${apt_options[@]}" depends --recurse --no-pre-depends --no-recommends --no-suggests --no-conflicts --no-breaks \
        --no-replaces --no-enhances "$@" | grep '^lib' | grep -v '^libc6'
}

# copy_modules ROOT TO MODULE...: from a kernel's package that is unpacked in ROOT copies these modules and those that they
# want, numbered in the order in which they have to be loaded, and prints the kernel's version.
copy_modules() {
    local root=$1 to=$2 versions version number=0 path file module
    shift 2
    # From Debian 13 on everything sits below usr.
    mapfile -t versions < <(cd "$root" && ls -d lib/modules/* usr/lib/modules/* 2>/dev/null)
    [ "${#versions[@]}" -eq 1 ] || die "no modules in $root"
    version=$(basename "${versions[0]}")
    [ -d "$root/lib/modules" ] || ln -s ../usr/lib/modules "$root/lib/modules"
    local PATH=$PATH:/usr/sbin:/sbin
    depmod --basedir "$root" "$version"
    while read -r path; do
        number=$((number + 1))
        file=$(printf '%s/%02d-%s' "$to" "$number" "$(basename "$path" .xz)")
        case $path in
            *.xz) xz --decompress --stdout "$path" >"$file" ;;
            *) cp "$path" "$file" ;;
        esac
    done < <(modprobe --dirname "$root" --set-version "$version" --show-depends --all "$@" |
        awk '$1 == "insmod" && !seen[$2]++ { print $2 }')
    for module in "$@"; do
        ls "$to"/*-"$module".ko >/dev/null || die "no module $module in $root"
    done
    echo "$version"
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
