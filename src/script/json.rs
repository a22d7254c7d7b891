//! JSON as text: what both engines share when they convert documents to and from their own values.
//!
//! The engines read with serde_json's visitors and write with these functions, so that both write the same bytes:
//! keys of decoded objects in the order they came, other keys in alphabetical order, and numbers as here.

use super::Raise;
use bytes::Bytes;

/// Deeper documents are refused, by serde_json when reading and by the engines when writing.
pub const MAX_DEPTH: usize = 128;

/// Integers up to this are exact in a double, Luau's only number.
pub const MAX_SAFE: i64 = 1 << 53;

pub fn null() -> Bytes {
    Bytes::from_static(b"null")
}

/// Why text is not JSON, for the script that asked for it: the engines raise this when they decode.
pub fn refused(text: &[u8], why: Option<&serde_json::Error>) -> Raise {
    if text.iter().all(u8::is_ascii_whitespace) {
        Raise::error("not JSON: it is empty")
    } else {
        Raise::error(why.map_or_else(|| "not JSON".to_owned(), |why| format!("not JSON: {why}")))
    }
}

/// `application/json`, `application/problem+json`, `text/json; charset=utf-8`, …
pub fn is_media_type(content_type: &[u8]) -> bool {
    let end = memchr::memchr(b';', content_type).unwrap_or(content_type.len());
    let essence = content_type[..end].trim_ascii();
    let ends_with = |end: &[u8; 5]| essence.last_chunk().is_some_and(|last: &[u8; 5]| last.eq_ignore_ascii_case(end));
    ends_with(b"/json") || ends_with(b"+json")
}

/// A double as JSON writes it: whole numbers without a fraction, so that 20.0 is 20 in both languages.
pub fn number(f: f64) -> String {
    let mut out = Vec::with_capacity(24);
    write_f64(&mut out, f);
    String::from_utf8(out).unwrap_or_default()
}

/// JSON has no infinities and no NaN: they are written as null, as JavaScript does.
pub fn write_f64(out: &mut Vec<u8>, f: f64) {
    if f.fract() == 0.0 && f.abs() <= MAX_SAFE as f64 {
        write_i64(out, f as i64);
    } else {
        // Writing to a vector can't fail.
        let _ = serde_json::to_writer(out, &f);
    }
}

pub fn write_i64(out: &mut Vec<u8>, i: i64) {
    let _ = serde_json::to_writer(out, &i);
}

/// An object of texts.
pub fn write_texts(out: &mut Vec<u8>, entries: &[(String, Bytes)]) {
    out.push(b'{');
    for (at, (name, text)) in entries.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_str(out, name.as_bytes());
        out.push(b':');
        write_str(out, text);
    }
    out.push(b'}');
}

/// A string with its quotes; bytes that are not UTF-8 become U+FFFD.
pub fn write_str(out: &mut Vec<u8>, text: &[u8]) {
    if is_plain_ascii(text) || plain(text) == text.len() && std::str::from_utf8(text).is_ok() {
        out.reserve(text.len() + 2);
        out.push(b'"');
        out.extend_from_slice(text);
        out.push(b'"');
        return;
    }
    let _ = match std::str::from_utf8(text) {
        Ok(text) => serde_json::to_writer(out, text),
        Err(_) => serde_json::to_writer(out, String::from_utf8_lossy(text).as_ref()),
    };
}

/// The length of what stands before a quote, a backslash or a control character.
#[inline]
pub fn plain(text: &[u8]) -> usize {
    before(text, special, is_special)
}

/// The same, or before what is not ASCII.
#[inline]
pub fn plain_ascii(text: &[u8]) -> usize {
    before(text, |word| special(word) | u64::from_le_bytes(word) & HIGH, |byte| is_special(byte) || !byte.is_ascii())
}

/// The length of what stands before the first byte that is sought, of which words have the high bits.
#[inline]
fn before(text: &[u8], in_word: impl Fn([u8; 8]) -> u64, is_sought: impl Fn(&u8) -> bool) -> usize {
    let (words, _) = text.as_chunks::<8>();
    let mut at = 0;
    for word in words {
        let found = in_word(*word);
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = text[at..].iter().position(is_sought);
    at + rest.unwrap_or(text.len() - at)
}

/// Whether a text is ASCII and [`plain`] as a whole; all that most are.
fn is_plain_ascii(text: &[u8]) -> bool {
    let odd = |word: &[u8; 8]| special(*word) | u64::from_le_bytes(*word) & HIGH;
    let Some(last) = text.last_chunk() else {
        return !text.iter().any(|byte| is_special(byte) || !byte.is_ascii());
    };
    // The last word reaches back over the one before it.
    let (words, _) = text.as_chunks();
    words.iter().fold(odd(last), |found, word| found | odd(word)) == 0
}

const ONES: u64 = u64::MAX / 255;
const HIGH: u64 = ONES << 7;

/// The high bits of bytes that are special, of which the lowest is a true one.
#[inline]
fn special(word: [u8; 8]) -> u64 {
    let word = u64::from_le_bytes(word);
    // The usual test for a zero byte in a word, for three comparisons at once; a false alarm only above a true one.
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (zero(word ^ (ONES * u64::from(b'"'))) | zero(word ^ (ONES * u64::from(b'\\'))) | control) & HIGH
}

fn is_special(byte: &u8) -> bool {
    matches!(byte, b'"' | b'\\' | 0..0x20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_alike_for_both_languages() {
        let shown: Vec<String> =
            [20.0, 129.95, -0.5, 1e300, f64::NAN, 9007199254740992.0].iter().map(|f| number(*f)).collect();
        assert_eq!(shown, ["20", "129.95", "-0.5", "1e+300", "null", "9007199254740992"]);
    }

    #[test]
    fn json_media_types_are_known() {
        let known = |text: &str| is_media_type(text.as_bytes());
        assert!(known("application/json") && known("Application/Problem+JSON; charset=utf-8"));
        assert!(!known("text/plain") && !known("application/jsonp"));
    }
}
