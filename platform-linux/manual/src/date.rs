//! The day that a manual page carries.

use std::{
    env,
    time::{SystemTime, UNIX_EPOCH},
};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// The day of `SOURCE_DATE_EPOCH`, so that the same source makes the same pages; else today.
pub(crate) fn today() -> String {
    let set = env::var("SOURCE_DATE_EPOCH").ok().and_then(|seconds| seconds.parse().ok());
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    long(set.unwrap_or_else(now))
}

/// The day of a time, in UTC, as mdoc writes it: `November 25, 2026`.
fn long(seconds: u64) -> String {
    let (mut year, mut days) = (1970, seconds / 86_400);
    loop {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let lengths = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        for (month, length) in MONTHS.iter().zip(lengths) {
            if days < length {
                return format!("{month} {}, {year}", days + 1);
            }
            days -= length;
        }
        year += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::long;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (seconds, day) in [
            (0, "January 1, 1970"),
            (86_399, "January 1, 1970"),
            (951_782_400, "February 29, 2000"),
            (951_868_800, "March 1, 2000"),
            (1_795_564_800, "November 25, 2026"),
            (4_107_542_400, "March 1, 2100"),
        ] {
            assert_eq!(long(seconds), day, "{seconds}");
        }
    }
}
