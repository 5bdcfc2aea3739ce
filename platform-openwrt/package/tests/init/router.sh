# shellcheck shell=dash
# A router for the init script and rpcd's plugin: OpenWrt's functions as far as those use them, and what the scripts ask of
# procd is written down, one line a call, in $ROOT/calls. Meant to be sourced by busybox ash; ROOT is where the router's
# files are.

record() {
	local word line="$1"
	shift
	for word in "$@"; do line="$line '$word'"; done
	printf '%s\n' "$line" >>"$ROOT/calls"
}

# --- procd's and jshn's -------------------------------------------------------------------------------------------------

for function in procd_open_instance procd_close_instance procd_set_param procd_append_param procd_open_data \
	procd_close_data procd_add_jail procd_add_jail_mount procd_add_jail_mount_rw procd_add_reload_trigger \
	procd_add_validation procd_set_config_changed json_add_object json_close_object json_add_array json_close_array \
	json_add_string; do
	eval "$function() { record $function \"\$@\"; }"
done

logger() {
	local line
	# The message, or the lines of the standard input.
	while getopts st:p: _ "$@"; do :; done
	shift $((OPTIND - 1))
	OPTIND=1
	if [ $# -gt 0 ]; then
		record logger "$*"
	else
		while read -r line; do record logger "$line"; done
	fi
}

# --- UCI: its files are commands of a shell -----------------------------------------------------------------------------

# uci_read FILE: the sections' names in $sections, options in $SECTION__OPTION, those of a type in $SECTION__TYPE.
uci_read() {
	sections=
	# shellcheck source=/dev/null
	. "$ROOT/etc/config/$1"
}

config() {
	anonymous=$((${anonymous:-0} + 1))
	section=${2:-cfg$anonymous}
	sections="$sections $section"
	eval "${section}__TYPE=\$1"
}

option() { eval "${section}__$1=\$2"; }

list() { eval "${section}__$1=\"\${${section}__$1:+\$${section}__$1 }\$2\""; }

config_load() { uci_read "$1"; }

config_foreach() {
	local function="$1" type="$2" each
	shift 2
	for each in $sections; do
		eval "[ \"\$${each}__TYPE\" = $type ]" || continue
		"$function" "$each" "$@"
	done
}

config_get_bool() {
	# By a name that no caller has for its own.
	local _switch
	eval "_switch=\${$2__$3:-$4}"
	case "$_switch" in
	1 | on | true | yes | enabled) _switch=1 ;;
	*) _switch=0 ;;
	esac
	eval "$1=$_switch"
}

uci_get() (
	uci_read "$1"
	eval "printf '%s' \"\$$2__$3\""
)

# is_of KIND VALUE: as libvalidate, for the kinds that are in use.
is_of() {
	case "$1" in
	bool) case "$2" in 0 | off | false | no | disabled | 1 | on | true | yes | enabled) ;; *) return 1 ;; esac ;;
	maxlength*) [ "${#2}" -le "$(expr "$1" : 'maxlength(\(.*\))')" ] ;;
	range*)
		case "$2" in '' | *[!0-9]*) return 1 ;; esac
		[ "$2" -ge "$(expr "$1" : 'range(\(.*\),')" ] && [ "$2" -le "$(expr "$1" : 'range.*,\(.*\))')" ]
		;;
	string | 'list(string)') ;;
	*)
		record unknown kind "$1"
		return 1
		;;
	esac
}

uci_load_validate() {
	local package="$1" type="$2" name="$3" function="$4" invalid=0 spec key kind value
	shift 4
	for spec in "$@"; do
		local "${spec%%:*}="
		key=${spec%%:*}
		kind=${spec#*:}
		case "$kind" in *:*) value=${kind#*:} ;; *) value= ;; esac
		kind=${kind%%:*}
		eval "value=\${${name}__$key:-\$value}"
		[ -n "$value" ] || continue
		if is_of "$kind" "$value"; then
			[ "$kind" != bool ] || config_get_bool value "$name" "$key" "$value"
			eval "$key=\$value"
		else
			invalid=$((invalid + 1))
		fi
	done
	[ "$package $type" = 'wgautomesh mesh' ] || record unknown section "$package" "$type"
	"$function" "$name" "$invalid"
}

# --- rc.common ----------------------------------------------------------------------------------------------------------

rc() {
	local action="$1"
	# shellcheck source=/dev/null
	. "$ROOT/etc/init.d/wgautomesh"
	[ "$USE_PROCD" = 1 ] || record 'without procd'
	case "$action" in
	start | reload)
		start_service
		service_triggers
		service_started
		;;
	stop) stop_service ;;
	esac
}
