# Shared by the scripts beside this file that make networks of their own on this machine, in namespaces. Meant to be sourced
# by bash with `set -euo pipefail` in force; what is outside of the namespaces needs `lib.sh` too.
# shellcheck shell=bash
# What is set here is used by the scripts that source it.
# shellcheck disable=SC2034,SC2154

# --- outside --------------------------------------------------------------------------------------------------------

# Debian's packages, unpacked and not installed: the step `box` shows that it needs none of these tools, and miniupnpd is
# not to run on the machine itself.
network_packages=(miniupnpd-nftables nftables wireguard-tools iproute2 iputils-ping)

# Puts these tools into PATH, with their libraries.
use_network_tools() {
    local root libraries
    root=$cache/network-$(echo "${network_packages[@]}" | cksum | cut -d ' ' -f 1)
    if ! [ -d "$root" ]; then
        say "fetching ${network_packages[*]}"
        update_index
        mapfile -t libraries < <(libraries_of "${network_packages[@]}")
        rm -rf "$cache"/network-*
        fetch "$root.part" "${network_packages[@]}" "${libraries[@]}"
        mv "$root.part" "$root"
    fi
    PATH=$root/usr/sbin:$root/sbin:$root/usr/bin:$root/bin:$PATH
    libraries=("$root"/lib/*-linux-gnu "$root"/usr/lib/*-linux-gnu)
    LD_LIBRARY_PATH=$(IFS=:; echo "${libraries[*]}")
    export PATH LD_LIBRARY_PATH
}

# in_namespaces COMMAND...: becomes the command, with these tools in its PATH, as root of namespaces that end with it, and
# all that it started in them.
in_namespaces() {
    use_network_tools
    exec unshare --user --map-root-user --mount --net --pid --fork --kill-child -- "$@"
}

# --- inside ---------------------------------------------------------------------------------------------------------

# Everything is of this mount namespace: names of networks, sockets, files. All networks meet at a bridge.
make_internet() {
    mount -t tmpfs tmpfs /run
    mount -t proc proc /proc
    mkdir -p /run/netns /run/wireguard /run/lock
    ip link set lo up
    ip link add bridge type bridge
    ip link set bridge up
}

at() { nsenter "--net=/run/netns/$1" "${@:2}"; }

space() {
    # As `ip netns add` does, which wants to mount /sys too.
    touch "/run/netns/$1"
    unshare --net sh -c "mount --bind /proc/self/ns/net /run/netns/$1 && ip link set lo up"
}

# join SPACE ADDRESS: on the bridge.
join() {
    ip link add wan netns "$1" type veth peer name "$1"
    ip link set dev "$1" master bridge up
    at "$1" ip addr add "$2/24" dev wan
    at "$1" ip link set wan up
}

# The processes of the nodes, by name.
declare -A daemon=() tunnel=()

# start_node NODE ADDRESS PORT: WireGuard, with this address inside of the mesh, and the daemon over it. Its files are in
# $state: the key is NODE.key, the configuration NODE.toml, the daemon's log NODE.log.
start_node() {
    nsenter "--net=/run/netns/$1" wireguard-go --foreground "wg-$1" >"$state/$1.wireguard" 2>&1 &
    tunnel[$1]=$!
    until [ -S "/run/wireguard/wg-$1.sock" ]; do sleep 0.05; done
    at "$1" wg set "wg-$1" private-key "$state/$1.key" listen-port "$3"
    at "$1" ip addr add "$2/16" dev "wg-$1"
    at "$1" ip link set "wg-$1" up
    WGAUTOMESH_LOG=debug nsenter "--net=/run/netns/$1" "$wgautomesh" "$state/$1.toml" >"$state/$1.log" 2>&1 &
    daemon[$1]=$!
}

stop_node() {
    kill "${daemon[$1]}"
    wait "${daemon[$1]}" || die "$1 did not end well"
    kill "${tunnel[$1]}"
    wait "${tunnel[$1]}" || true
}

say() { printf '%s\n' "$*"; }

# what_nodes_say NODE...: what a failure of theirs may be seen from.
what_nodes_say() {
    local node
    for node; do
        printf -- '--- %s\n' "$node"
        at "$node" "$wgautomesh" status "$state/$node.toml" || true
        tail -n 15 "$state/$node.log" || true
    done
}

# soon SECONDS COMMAND...
soon() {
    local end=$((SECONDS + $1))
    until "${@:2}"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.1
    done
}
