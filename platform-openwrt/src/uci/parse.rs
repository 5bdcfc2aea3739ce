//! From text to sections.

use super::{Package, Section, Setting, Text};
use wgautomesh::config::{Fault, Lines, Located, Position, Report, nearest, quoted};
use zeroize::Zeroizing;

/// The most mistakes that are reported: a file that is not UCI at all has one on each line.
const MOST_MISTAKES: usize = 20;

const COMMANDS: [&str; 4] = ["config", "option", "list", "package"];

/// Parses the text of a file, which is the source of this number in `report`. `None` where it is not UCI, which `report`
/// says then; what is allowed and hardly meant is a warning.
pub fn parse<'t>(text: &'t str, source: u8, report: &mut Report) -> Option<Package<'t>> {
    let mut parser = Parser {
        text,
        lines: Lines::new(text),
        source,
        pos: 0,
        open: None,
        mistakes: Vec::new(),
        warnings: Vec::new(),
        package: Package::default(),
    };
    while parser.mistakes.len() < MOST_MISTAKES && parser.begins_command() {
        if let Err(mistake) = parser.command() {
            parser.mistakes.push(mistake);
            parser.skip_line();
        }
    }
    let Parser { open, mistakes, warnings, package, .. } = parser;
    // A quote that is missing is noticed where the next one is, or the last; and what is said in between is wrong.
    let mistakes = match open {
        Some(at) if mistakes.iter().any(|mistake| mistake.at >= at) => {
            let what = "the quote that begins here is not closed on this line";
            let mut mistakes = mistakes;
            mistakes.retain(|mistake| mistake.at < at);
            mistakes.push(Mistake { at, fault: Fault::new(what, "close it at the end of the value") });
            mistakes
        }
        _ => mistakes,
    };
    if mistakes.is_empty() {
        for Warning { at, name, fault } in warnings {
            report.warn(at, &name, fault);
        }
        return Some(package);
    }
    for Mistake { at, fault: Fault { what, fix } } in mistakes {
        report.error(at, "", Fault::new(format!("not UCI: {what}"), fix));
    }
    None
}

/// Something that is not UCI.
struct Mistake {
    at: Position,
    fault: Fault,
}

/// Something that is UCI, and most likely not what was meant.
struct Warning {
    at: Position,
    name: String,
    fault: Fault,
}

struct Parser<'t> {
    text: &'t str,
    lines: Lines<'t>,
    source: u8,
    /// Up to where it is read; always at the begin of a character.
    pos: usize,
    /// The first quote that was not closed on its line while the next line looks like a command.
    open: Option<Position>,
    mistakes: Vec<Mistake>,
    warnings: Vec<Warning>,
    package: Package<'t>,
}

/// A word and its place.
type Word<'t> = Located<Text<'t>>;

/// C's `isspace`.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\u{b}' | '\u{c}' | '\r')
}

impl<'t> Parser<'t> {
    /// Skips what lies between commands. Whether another one begins.
    fn begins_command(&mut self) -> bool {
        loop {
            match self.peek() {
                None => return false,
                Some('#') => self.skip_line(),
                Some(c) if is_space(c) || c == ';' => self.bump(c),
                Some(_) if self.skip_line_end_after_backslash() => {}
                Some(_) => return true,
            }
        }
    }

    fn command(&mut self) -> Result<(), Mistake> {
        let at = self.at(self.pos);
        let rest = self.rest();
        let word = rest.split(is_space).next().unwrap_or(rest);
        let command = match word {
            "p" => "package",
            "c" => "config",
            "o" => "option",
            "l" => "list",
            word => {
                COMMANDS.into_iter().find(|known| word == *known).ok_or_else(|| self.no_command(at, word))?
            }
        };
        self.pos += word.len();
        let mut words = self.words()?.into_iter();
        let (first, second, third) = (words.next(), words.next(), words.next());
        // The rest of the words of a `package` is one fewer.
        let too_many = if command == "package" { second.as_ref() } else { third.as_ref() };
        if let Some(Located { at, .. }) = too_many {
            let what = format!("this is one word too many for {command}");
            let fix = match command {
                "option" | "list" => "put a value with spaces into quotes, and a # before a comment",
                _ => "put a # before a comment",
            };
            return Err(Mistake { at: *at, fault: Fault::new(what, fix) });
        }
        let Some(first) = first.filter(|first| !first.value.is_empty()) else {
            let (what, fix) = match command {
                "package" => ("package without a name", "remove the line"),
                "config" => ("config without a type", "write config mesh 'home' or config peer"),
                _ => ("there is no name after this", "write option NAME 'VALUE', or list NAME 'VALUE'"),
            };
            return Err(Mistake { at, fault: Fault::new(what, fix) });
        };
        match command {
            "package" => {
                self.check_name(&first, true)?;
                self.package.name = Some(first);
                Ok(())
            }
            "config" => self.section(at, first, second),
            _ => self.setting(at, command == "list", first, second),
        }
    }

