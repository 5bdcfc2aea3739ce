//! What a file means, the mistakes in it, and that whatever is written reads back.

use super::*;
use crate::mutate;
use proptest::prelude::*;
use wgautomesh::config::Report;

fn read(text: &str) -> Result<Package<'_>, Vec<String>> {
    let mut report = Report::new("f");
    let package = parse(text, 0, &mut report);
    match package {
        Some(package) if report.findings().is_empty() => Ok(package),
        _ => Err(report.lines().collect()),
    }
}

/// The sections of a file in a few words: `type name: option=value list=[value, value]`.
fn gist(text: &str) -> Vec<String> {
    let package = read(text).unwrap_or_else(|report| panic!("{text:?}: {report:?}"));
    let section = |section: &Section<'_>| {
        let mut out = format!("{} {}:", &*section.kind, section.name.as_deref().unwrap_or("-"));
        for setting in &section.settings {
            let values: Vec<&str> = setting.values.iter().map(|value| &*value.value).collect();
            let values = if setting.list { format!("{values:?}") } else { values[0].to_string() };
            out += &format!(" {}={values}", &*setting.name);
        }
        out
    };
    package.sections.iter().map(section).collect()
}

#[test]
fn every_spelling_means_the_same() {
    for text in [
        // `uci export`, and a file that `uci commit` or LuCI wrote.
        "package p\n\nconfig mesh 'home'\n\toption interface 'wg0'\n\tlist lan 'a b'\n\tlist lan 'c'\n\n",
        "\nconfig mesh 'home'\n\toption interface 'wg0'\n\tlist lan 'a b'\n\tlist lan 'c'\n",
        // Old releases.
        "config 'mesh' 'home'\n\toption 'interface' 'wg0'\n\tlist 'lan' 'a b'\n\tlist 'lan' 'c'\n",
        // By hand.
        "config mesh home\noption interface wg0\nlist lan \"a b\"\nlist lan c",
        "c mesh home\r\no interface wg0\r\nl lan 'a b'\r\nl lan c\r\n",
        "config mesh home; option interface wg0; list lan 'a b'; list lan c;",
        "config mesh 'home';option interface 'wg0';list lan 'a b';list lan 'c'#",
        "config mesh ho\\\nme\noption inter\\\r\nface \\\n  wg0\nlist lan a\\ b\nlist lan \"\\\nc\"\n",
        "# x\n  config\tmesh\thome # home\n #\n\noption interface w'g'\"0\"#0\nlist lan 'a'' b'\nlist lan \\c\n",
    ] {
        assert_eq!(gist(text), ["mesh home: interface=wg0 lan=[\"a b\", \"c\"]"], "{text:?}");
    }
}

