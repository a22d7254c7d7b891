//! What a client says about its own patience: `X-Request-Timeout`, and `grpc-timeout` of calls over HTTP/2.
//!
//! `X-Request-Timeout` is seconds (`2`, `1.5`), or has a unit (`1500ms`, `2s`); `grpc-timeout` is one to eight digits and one of
//! `H M S m u n` (gRPC over HTTP/2, "Requests"). Several values: the shortest counts. What can't be read is taken off and otherwise
//! ignored, as Envoy ignores such a `grpc-timeout`, so that no service reads it in its own way.
//!
//! SECURITY: whoever uses these may only shorten a deadline by them.

use http::{HeaderMap, HeaderName, HeaderValue};
use std::time::Duration;

pub const X_REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout");
pub const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// What is left is told in no less than this: nothing at all would mean that it is over.
const LEAST: Duration = Duration::from_millis(1);

/// How long the client waits, from the moment when it asked. `grpc`: whether `grpc-timeout` means something.
pub fn of(headers: &mut HeaderMap, grpc: bool) -> Option<Duration> {
    let own = read(headers, X_REQUEST_TIMEOUT, parse);
    let of_call = if grpc { read(headers, GRPC_TIMEOUT, parse_grpc) } else { None };
    own.into_iter().chain(of_call).min()
}

/// Writes what is left into the fields that are there, where they say more.
pub fn tell(headers: &mut HeaderMap, left: Duration) {
    let shorter = |said: Option<Duration>| said.map_or(left, |said| said.min(left)).max(LEAST);
    if let Some(value) = headers.get_mut(X_REQUEST_TIMEOUT) {
        let text = value.to_str().unwrap_or_default();
        let (time, in_millis, with_unit) = (shorter(parse(text)), text.ends_with("ms"), text.ends_with('s'));
        let millis = time.as_millis();
        let (seconds, rest) = (millis / 1_000, millis % 1_000);
        let told = match (in_millis, with_unit) {
            (true, _) => format!("{millis}ms"),
            (false, true) => format!("{seconds}.{rest:03}s"),
            (false, false) => format!("{seconds}.{rest:03}"),
        };
        *value = HeaderValue::try_from(told).unwrap_or(HeaderValue::from_static("0.001"));
    }
    if let Some(value) = headers.get_mut(GRPC_TIMEOUT) {
        let time = shorter(value.to_str().ok().and_then(parse_grpc));
        *value = HeaderValue::try_from(show_grpc(time)).unwrap_or(HeaderValue::from_static("1m"));
    }
}

/// `X-Request-Timeout` for a request that has none.
pub fn field(left: Duration) -> HeaderValue {
    let millis = left.max(LEAST).as_millis();
    HeaderValue::try_from(format!("{}.{:03}", millis / 1_000, millis % 1_000))
        .unwrap_or(HeaderValue::from_static("0.001"))
}

fn read(headers: &mut HeaderMap, name: HeaderName, parse: fn(&str) -> Option<Duration>) -> Option<Duration> {
    // Nearly always; a look at the names costs less than a search.
    if !headers.keys().any(|sent| sent.as_str() == name.as_str()) {
        return None;
    }
    let first = headers.get(&name)?;
    let single = headers.get_all(&name).iter().nth(1).is_none();
    let all = headers.get_all(&name);
    let shortest =
        all.iter().filter_map(|value| Some((parse(value.to_str().ok()?)?, value))).min_by_key(|(time, _)| *time);
    let found = shortest.map(|(time, value)| (time, value.clone()));
    if single && found.as_ref().is_some_and(|(_, value)| value == first) {
        return found.map(|(time, _)| time);
    }
    headers.remove(&name);
    let (time, value) = found?;
    headers.insert(name, value);
    Some(time)
}

