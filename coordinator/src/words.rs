//! Figures in words that a person reads at a glance.

use outshine_schemas::outcome::CommitRecord;

/// A time: `42 s`, `12 min`, `3.5 h` or `8.1 d`.
#[must_use]
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 99.5 => format!("{s:.0} s"),
        s if s < 5970.0 => format!("{:.0} min", s / 60.0),
        s if s < 48.0 * 3600.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.1} d", s / 86_400.0),
    }
}

/// Wall-clock seconds of the attempts that won. From 0: an empty sum of floats
/// is -0.
#[must_use]
pub fn seconds(commits: &[CommitRecord]) -> f64 {
    commits.iter().fold(0.0, |sum, commit| sum + commit.seconds)
}

/// A number of bytes, in powers of a thousand.
#[must_use]
pub fn bytes(count: u64) -> String {
    let mut value = count as f64;
    for unit in ["B", "kB", "MB", "GB", "TB"] {
        if value < 999.5 {
            let digits = if unit == "B" || value >= 99.95 { 0 } else { 1 };
            return format!("{value:.digits$} {unit}");
        }
        value /= 1000.0;
    }
    format!("{value:.1} PB")
}

/// A number of things, by its word.
#[must_use]
pub fn count(number: u64, one: &str, many: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {many}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_their_size() {
        let times = [(0.4, "0 s"), (99.0, "99 s"), (600.0, "10 min"), (5400.0, "90 min")];
        for (seconds, text) in times {
            assert_eq!(duration(seconds), text);
        }
        assert_eq!(count(1, "galaxy", "galaxies"), "1 galaxy");
        assert_eq!(count(0, "galaxy", "galaxies"), "0 galaxies");
        assert_eq!(duration(7200.0), "2.0 h");
        assert_eq!(duration(7.0 * 86_400.0), "7.0 d");
        let sizes = [(999, "999 B"), (1000, "1.0 kB"), (123_456_789, "123 MB")];
        for (count, text) in sizes {
            assert_eq!(bytes(count), text);
        }
        assert_eq!(bytes(u64::MAX), "18446.7 PB");
    }
}
