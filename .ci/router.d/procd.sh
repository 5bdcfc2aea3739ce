# shellcheck shell=dash
# What OpenWrt's procd does with what the init script asks it for: runs it, by `supervise`. Sourced after the recording stubs
# of the package's tests, of which it replaces these.

INSTANCES=/tmp/instances
LOG=/tmp/log
mkdir -p "$INSTANCES"

procd_open_instance() {
	record procd_open_instance "$@"
	instance=$1
	instance_command=
	instance_env=
}

# No word has a space in it.
procd_set_param() {
	record procd_set_param "$@"
	case "$1" in
	command)
		shift
		instance_command=$*
		;;
	env)
		shift
		instance_env=$*
		;;
	respawn) instance_respawn=$3 ;;
	esac
}

procd_close_instance() {
	record procd_close_instance "$@"
	# shellcheck disable=SC2086
	env $instance_env /supervise "$instance_respawn" $instance_command >>"$LOG" 2>&1 &
	echo $! >"$INSTANCES/$instance"
}

logger() {
	# The message, or the lines of the standard input.
	while getopts st:p: _ "$@"; do :; done
	shift $((OPTIND - 1))
	OPTIND=1
	if [ $# -gt 0 ]; then echo "$*"; else cat; fi >>"$LOG"
}

# service ACTION: as /etc/init.d/wgautomesh ACTION.
service() {
	local pid
	case "$1" in
	# What runs is started anew when its configuration is another, as here always.
	stop | restart | reload)
		for pid in "$INSTANCES"/*; do
			[ -f "$pid" ] || continue
			kill "$(cat "$pid")"
			wait "$(cat "$pid")"
			rm "$pid"
		done
		;;
	esac
	[ "$1" = stop ] || rc start
	[ "$1" != stop ] || rc stop
}
