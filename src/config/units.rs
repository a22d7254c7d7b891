//! Durations (`500ms`, `5s`, `1m`, `1h`) and sizes (`64KB`, `8MiB`), as people write them.
//!
//! A bare integer is milliseconds for a duration, as in Kong's files, and bytes for a size.

use std::time::Duration;

/// Anything longer is a slip of the pen, and would overflow timers: a year.
const MAX_MILLIS: u64 = 366 * 24 * 3600 * 1000;

/// A duration of at most a year; `None` when the text is not one.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let millis = match unit {
        "" | "ms" => 1.0,
        "s" => 1000.0,
        "m" => 60_000.0,
        "h" => 3_600_000.0,
        "d" => 86_400_000.0,
        _ => return None,
    };
    let total = number * millis;
    (total <= MAX_MILLIS as f64).then(|| Duration::from_nanos((total * 1e6).round() as u64))
}

/// A number of bytes; KB, MB, GB are powers of 1000, KiB, MiB, GiB of 1024. `None` when the text is not a size.
pub fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let bytes = match unit {
        "" | "B" => 1.0,
        "KB" | "kB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    let total = number * bytes;
    (total.fract() == 0.0 && total <= (1u64 << 53) as f64).then_some(total as u64)
}

/// As it would be written: `1500ms`, `5s`, `1m`.
pub fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    match millis {
        0 => "0s".to_owned(),
        _ if millis.is_multiple_of(3_600_000) => format!("{}h", millis / 3_600_000),
        _ if millis.is_multiple_of(60_000) => format!("{}m", millis / 60_000),
        _ if millis.is_multiple_of(1000) => format!("{}s", millis / 1000),
        _ => format!("{millis}ms"),
    }
}

/// A decimal number and what follows it. No signs or exponents: `1e3s` is nobody's duration.
fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    if !number.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    Some((number.parse().ok()?, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let cases = [
            ("5s", Some(5000)),
            ("500ms", Some(500)),
            ("1.5s", Some(1500)),
            ("1m", Some(60_000)),
            ("1h", Some(3_600_000)),
            ("60000", Some(60_000)),
            ("0", Some(0)),
            ("5 s", Some(5000)),
            ("", None),
            ("s", None),
            ("-5s", None),
            ("5S", None),
            ("5sec", None),
            ("1.2.3s", None),
            ("99999d", None),
        ];
        for (text, millis) in cases {
            let expected = millis.map(Duration::from_millis);
            assert_eq!(parse_duration(text), expected, "{text}");
        }
    }

    #[test]
    fn sizes() {
        let cases = [
            ("8MiB", Some(8 << 20)),
            ("64KB", Some(64_000)),
            ("64KiB", Some(65_536)),
            ("1.5KiB", Some(1536)),
            ("12", Some(12)),
            ("12B", Some(12)),
            ("0.5B", None),
            ("8mb", None),
            ("99999999999GiB", None),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_size(text), bytes, "{text}");
        }
    }

    #[test]
    fn durations_are_shown_as_written() {
        let shown = [0, 50, 1500, 60_000, 7_200_000].map(|ms| show_duration(Duration::from_millis(ms)));
        assert_eq!(shown, ["0s", "50ms", "1500ms", "1m", "2h"]);
    }
}