#[test]
fn words_are_put_together_from_pieces() {
    for (word, value) in [
        (r"it\'s", "it's"),
        (r"'it'\''s'", "it's"),
        (r#""it's""#, "it's"),
        (r#"'"'"#, "\""),
        (r#""\"\\\n""#, "\"\\n"),
        (r"'\n'", "\\n"),
        ("'a#b;c'", "a#b;c"),
        ("\"a#b;c\"", "a#b;c"),
        ("a=b", "a=b"),
        ("'a\n\tb'", "a\n\tb"),
        ("\"a\r\nb\"", "a\r\nb"),
        ("\"a\\\nb\"", "ab"),
        ("ä'ö'", "äö"),
        ("'a\noption x'", "a\noption x"),
        ("a\\", "a"),
    ] {
        let text = format!("config t\noption o {word}");
        let package = read(&text).unwrap_or_else(|report| panic!("{word}: {report:?}"));
        assert_eq!(&*package.sections[0].settings[0].values[0].value, value, "{word}");
    }
    // What stands in the file in one piece is not copied.
    for word in ["plain", "'in quotes'", "\"in quotes\""] {
        let text = format!("config t\noption o {word}");
        let value = read(&text).ok().and_then(|mut p| p.sections.pop()?.settings.pop()?.values.pop());
        assert!(matches!(value, Some(Located { value: Text::Plain(_), .. })), "{word}");
    }
}

#[test]
fn options_and_lists_do_what_they_do_in_libuci() {
    for (text, expected) in [
        ("config t\nconfig t\n", &["t -:", "t -:"][..]),
        ("config t ''\n", &["t -:"]),
        ("config t-1.x n_1\n", &["t-1.x n_1:"]),
        ("config t\noption a ''\noption b\nlist c ''\n", &["t -: c=[\"\"]"]),
        ("config t\noption a 1\noption a ''\n", &["t -:"]),
        ("config t\noption a 1\nlist a 2\n", &["t -: a=[\"1\", \"2\"]"]),
        ("", &[]),
        ("package a-b_1\n", &[]),
    ] {
        assert_eq!(gist(text), expected, "{text:?}");
    }
    for (text, sections, warning) in [
        (
            "config t n\noption a 1\nconfig u\nconfig t n\noption b 2\n",
            2,
            "f:4:1: warning: n: continues the section of this name at line 1; fix: put both together, or give this one \
             a name of its own",
        ),
        (
            "config t\nlist a 1\noption a 2\n",
            1,
            "f:3:8: warning: a: replaces what is at line 2 of the same section; fix: remove one of the two",
        ),
    ] {
        let mut report = Report::new("f");
        let package = parse(text, 0, &mut report).unwrap();
        assert_eq!(package.sections.len(), sections);
        assert_eq!(report.lines().collect::<Vec<_>>(), [warning]);
    }
    let mut report = Report::new("f");
    let package =
        parse("config t n\noption a 1\nconfig u\nconfig t n\noption b 2\n", 0, &mut report).unwrap();
    let continued = package.sections.last().unwrap();
    assert_eq!((&*continued.kind, continued.settings.len(), continued.at.line), ("t", 2, 1));
}

#[test]
fn a_mistake_is_told_with_its_place_and_remedy() {
    for (text, expected) in [
        ("confg mesh home\n", "1:1: error: not UCI: \"confg\" is no command; fix: did you mean config?"),
        ("interface = \"wg0\"\n", "1:1: error: not UCI: this is no command; fix: write option NAME 'VALUE'"),
        (
            "[[peers]]\n",
            "1:1: error: not UCI: this is no command; fix: write config mesh 'home' or config peer",
        ),
        (
            "config t\n  {\n",
            "2:3: error: not UCI: this is no command; fix: begin each line with config, option or list, and a comment \
             with #",
        ),
        (
            "config\n",
            "1:1: error: not UCI: config without a type; fix: write config mesh 'home' or config peer",
        ),
        ("package\n", "1:1: error: not UCI: package without a name; fix: remove the line"),
        (
            "config t\noption\n",
            "2:1: error: not UCI: there is no name after this; fix: write option NAME 'VALUE', or list NAME 'VALUE'",
        ),
        (
            "option a b\n",
            "1:1: error: not UCI: this is in no section; fix: write config mesh 'home' above it",
        ),
        (
            "config t\noption a b c\n",
            "2:12: error: not UCI: this is one word too many for option; fix: put a value with spaces into quotes, and \
             a # before a comment",
        ),
        (
            "config t n // x\n",
            "1:12: error: not UCI: this is one word too many for config; fix: put a # before a comment",
        ),
        (
            "package a b\n",
            "1:11: error: not UCI: this is one word too many for package; fix: put a # before a comment",
        ),
        (
            "config t\noption gossip-port 1\n",
            "2:8: error: not UCI: a name cannot hold '-'; fix: write gossip_port",
        ),
        ("config t n.1\n", "1:10: error: not UCI: a name cannot hold '.'; fix: use letters, digits and _"),
        ("package ä\n", "1:9: error: not UCI: a name cannot hold 'ä'; fix: use letters, digits and _"),
        (
            "config 't x'\n",
            "1:8: error: not UCI: the type of a section cannot hold ' '; fix: use letters, digits and _",
        ),
        (
            "config t n\nconfig u n\n",
            "2:10: error: not UCI: \"n\" is a config u here, and a config t at line 1; fix: give each section a name of \
             its own",
        ),
        (
            "config t\noption a ‘b’\n",
            "2:10: error: not UCI: this quote is a typographic one; fix: use plain quotes (')",
        ),
        (
            "config t\noption a 'b\n",
            "2:10: error: not UCI: the quote that begins here is not closed before the end of the file; fix: close it \
             at the end of the value",
        ),
        (
            "config t\noption a \"b\\\"\n\n",
            "2:10: error: not UCI: the quote that begins here is not closed before the end of the file; fix: close it \
             at the end of the value",
        ),
        (
            "config t\noption a 'b\noption c 'd'\n\noption e 'f'\n",
            "2:10: error: not UCI: the quote that begins here is not closed on this line; fix: close it at the end of \
             the value",
        ),
        (
            "config t\noption a b\0\n",
            "2:11: error: not UCI: there is a NUL, which no text holds; fix: remove it",
        ),
    ] {
        let report = read(text).err().unwrap_or_else(|| panic!("{text:?} is taken"));
        assert_eq!(report, [format!("f:{expected}")], "{text:?}");
    }
    // All of them, up to a number.
    assert_eq!(read("confg\noption a b\nconfig t\noptoin a b\n").err().unwrap().len(), 3);
    assert_eq!(read(&"x\n".repeat(100)).err().unwrap().len(), 20);
}

/// A word in one of the spellings there are.
fn spelled(value: &str, spelling: u8) -> String {
    let escape = |escaped: &[char]| {
        let mut out = String::new();
        for c in value.chars() {
            if escaped.contains(&c)
                || (escaped.len() > 2 && !c.is_ascii_alphanumeric() && c != '\n' && c != '\r')
            {
                out.push('\\');
            }
            out.push(c);
        }
        out
    };
    match spelling {
        0 => quoted(value),
        1 => format!("\"{}\"", escape(&['"', '\\'])),
        // Without quotes a line end can only be written within some.
        _ => escape(&['"', '\\', '\'']).replace('\r', "'\r'").replace('\n', "'\n'"),
    }
}

proptest! {
    #![proptest_config(mutate::settings(10_000))]

    /// A value reads back as it was, written as `uci export` does, in double quotes, and without any.
    #[test]
    fn what_is_written_reads_back(values in prop::collection::vec(("[^\\x00]{0,12}|[a'\"\\\\#; \\n\\r\\t]{0,12}", 0..3_u8), 1..5)) {
        // An empty word without quotes is none.
        let written = |(value, spelling): &(String, u8)| {
            let spelling = if value.is_empty() { spelling % 2 } else { *spelling };
            format!("\tlist l {}\n", spelled(value, spelling))
        };
        let text = format!("config t\n{}", values.iter().map(written).collect::<String>());
        let package = read(&text);
        prop_assert!(package.is_ok(), "{:?}: {:?}", text, package.err());
        let package = package.unwrap_or_default();
        let read: Vec<&str> = package.sections[0].settings[0].values.iter().map(|value| &*value.value).collect();
        let wanted: Vec<&str> = values.iter().map(|(value, _)| &**value).collect();
        prop_assert_eq!(read, wanted);
    }

    /// Whatever is read, written again as `uci export` does, means the same.
    #[test]
    fn what_is_read_can_be_written_again(text in "(config t( n)?|option a|list a|option|['\"\\\\#; \\n\\ra-c]){0,40}") {
        crate::config::fuzzing::check_syntax(text.as_bytes());
    }
}
