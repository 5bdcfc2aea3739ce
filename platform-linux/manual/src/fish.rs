//! The completion for fish.

use crate::{
    bash::extension,
    help::{Flag, Help},
};

pub(crate) fn completion(help: &Help) -> String {
    let mut out =
        String::from("# Made by `cargo manual` from what --help prints.\n\ncomplete -c wgautomesh -f\n");
    for flag in &help.common() {
        option(&mut out, "", flag);
    }
    let none = " -n __fish_use_subcommand";
    for command in help.commands.iter().filter_map(|page| page.command) {
        out.push_str(&format!(
            "complete -c wgautomesh{none} -a {command} -d {}\n",
            quoted(help.summary(command))
        ));
    }
    files(&mut out, none, "FILE");
    for page in &help.commands {
        let condition = format!(" -n '__fish_seen_subcommand_from {}'", page.command.unwrap_or_default());
        for flag in &page.flags() {
            option(&mut out, &condition, flag);
        }
        if let Some(file) = page.file() {
            files(&mut out, &condition, file);
        }
    }
    out
}

fn option(out: &mut String, condition: &str, flag: &Flag) {
    out.push_str(&format!("complete -c wgautomesh{condition}"));
    if let Some(short) = &flag.short {
        out.push_str(&format!(" -s {}", short.trim_start_matches('-')));
    }
    out.push_str(&format!(" -l {}", flag.long.trim_start_matches('-')));
    match flag.value.as_deref() {
        Some("NAME") => out.push_str(" -x -a '(__fish_print_interfaces)'"),
        Some(_) => out.push_str(" -x"),
        None => {}
    }
    out.push_str(&format!(" -d {}\n", quoted(&flag.text)));
}

fn files(out: &mut String, condition: &str, file: &str) {
    let extension = extension(file);
    out.push_str(&format!(
        "complete -c wgautomesh{condition} -k -a '(__fish_complete_suffix .{extension})'\n"
    ));
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
