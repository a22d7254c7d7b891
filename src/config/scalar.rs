//! What a plain (unquoted) YAML scalar means: the Core Schema of YAML 1.2.2 §10.3.2.
//!
//! Deliberately not YAML 1.1: `off`, `no` and `12:30` are strings. Numbers that JSON can't hold (`.inf`, `.nan`, more
//! than 64 bits) stay strings, so that nothing is rounded in silence.

use serde_json::Number;

use super::node::Value;

pub(super) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number),
    }
}

fn number(text: &str) -> Option<Number> {
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8);
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !unsigned.is_empty() && unsigned.bytes().all(|b| b.is_ascii_digit()) {
        let text = text.strip_prefix('+').unwrap_or(text);
        return text.parse::<i64>().map(Number::from).or_else(|_| text.parse::<u64>().map(Number::from)).ok();
    }
    let floats = |b: u8| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-');
    let starts = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if !starts || !unsigned.bytes().all(floats) {
        return None;
    }
    Number::from_f64(text.parse().ok()?)
}

fn radix(digits: &str, radix: u32) -> Option<Number> {
    if digits.starts_with(['+', '-']) {
        return None;
    }
    u64::from_str_radix(digits, radix).ok().map(Number::from)
}

#[cfg(test)]
mod tests {
    use super::super::node::Node;
    use super::super::source::Source;
    use super::*;

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        let cases = [
            ("", "null"),
            ("~", "null"),
            ("true", "true"),
            ("False", "false"),
            ("off", "\"off\""),
            ("yes", "\"yes\""),
            ("12", "12"),
            ("+12", "12"),
            ("-0012", "-12"),
            ("0x1F", "31"),
            ("0o17", "15"),
            ("0x+1", "\"0x+1\""),
            ("18446744073709551615", "18446744073709551615"),
            ("18446744073709551616", "\"18446744073709551616\""),
            ("1.5", "1.5"),
            (".5", "0.5"),
            ("1e3", "1000.0"),
            (".inf", "\".inf\""),
            ("1e999", "\"1e999\""),
            ("1.2.3", "\"1.2.3\""),
            ("e5", "\"e5\""),
            ("12:30", "\"12:30\""),
            ("-", "\"-\""),
        ];
        for (text, json) in cases {
            let span = Source::new("x", text).span(0..0);
            let node = Node::new(resolve(text), span);
            assert_eq!(node.to_json().to_string(), json, "{text}");
        }
    }
}
