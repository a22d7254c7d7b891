//! The protocol of Redis on the wire, RESP2 and RESP3: commands to bytes and bytes to answers, without input or output.
//!
//! An answer may come in any pieces: what of it has been read is kept, so no byte is looked at twice but for those of an unfinished line.
//! Sources: <https://redis.io/docs/latest/develop/reference/protocol-spec/>.

use bytes::Bytes;

use super::value::RedisValue;

/// Deeper answers than this are none of Redis'.
const MAX_DEPTH: usize = 128;
/// Room made for items before any of them is here.
const MAX_ROOM: usize = 256;

/// Appends one command of so many words; [`word`] writes each.
pub(super) fn begin(out: &mut Vec<u8>, words: usize) {
    header(out, b'*', words);
}

pub(super) fn word(out: &mut Vec<u8>, word: &[u8]) {
    header(out, b'$', word.len());
    out.extend_from_slice(word);
    out.extend_from_slice(b"\r\n");
}

/// A number as a word.
pub(super) fn number(out: &mut Vec<u8>, number: usize) {
    let mut digits = [0; 20];
    word(out, decimal(number, &mut digits));
}

fn header(out: &mut Vec<u8>, kind: u8, length: usize) {
    let mut digits = [0; 20];
    out.push(kind);
    out.extend_from_slice(decimal(length, &mut digits));
    out.extend_from_slice(b"\r\n");
}

fn decimal(mut number: usize, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}

