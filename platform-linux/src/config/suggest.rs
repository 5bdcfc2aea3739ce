//! "Did you mean": the nearest of a few known words.

/// The word of `known` nearest to `word`, if one is near enough that a slip of the fingers explains the difference.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A very long word cannot be near, and the comparison is quadratic.
    if word.len() > 64 {
        return None;
    }
    let word = word.to_ascii_lowercase().replace('-', "_");
    let allowed = match word.len() {
        0..=2 => 0,
        3..=5 => 1,
        6..=9 => 2,
        _ => 3,
    };
    known
        .into_iter()
        .map(|candidate| (distance(&word, &candidate.replace('-', "_")), candidate))
        .filter(|&(distance, _)| distance <= allowed)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// The word of `known` that is most likely meant by `word`: the same but for capital letters, what `synonyms` translate
/// it to, or the nearest.
pub fn meant(word: &str, synonyms: &[(&str, &'static str)], known: &[&'static str]) -> Option<&'static str> {
    let exact = known.iter().find(|known| word.eq_ignore_ascii_case(known)).copied();
    let translated = || {
        let synonym = synonyms.iter().find(|(synonym, _)| word.eq_ignore_ascii_case(synonym))?;
        known.contains(&synonym.1).then_some(synonym.1)
    };
    exact.or_else(translated).or_else(|| nearest(word, known.iter().copied()))
}

/// Edits (insert, delete, replace, swap of neighbours) that turn `a` into `b`: optimal string alignment.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, &x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &y) in b.iter().enumerate() {
            let replace = last[j] + usize::from(x != y);
            let mut best = replace.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && x == b[j - 1] && a[i - 1] == y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = core::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    #[test]
    fn counts_edits() {
        for (a, b, edits) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("peers", "peer", 1),
            ("peres", "peers", 1),
            ("pubkey", "pubkye", 1),
            ("kitten", "sitting", 3),
            ("ab", "ba", 1),
        ] {
            assert_eq!(distance(a, b), edits, "{a} -> {b}");
            assert_eq!(distance(b, a), edits, "{b} -> {a}");
        }
    }

    #[test]
    fn suggests_slips_and_nothing_far_fetched() {
        let known = ["run", "check", "genkey", "status"];
        assert_eq!(nearest("stauts", known), Some("status"));
        assert_eq!(nearest("Check", known), Some("check"));
        assert_eq!(nearest("gen-key", known), Some("genkey"));
        assert_eq!(nearest("ru", known), None);
        assert_eq!(nearest("wg0.toml", known), None);
        assert_eq!(nearest(&"x".repeat(100_000), known), None);
    }
}