/// Seconds, or a number with `ms` or `s`; no signs, no exponents, at most a year.
fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    let (number, unit) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(number), _) => (number, 1e-3),
        (None, Some(number)) => (number, 1.0),
        (None, None) => (text, 1.0),
    };
    let plain = number.starts_with(|c: char| c.is_ascii_digit())
        && number.ends_with(|c: char| c.is_ascii_digit())
        && number.len() <= 15
        && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let seconds = if plain { number.parse::<f64>().ok()? * unit } else { return None };
    (seconds <= 366.0 * 86_400.0).then(|| Duration::from_secs_f64(seconds))
}

fn parse_grpc(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3_600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// In the finest unit that eight digits hold, rounded down.
fn show_grpc(time: Duration) -> String {
    const MOST: u128 = 99_999_999;
    let units =
        [(time.as_nanos(), 'n'), (time.as_micros(), 'u'), (time.as_millis(), 'm'), (u128::from(time.as_secs()), 'S')];
    let fits = units.into_iter().find(|(number, _)| *number <= MOST);
    let (number, unit) = fits.unwrap_or((u128::from(time.as_secs() / 3_600).min(MOST), 'H'));
    format!("{number}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
        let fields = fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).expect("a value")));
        fields.fold(HeaderMap::new(), |mut map, (name, value)| {
            map.append(name, value);
            map
        })
    }

    #[test]
    fn times_are_read_in_their_forms_and_no_others() {
        for (text, millis) in [
            ("2", Some(2_000)),
            ("1.5", Some(1_500)),
            ("250ms", Some(250)),
            ("2s", Some(2_000)),
            ("0", Some(0)),
            ("", None),
            ("s", None),
            ("-1", None),
            ("1e3", None),
            ("1.", None),
            ("1.2.3", None),
            ("2 s", None),
            ("2m", None),
            ("inf", None),
            ("999999999999", None),
        ] {
            assert_eq!(parse(text), millis.map(Duration::from_millis), "{text}");
        }
        for (text, micros) in [
            ("1S", Some(1_000_000)),
            ("99999999u", Some(99_999_999)),
            ("1H", Some(3_600_000_000)),
            ("2M", Some(120_000_000)),
            ("3m", Some(3_000)),
            ("5000n", Some(5)),
            ("0n", Some(0)),
            ("123456789u", None),
            ("1", None),
            ("S", None),
            ("", None),
            ("-1S", None),
            ("1s", None),
            ("1é", None),
        ] {
            assert_eq!(parse_grpc(text), micros.map(Duration::from_micros), "{text}");
        }
    }

    #[test]
    fn the_shortest_counts_and_what_cannot_be_read_goes() {
        let mut both = headers(&[(X_REQUEST_TIMEOUT, "2"), (X_REQUEST_TIMEOUT, "1s"), (GRPC_TIMEOUT, "500m")]);
        assert_eq!(of(&mut both.clone(), false), Some(Duration::from_secs(1)));
        assert_eq!(of(&mut both, true), Some(Duration::from_millis(500)));
        let mut bad = headers(&[(X_REQUEST_TIMEOUT, "soon"), (GRPC_TIMEOUT, "1")]);
        assert_eq!((of(&mut bad, true), bad.len()), (None, 0));
    }

    #[test]
    fn what_is_left_is_told_as_it_was_written_and_never_more() {
        for (name, said, left, told) in [
            (X_REQUEST_TIMEOUT, "2", 1_234, "1.234"),
            (X_REQUEST_TIMEOUT, "2s", 1_234, "1.234s"),
            (X_REQUEST_TIMEOUT, "2000ms", 1_234, "1234ms"),
            (X_REQUEST_TIMEOUT, "1", 1_234, "1.000"),
            (X_REQUEST_TIMEOUT, "1", 0, "0.001"),
            (GRPC_TIMEOUT, "2S", 50, "50000000n"),
            (GRPC_TIMEOUT, "2S", 1_234, "1234000u"),
            (GRPC_TIMEOUT, "10M", 300_000, "300000m"),
            (GRPC_TIMEOUT, "99999999H", 200_000_000, "200000S"),
        ] {
            let mut map = headers(&[(name.clone(), said)]);
            tell(&mut map, Duration::from_millis(left));
            assert_eq!(map[&name], told, "{said}");
        }
    }
}