    fn no_command(&self, at: Position, word: &str) -> Mistake {
        let line = self.lines.line(at.line);
        // Anything but a slip of the fingers may be a piece of a secret.
        let (what, fix) = match nearest(word, COMMANDS) {
            Some(known) => (format!("{} is no command", quoted(word)), format!("did you mean {known}?")),
            None => {
                let fix = if word.starts_with('[') {
                    "write config mesh 'home' or config peer"
                } else if line.contains('=') {
                    "write option NAME 'VALUE'"
                } else {
                    "begin each line with config, option or list, and a comment with #"
                };
                ("this is no command".into(), fix.into())
            }
        };
        Mistake { at, fault: Fault::new(what, fix) }
    }

    fn section(&mut self, at: Position, kind: Word<'t>, name: Option<Word<'t>>) -> Result<(), Mistake> {
        if let Some(c) = kind.value.chars().find(|c| !c.is_ascii_graphic()) {
            let what = format!("the type of a section cannot hold {c:?}");
            return Err(Mistake { at: kind.at, fault: Fault::new(what, "use letters, digits and _") });
        }
        let name = name.filter(|name| !name.value.is_empty());
        if let Some(name) = &name {
            self.check_name(name, false)?;
            let same = |section: &Section<'_>| section.name.as_deref() == Some(&*name.value);
            if let Some(index) = self.package.sections.iter().position(same) {
                let section = self.package.sections.remove(index);
                if *section.kind != *kind.value {
                    let what = format!(
                        "{} is a config {} here, and a config {} at line {}",
                        quoted(&name.value),
                        &*kind.value,
                        &*section.kind,
                        section.at.line
                    );
                    self.package.sections.insert(index, section);
                    let fix = "give each section a name of its own";
                    return Err(Mistake { at: name.at, fault: Fault::new(what, fix) });
                }
                let what = format!("continues the section of this name at line {}", section.at.line);
                let fix = "put both together, or give this one a name of its own";
                let name = name.value.to_string();
                self.warnings.push(Warning { at, name, fault: Fault::new(what, fix) });
                // What follows belongs to the last section.
                self.package.sections.push(section);
                return Ok(());
            }
        }
        let name = name.map(|name| name.value);
        self.package.sections.push(Section { kind: kind.value, name, at, settings: Vec::new() });
        Ok(())
    }

    fn setting(
        &mut self,
        at: Position,
        list: bool,
        name: Word<'t>,
        value: Option<Word<'t>>,
    ) -> Result<(), Mistake> {
        self.check_name(&name, false)?;
        let Some(section) = self.package.sections.last_mut() else {
            let what = "this is in no section";
            return Err(Mistake { at, fault: Fault::new(what, "write config mesh 'home' above it") });
        };
        let value = value.unwrap_or(Located { value: Text::Plain(""), at: name.at });
        let settings = &mut section.settings;
        let before = settings.iter().position(|setting| *setting.name == *name.value);
        let Located { value: name, at } = name;
        match before {
            Some(index) if list => {
                let setting = &mut settings[index];
                setting.list = true;
                setting.values.push(value);
            }
            Some(index) if value.value.is_empty() => drop(settings.remove(index)),
            Some(index) => {
                let first = settings[index].at.line;
                let what = format!("replaces what is at line {first} of the same section");
                let fault = Fault::new(what, "remove one of the two");
                self.warnings.push(Warning { at, name: name.to_string(), fault });
                settings[index] = Setting { name, at, list, values: vec![value] };
            }
            None if value.value.is_empty() && !list => {}
            None => settings.push(Setting { name, at, list, values: vec![value] }),
        }
        Ok(())
    }

    /// Whether a word can be a name.
    fn check_name(&self, word: &Word<'t>, package: bool) -> Result<(), Mistake> {
        let right = |c: char| c.is_ascii_alphanumeric() || c == '_' || (package && c == '-');
        let Some(c) = word.value.chars().find(|&c| !right(c)) else { return Ok(()) };
        let what = format!("a name cannot hold {c:?}");
        let fix = match word.value.replace('-', "_") {
            other if other.chars().all(right) => format!("write {other}"),
            _ => "use letters, digits and _".into(),
        };
        Err(Mistake { at: word.at, fault: Fault::new(what, fix) })
    }