/// What is wrong with an answer that is none of Redis'.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("not an answer of redis: {0}")]
pub(super) struct Malformed(&'static str);

/// Reads answers, one after the other.
#[derive(Default)]
pub(super) struct Answers {
    /// The lists and maps that are not complete, outermost first.
    open: Vec<Open>,
}

struct Open {
    kind: Kind,
    left: usize,
    items: Vec<RedisValue>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    List,
    Map,
    /// What the server says unasked.
    Push,
    /// Something about the answer that follows.
    Attribute,
}

impl Answers {
    /// The next answer, if it is complete in what `input` holds from `at` on; `at` moves over what was read.
    pub fn next(&mut self, input: &[u8], at: &mut usize) -> Result<Option<RedisValue>, Malformed> {
        while let Some(token) = token(input, at)? {
            let mut value = match token {
                Token::Value(value) => value,
                Token::Open(kind, left) => {
                    if self.open.len() >= MAX_DEPTH {
                        return Err(Malformed("nested too deep"));
                    }
                    self.open.push(Open { kind, left, items: Vec::with_capacity(left.min(MAX_ROOM)) });
                    if left > 0 {
                        continue;
                    }
                    match self.close() {
                        Some(value) => value,
                        None => continue,
                    }
                }
            };
            loop {
                let Some(open) = self.open.last_mut() else { return Ok(Some(value)) };
                open.items.push(value);
                open.left -= 1;
                if open.left > 0 {
                    break;
                }
                match self.close() {
                    Some(closed) => value = closed,
                    None => break,
                }
            }
        }
        Ok(None)
    }

    /// The innermost list or map, now complete; None when it is no part of an answer.
    fn close(&mut self) -> Option<RedisValue> {
        let Open { kind, items, .. } = self.open.pop()?;
        match kind {
            Kind::List => Some(RedisValue::List(items)),
            Kind::Map => {
                let mut items = items.into_iter();
                let mut pairs = Vec::with_capacity(items.len() / 2);
                while let (Some(key), Some(value)) = (items.next(), items.next()) {
                    pairs.push((key, value));
                }
                Some(RedisValue::Map(pairs))
            }
            Kind::Push | Kind::Attribute => None,
        }
    }
}

enum Token {
    Value(RedisValue),
    Open(Kind, usize),
}

/// A scalar, or the beginning of a list or map, when it is all here.
fn token(input: &[u8], at: &mut usize) -> Result<Option<Token>, Malformed> {
    let rest = &input[*at..];
    let Some(end) = memchr::memchr(b'\r', rest) else { return Ok(None) };
    let Some(after) = rest.get(end + 1) else { return Ok(None) };
    if *after != b'\n' || end == 0 {
        return Err(Malformed("a line does not end as one"));
    }
    let (kind, line, next) = (rest[0], &rest[1..end], end + 2);
    let text = || String::from_utf8_lossy(line).into_owned();
    let value = match kind {
        b'+' => RedisValue::Status(text()),
        b'-' => error(line),
        b':' => RedisValue::Int(integer(line)?),
        b'_' => RedisValue::Nil,
        b'#' => RedisValue::Bool(line == b"t"),
        b',' => RedisValue::Double(text().parse().map_err(|_| Malformed("no number"))?),
        b'(' => RedisValue::Bytes(Bytes::copy_from_slice(line)),
        b'$' | b'=' | b'!' => {
            let Ok(length) = usize::try_from(integer(line)?) else {
                *at += next;
                return Ok(Some(Token::Value(RedisValue::Nil)));
            };
            let whole = length.checked_add(next + 2).ok_or(Malformed("too long"))?;
            let Some(bytes) = rest.get(next..whole) else { return Ok(None) };
            let Some(bytes) = bytes.strip_suffix(b"\r\n") else {
                return Err(Malformed("a string does not end as one"));
            };
            *at += whole;
            return Ok(Some(Token::Value(match kind {
                b'!' => error(bytes),
                // Its first four bytes say what kind of text it is.
                b'=' => RedisValue::Bytes(Bytes::copy_from_slice(bytes.get(4..).unwrap_or_default())),
                _ => RedisValue::Bytes(Bytes::copy_from_slice(bytes)),
            })));
        }
        b'*' | b'~' | b'%' | b'>' | b'|' => {
            *at += next;
            let Ok(count) = usize::try_from(integer(line)?) else {
                return Ok(Some(Token::Value(RedisValue::Nil)));
            };
            let (kind, per_item) = match kind {
                b'%' => (Kind::Map, 2),
                b'|' => (Kind::Attribute, 2),
                b'>' => (Kind::Push, 1),
                _ => (Kind::List, 1),
            };
            let items = count.checked_mul(per_item).ok_or(Malformed("too long"))?;
            return Ok(Some(Token::Open(kind, items)));
        }
        _ => return Err(Malformed("a line begins as none")),
    };
    *at += next;
    Ok(Some(Token::Value(value)))
}

fn error(line: &[u8]) -> RedisValue {
    let line = String::from_utf8_lossy(line);
    let (code, detail) = line.split_once(' ').unwrap_or((&line, ""));
    RedisValue::Error { code: code.to_owned(), detail: detail.to_owned() }
}

fn integer(digits: &[u8]) -> Result<i64, Malformed> {
    let text = std::str::from_utf8(digits).ok();
    text.and_then(|text| text.parse().ok()).ok_or(Malformed("no integer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the answers are, when their bytes come in pieces of `size`.
    fn read(text: &str, size: usize) -> String {
        let (mut answers, mut held, mut at, mut shown) = (Answers::default(), Vec::new(), 0, Vec::new());
        for piece in text.as_bytes().chunks(size) {
            held.extend_from_slice(piece);
            loop {
                match answers.next(&held, &mut at) {
                    Ok(Some(value)) => shown.push(format!("{value:?}")),
                    Ok(None) => break,
                    Err(malformed) => return malformed.to_string(),
                }
            }
        }
        shown.join(" ")
    }

    #[test]
    fn answers_are_read_in_any_pieces() {
        let cases = [
            ("+OK\r\n:-7\r\n", r#"Status("OK") Int(-7)"#),
            ("$5\r\na\r\nbc\r\n$-1\r\n$0\r\n\r\n", r#"Bytes(b"a\r\nbc") Nil Bytes(b"")"#),
            (
                "*3\r\n:1\r\n*0\r\n*2\r\n$1\r\nx\r\n_\r\n:2\r\n",
                r#"List([Int(1), List([]), List([Bytes(b"x"), Nil])]) Int(2)"#,
            ),
            (
                "*-1\r\n#t\r\n,1.5\r\n(123\r\n=7\r\ntxt:abc\r\n",
                r#"Nil Bool(true) Double(1.5) Bytes(b"123") Bytes(b"abc")"#,
            ),
            ("%1\r\n+a\r\n~1\r\n:1\r\n", r#"Map([(Status("a"), List([Int(1)]))])"#),
            (">2\r\n+news\r\n:1\r\n:5\r\n", "Int(5)"),
            ("|1\r\n+ttl\r\n:1\r\n:5\r\n", "Int(5)"),
            ("*1\r\n|1\r\n+ttl\r\n:1\r\n:5\r\n", "List([Int(5)])"),
            ("-NOSCRIPT No matching script.\r\n", r#"Error { code: "NOSCRIPT", detail: "No matching script." }"#),
            ("!9\r\nERR a\r\nbc\r\n", r#"Error { code: "ERR", detail: "a\r\nbc" }"#),
            ("HTTP/1.1 400 Bad Request\r\n", "not an answer of redis: a line begins as none"),
            (":x\r\n", "not an answer of redis: no integer"),
            ("\r\n", "not an answer of redis: a line does not end as one"),
            ("$1\r\nabc\r\n", "not an answer of redis: a string does not end as one"),
        ];
        for (text, expected) in cases {
            for size in [1, 2, 3, 7, text.len()] {
                assert_eq!(read(text, size), expected, "{text:?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn nesting_has_an_end() {
        assert_eq!(read(&"*1\r\n".repeat(200), 64), "not an answer of redis: nested too deep");
    }

    #[test]
    fn commands_are_lists_of_words() {
        let mut out = Vec::new();
        begin(&mut out, 3);
        word(&mut out, b"GET");
        word(&mut out, b"a\r\n");
        number(&mut out, 120);
        assert_eq!(out, b"*3\r\n$3\r\nGET\r\n$3\r\na\r\n\r\n$3\r\n120\r\n");
    }
}
