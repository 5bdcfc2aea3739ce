//! A strict reader of Prometheus' text format 0.0.4: more is refused than Prometheus itself would refuse.

use std::collections::HashSet;

/// A metric.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) help: String,
    pub(super) samples: Vec<Sample>,
}

/// One line.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) name: String,
    pub(super) labels: Vec<(String, String)>,
    pub(super) value: f64,
}

/// All families, or the first line that is wrong and why.
pub(super) fn parse(text: &str) -> Result<Vec<Family>, String> {
    if !text.ends_with('\n') {
        return Err("the last line has no end".into());
    }
    let mut families: Vec<Family> = Vec::new();
    let mut seen = HashSet::new();
    // Only a line feed ends a line.
    let mut lines = text.split('\n').peekable();
    while let Some(line) = lines.next() {
        if line.is_empty() && lines.peek().is_none() {
            break;
        }
        let wrong = |why: &str| Err(format!("{why}: {line:?}"));
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let Some((name, help)) = rest.split_once(' ') else { return wrong("no help") };
            if !is_name(name, true) || families.iter().any(|family| family.name == name) {
                return wrong("a wrong name, or one that was there");
            }
            if help.replace("\\\\", "").replace("\\n", "").contains('\\') {
                return wrong("a wrong escape");
            }
            // Help, type and samples are in this order and together.
            let Some(kind) = lines.next().and_then(|line| line.strip_prefix(&format!("# TYPE {name} ")))
            else {
                return wrong("no type follows");
            };
            if !["counter", "gauge", "histogram"].contains(&kind) {
                return wrong("no known type");
            }
            families.push(Family {
                name: name.into(),
                kind: kind.into(),
                help: help.into(),
                samples: Vec::new(),
            });
            continue;
        }
        let Some(sample) = sample(line) else { return wrong("no sample") };
        let Some(family) = families.last_mut() else { return wrong("no family before it") };
        let of_family = match family.kind.as_str() {
            "histogram" => sample
                .name
                .strip_prefix(&family.name)
                .is_some_and(|end| ["_bucket", "_sum", "_count"].contains(&end)),
            _ => sample.name == family.name,
        };
        if !of_family {
            return wrong("a sample of another family");
        }
        let mut labels = sample.labels.clone();
        labels.sort();
        if labels.windows(2).any(|two| two[0].0 == two[1].0) {
            return wrong("a label twice");
        }
        if !seen.insert((sample.name.clone(), labels)) {
            return wrong("a series twice");
        }
        family.samples.push(sample);
    }
    families.iter().filter(|family| family.kind == "histogram").try_for_each(histogram)?;
    Ok(families)
}

/// One set of classes, each holding what those before it hold, the last one all.
fn histogram(family: &Family) -> Result<(), String> {
    let of = |end: &str| {
        let name = format!("{}{end}", family.name);
        family.samples.iter().filter(move |sample| sample.name == name)
    };
    let le = |sample: &Sample| {
        let label = sample.labels.iter().find(|(name, _)| name == "le")?;
        if label.1 == "+Inf" { Some(f64::INFINITY) } else { label.1.parse().ok() }
    };
    let classes: Vec<(f64, f64)> = of("_bucket")
        .map(|sample| le(sample).map(|le| (le, sample.value)))
        .collect::<Option<_>>()
        .ok_or("no le")?;
    let grows = classes.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 <= two[1].1);
    let count = of("_count").map(|sample| sample.value).collect::<Vec<_>>();
    let whole = classes.last().is_some_and(|(le, all)| le.is_infinite() && count == [*all]);
    if grows && whole && of("_sum").count() == 1 {
        Ok(())
    } else {
        Err(format!("{}: {classes:?}", family.name))
    }
}

fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            if !is_name(label, false) {
                return None;
            }
            labels.push((label.to_owned(), value));
            match after.strip_prefix(',') {
                Some(more) => rest = more,
                None => {
                    rest = after.strip_prefix('}')?;
                    break;
                }
            }
        }
    }
    let value = rest.strip_prefix(' ')?;
    // Plain numbers: no blank more, no time stamp, nothing below 0.
    let plain = value.chars().all(|c| c.is_ascii_digit() || c == '.');
    let value = value.parse().ok().filter(|_| plain)?;
    is_name(name, true).then(|| Sample { name: name.into(), labels, value })
}

/// What stands up to the closing quote, without its escapes, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                c @ ('\\' | '"') => c,
                _ => return None,
            }),
            c => value.push(c),
        }
    }
    None
}

fn is_name(name: &str, of_metric: bool) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || (of_metric && c == ':');
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.starts_with("__")
        && name.chars().all(good)
}

#[test]
fn what_is_wrong_is_refused() {
    let head = "# HELP a Help.\n# TYPE a gauge\n";
    assert_eq!(
        parse(&format!("{head}a{{b=\"\\\\\\\"\\n\"}} 1.5\n")).unwrap()[0].samples[0].labels[0].1,
        "\\\"\n"
    );
    for (text, why) in [
        (format!("{head}a 1"), "the last line"),
        (format!("{head}a 1\n\n"), "no sample"),
        (format!("{head}a 1\na 2\n"), "a series twice"),
        (format!("{head}a{{b=\"1\",c=\"2\"}} 1\na{{c=\"2\",b=\"1\"}} 2\n"), "a series twice"),
        (format!("{head}a{{b=\"1\",b=\"2\"}} 1\n"), "a label twice"),
        (format!("{head}b 1\n"), "a sample of another family"),
        (format!("{head}{head}"), "a wrong name"),
        ("a 1\n".into(), "no family"),
        ("# HELP a Help.\na 1\n".into(), "no type"),
        ("# HELP a Help.\n# TYPE a number\n".into(), "no known type"),
        ("# HELP 1a Help.\n# TYPE 1a gauge\n".into(), "a wrong name"),
        (format!("{head}a{{b=\"\\t\"}} 1\n"), "no sample"),
        (format!("{head}a{{b=\"x}} 1\n"), "no sample"),
        (format!("{head}a{{1b=\"x\"}} 1\n"), "no sample"),
        (format!("{head}a  1\n"), "no sample"),
        (format!("{head}a 1 1700000000\n"), "no sample"),
        (format!("{head}a one\n"), "no sample"),
        ("# HELP a Help.\n# TYPE a histogram\na_bucket{le=\"1\"} 1\na_sum 1\na_count 1\n".into(), "a: "),
        (
            "# HELP a Help.\n# TYPE a histogram\na_bucket{le=\"1\"} 2\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 1\n".into(),
            "a: ",
        ),
    ] {
        let complaint = parse(&text).unwrap_err();
        assert!(complaint.starts_with(why), "{text:?}: {complaint}");
    }
}