    /// The words up to the end of a command.
    fn words(&mut self) -> Result<Vec<Word<'t>>, Mistake> {
        let mut words = Vec::new();
        loop {
            match self.peek() {
                None | Some('\n' | ';' | '#') => return Ok(words),
                Some(c) if is_space(c) => self.bump(c),
                Some('\\') if self.skip_line_end_after_backslash() => {}
                Some(_) => words.push(self.word()?),
            }
        }
    }

    fn word(&mut self) -> Result<Word<'t>, Mistake> {
        let start = self.pos;
        let at = self.at(start);
        if self.rest().starts_with(['‘', '’', '“', '”', '„', '‚', '«', '»']) {
            let what = "this quote is a typographic one";
            return Err(Mistake { at, fault: Fault::new(what, "use plain quotes (')") });
        }
        // Where it ends comes first, so that what is put together needs no room that grows and leaves copies behind.
        let mut pieces = 0;
        let mut escapes = false;
        while let Some(c) = self.peek().filter(|&c| !is_space(c) && c != '#' && c != ';') {
            let begin = self.pos;
            match c {
                '\'' | '"' => {
                    pieces += 1;
                    self.bump(c);
                    escapes |= self.quotes(c, begin)?;
                }
                '\\' => {
                    escapes = true;
                    self.escape();
                }
                '\0' => {
                    let fault = Fault::new("there is a NUL, which no text holds", "remove it");
                    return Err(Mistake { at: self.at(begin), fault });
                }
                c => self.bump(c),
            }
        }
        let raw = &self.text[start..self.pos];
        let inner = ['\'', '"'].iter().find_map(|&quote| raw.strip_prefix(quote)?.strip_suffix(quote));
        let value = match inner {
            // Two quotes and nothing else: the first of them ends at the last.
            Some(inner) if pieces == 1 && !escapes => Text::Plain(inner),
            _ if pieces == 0 && !escapes => Text::Plain(raw),
            _ => Text::Joined(join(raw)),
        };
        Ok(Located { value, at })
    }

    /// Up to behind the quote that closes. Whether there are backslashes with a meaning in between.
    fn quotes(&mut self, quote: char, begin: usize) -> Result<bool, Mistake> {
        let mut escapes = false;
        while let Some(c) = self.peek() {
            match c {
                '\\' if quote == '"' => {
                    escapes = true;
                    self.escape();
                    continue;
                }
                '\0' => {
                    let fault = Fault::new("there is a NUL, which no text holds", "remove it");
                    return Err(Mistake { at: self.at(self.pos), fault });
                }
                _ => self.bump(c),
            }
            if c == quote {
                return Ok(escapes);
            }
            if c == '\n' && self.open.is_none() {
                let next = self.rest().split('\n').next().and_then(|line| line.split_whitespace().next());
                if next.is_some_and(|word| COMMANDS.contains(&word)) {
                    self.open = Some(self.at(begin));
                }
            }
        }
        let what = "the quote that begins here is not closed before the end of the file";
        Err(Mistake { at: self.at(begin), fault: Fault::new(what, "close it at the end of the value") })
    }

    /// A backslash and what it takes with it.
    fn escape(&mut self) {
        if !self.skip_line_end_after_backslash() {
            self.bump('\\');
            if let Some(c) = self.peek() {
                self.bump(c);
            }
        }
    }

    fn skip_line_end_after_backslash(&mut self) -> bool {
        let end = ["\\\n", "\\\r\n"].into_iter().find(|end| self.rest().starts_with(end));
        self.pos += end.map_or(0, str::len);
        end.is_some()
    }

    fn skip_line(&mut self) {
        self.pos += self.rest().find('\n').unwrap_or(self.rest().len());
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.pos..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self, c: char) {
        self.pos += c.len_utf8();
    }

    fn at(&self, offset: usize) -> Position {
        Position { source: self.source, ..self.lines.position(offset) }
    }
}

/// What the pieces of a whole word amount to.
fn join(raw: &str) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(raw.len()));
    let mut quote = None;
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => match chars.next() {
                // The line end after it, of one character or two, goes with it.
                Some('\n') | None => {}
                Some('\r') if chars.as_str().starts_with('\n') => drop(chars.next()),
                Some(c) => out.push(c),
            },
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            (c, _) => out.push(c),
        }
    }
    out
}
