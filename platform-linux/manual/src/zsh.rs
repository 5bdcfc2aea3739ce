//! The completion for zsh.

use crate::{
    bash::extension,
    help::{Flag, Help},
};

pub(crate) fn completion(help: &Help) -> String {
    let mut out = String::from(
        "#compdef wgautomesh\n\
         # Made by `cargo manual` from what --help prints.\n\n\
         _wgautomesh() {\n    local -a commands\n    commands=(\n",
    );
    for command in help.commands.iter().filter_map(|page| page.command) {
        out.push_str(&format!("        {}\n", quoted(&format!("{command}:{}", help.summary(command)))));
    }
    out.push_str("    )\n    if (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then\n");
    out.push_str("        _describe -t commands command commands\n        _files -g '*.toml'\n        return\n    fi\n");
    out.push_str("    local command=$words[2]\n    case $command in\n");
    for page in &help.commands {
        out.push_str(&format!(
            "    {})\n        shift words\n        (( CURRENT-- ))\n",
            page.command.unwrap_or_default()
        ));
        arguments(&mut out, page.flags().iter().chain(&help.common()), page.file());
        out.push_str("        ;;\n");
    }
    out.push_str("    *)\n");
    arguments(&mut out, &help.common(), Some("FILE"));
    out.push_str("        ;;\n    esac\n}\n\n_wgautomesh \"$@\"\n");
    out
}

fn arguments<'f>(out: &mut String, flags: impl IntoIterator<Item = &'f Flag>, file: Option<&str>) {
    out.push_str("        _arguments -s -S");
    for flag in flags {
        let value = match flag.value.as_deref() {
            Some("NAME") => ":interface:_net_interfaces",
            Some(_) => ":value:",
            None => "",
        };
        let all: Vec<&str> = flag.names().collect();
        for name in flag.names() {
            // `--option=value` and `--option value`, `-o value` and `-ovalue`.
            let joint = match (value.is_empty(), name.starts_with("--")) {
                (true, _) => "",
                (false, true) => "=",
                (false, false) => "+",
            };
            let spec = format!("({}){name}{joint}[{}]{value}", all.join(" "), bracketed(&flag.text));
            out.push_str(&format!(" \\\n            {}", quoted(&spec)));
        }
    }
    if let Some(file) = file {
        out.push_str(&format!(
            " \\\n            {}",
            quoted(&format!(":file:_files -g \"*.{}\"", extension(file)))
        ));
    }
    out.push('\n');
}

/// In brackets some characters mean something.
fn bracketed(text: &str) -> String {
    text.replace('[', "\\[").replace(']', "\\]").replace(':', "\\:")
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
