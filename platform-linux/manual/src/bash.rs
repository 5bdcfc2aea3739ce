//! The completion for bash.

use crate::help::{Flag, Help};

const FUNCTIONS: &str = r#"# bash completion for wgautomesh. Made by `cargo manual` from what --help prints.

_wgautomesh_files() {
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(
        compgen -d -- "$2"
        compgen -f -X "!*.$1" -- "$2"
    )
}

_wgautomesh_interfaces() {
    local path
    for path in /sys/class/net/*; do
        printf '%s\n' "${path##*/}"
    done
}

_wgautomesh() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command= options= files=
    # "--option=value" comes in three words.
    if [[ $current == = ]]; then
        current=
    elif [[ $previous == = ]]; then
        previous=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    [ "$COMP_CWORD" -gt 1 ] && command=${COMP_WORDS[1]}
    case $command in
"#;

const END: &str = r#"    esac
    if [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
        return
    fi
    [ -n "$files" ] && _wgautomesh_files "$files" "$current"
    if [ "$COMP_CWORD" -eq 1 ]; then
        mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -W "$commands" -- "$current")
    fi
}

complete -F _wgautomesh wgautomesh
"#;

pub(crate) fn completion(help: &Help) -> String {
    let mut out = FUNCTIONS.to_owned();
    for page in &help.commands {
        let flags = page.flags();
        out.push_str(&format!("    {})\n", page.command.unwrap_or_default()));
        out.push_str(&format!("        options=\"{}\"\n", names(flags.iter().chain(&help.common()))));
        if let Some(file) = page.file() {
            out.push_str(&format!("        files={}\n", extension(file)));
        }
        for flag in flags.iter().filter(|flag| flag.value.is_some()) {
            let names: Vec<&str> = flag.names().collect();
            let values = match flag.value.as_deref() {
                Some("NAME") => "$(_wgautomesh_interfaces)",
                _ => "",
            };
            out.push_str(&format!(
                "        case $previous in {})\n            mapfile -t COMPREPLY < <(compgen -W \"{values}\" -- \"$current\")\n            return\n            ;;\n        esac\n",
                names.join(" | ")
            ));
        }
        out.push_str("        ;;\n");
    }
    let commands: Vec<&str> = help.commands.iter().filter_map(|page| page.command).collect();
    out.push_str(&format!(
        "    *)\n        options=\"{}\"\n        files=toml\n        local commands=\"{}\"\n        ;;\n",
        names(&help.common()),
        commands.join(" ")
    ));
    out + END
}

fn names<'f>(flags: impl IntoIterator<Item = &'f Flag>) -> String {
    let names: Vec<&str> = flags.into_iter().flat_map(Flag::names).collect();
    names.join(" ")
}

/// What a file is called that a command takes: `FILE.conf`, or one of ours.
pub(crate) fn extension(file: &str) -> &str {
    file.split_once('.').map_or("toml", |(_, extension)| extension)
}
