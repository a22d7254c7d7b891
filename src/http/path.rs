//! The request target, policed and normalised once: the path that is matched is the path that is forwarded.
//!
//! The order is Traefik's: refuse what two servers could read differently (an encoded slash or backslash, a backslash,
//! NUL and other control characters, `#`, malformed triplets), then decode percent-encoded unreserved characters and
//! write the remaining triplets in upper case (RFC 3986 §6.2.2), then treat dot segments. A `.` segment is removed; a
//! `..` segment, in any encoding and also as `..;x`, is refused rather than resolved: clients resolve it before sending
//! (RFC 3986 §5.2.4), so what arrives here means to reach another route. Repeated slashes are kept, since a target may
//! give them a meaning; they never match a route written with one. Double encoding (`%252f`) is text and stays as it is.

use std::borrow::Cow;

use http::Uri;
use http::uri::PathAndQuery;

/// A normalised path with the query as it was sent. Cheap to clone; owns nothing new when the target was normal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NormalPath(Form);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    /// The target was normal: the bytes of the request head, shared.
    Sent(PathAndQuery),
    /// The target rewritten; the path ends at `path_end`, before the `?` if there is one.
    Rewritten { target: Box<str>, path_end: usize },
}

/// Why a target is refused. All are answered with 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    #[error("the path contains an encoded slash or backslash `{0}`")]
    EncodedSlash(String),
    #[error("the path contains the character {0:?}")]
    Character(char),
    #[error("the path contains the encoded control character `{0}`")]
    EncodedControl(String),
    #[error("the path contains the malformed percent-encoding `{0}`")]
    Malformed(String),
    #[error("the path contains the dot segment `{0}`")]
    DotSegment(String),
    #[error("the request target `{0}` is not a path")]
    NotAPath(String),
}

impl NormalPath {
    /// Takes the target of a request in origin form (`/a?b`), absolute form (`http://host/a?b`, whose host is not
    /// looked at here) or asterisk form (`*`, for `OPTIONS`).
    ///
    /// # Errors
    /// Every target that another server could take for a different path; and the authority form, which only `CONNECT` has.
    pub fn parse(uri: &Uri) -> Result<NormalPath, BadPath> {
        let Some(sent) = uri.path_and_query() else {
            return Err(BadPath::NotAPath(uri.to_string()));
        };
        if sent.as_str() == "*" {
            return Ok(NormalPath(Form::Sent(sent.clone())));
        }
        let rewritten = match normalise(sent.path())? {
            // Absolute form with an empty path: `http` reports "/" but stores nothing or only the query.
            Cow::Borrowed(path) if sent.as_str().starts_with(path) => {
                return Ok(NormalPath(Form::Sent(sent.clone())));
            }
            path => path,
        };
        Ok(NormalPath(rewrite(&rewritten, sent.query())))
    }

    /// The same from text, for configuration and commands; a fragment is refused.
    pub fn parse_str(target: &str) -> Result<NormalPath, BadPath> {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        if let Some(bad) = query.unwrap_or("").chars().find(|c| *c == '#' || c.is_ascii_control()) {
            return Err(BadPath::Character(bad));
        }
        let path = normalise(path)?;
        Ok(NormalPath(rewrite(&path, query)))
    }

    /// `/`, for a request whose own target was refused.
    pub fn root() -> NormalPath {
        NormalPath(Form::Sent(PathAndQuery::from_static("/")))
    }

    /// The path: `*`, or begins with `/`.
    pub fn path(&self) -> &str {
        match &self.0 {
            Form::Sent(sent) => sent.path(),
            Form::Rewritten { target, path_end } => &target[..*path_end],
        }
    }

    /// The query as it was sent, without the `?`.
    pub fn query(&self) -> Option<&str> {
        match &self.0 {
            Form::Sent(sent) => sent.query(),
            Form::Rewritten { target, path_end } => target.get(path_end + 1..),
        }
    }

    /// Path, `?` and query as one string, to be forwarded as it is.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Form::Sent(sent) => sent.as_str(),
            Form::Rewritten { target, .. } => target,
        }
    }
}

fn rewrite(path: &str, query: Option<&str>) -> Form {
    let target = match query {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    Form::Rewritten { target: target.into_boxed_str(), path_end: path.len() }
}

/// Normalises a path without a query; borrows when there was nothing to do.
pub fn normalise(path: &str) -> Result<Cow<'_, str>, BadPath> {
    if !path.starts_with('/') {
        return Err(BadPath::NotAPath(path.to_owned()));
    }
    let decoded = match path.bytes().position(|byte| !PLAIN[usize::from(byte)]) {
        Some(first) => Cow::Owned(decode(path, first)?),
        None => Cow::Borrowed(path),
    };
    // Every dot segment begins with "/."; most paths have no such pair, and this is one quick pass.
    if !decoded.as_bytes().windows(2).any(|pair| pair == b"/.") {
        return Ok(decoded);
    }
    let mut removed = false;
    for segment in decoded.split('/') {
        match dots(segment) {
            Dots::None => {}
            Dots::Current => removed = true,
            Dots::Parent => return Err(BadPath::DotSegment(segment.to_owned())),
        }
    }
    if removed { Ok(Cow::Owned(without_current(&decoded))) } else { Ok(decoded) }
}

enum Dots {
    None,
    Current,
    Parent,
}

/// SECURITY: servers with path parameters cut a segment at `;` before they resolve dots (`/..;/` in Tomcat), so a
/// segment is judged by what stands before it, in either encoding. Only the bare `.` is harmless enough to remove.
fn dots(segment: &str) -> Dots {
    let ends = [segment.find(';'), segment.find("%3B")];
    let end = ends.into_iter().flatten().min();
    match &segment[..end.unwrap_or(segment.len())] {
        "." if end.is_none() => Dots::Current,
        "." | ".." => Dots::Parent,
        _ => Dots::None,
    }
}

/// RFC 3986 §5.2.4 for `.` alone: `/a/./b` is `/a/b`, and `/a/.` is `/a/`.
fn without_current(path: &str) -> String {
    let mut kept = String::with_capacity(path.len());
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        if segment != "." {
            kept.push('/');
            kept.push_str(segment);
        } else if segments.peek().is_none() {
            kept.push('/');
        }
    }
    kept
}

/// Unreserved characters, sub-delims, `:`, `@` and `/`: what a path may hold as it is (RFC 3986 §3.3).
const fn is_plain(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'/' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@'
        )
}

/// The same as a table, since every byte of every path is asked for.
const PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = is_plain(byte as u8);
        byte += 1;
    }
    table
};

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Decodes unreserved triplets, writes the others in upper case, and encodes what may not stand in a path as it is
/// (`{`, `"`, raw UTF-8). Up to `first` there is nothing to do.
fn decode(path: &str, first: usize) -> Result<String, BadPath> {
    let mut decoded = String::with_capacity(path.len() + 8);
    decoded.push_str(&path[..first]);
    let mut rest = path[first..].char_indices();
    while let Some((at, c)) = rest.next() {
        match c {
            '%' => {
                let triplet = first + at;
                let byte = path
                    .get(triplet + 1..triplet + 3)
                    .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
                    .and_then(|digits| u8::from_str_radix(digits, 16).ok());
                let Some(byte) = byte else {
                    return Err(BadPath::Malformed(path[triplet..].chars().take(3).collect()));
                };
                rest.next();
                rest.next();
                let text = || path[triplet..triplet + 3].to_owned();
                match byte {
                    b'/' | b'\\' => return Err(BadPath::EncodedSlash(text())),
                    0..=0x1f | 0x7f => return Err(BadPath::EncodedControl(text())),
                    byte if is_unreserved(byte) => decoded.push(char::from(byte)),
                    byte => push_triplet(&mut decoded, byte),
                }
            }
            '\\' | '#' | '?' | ' ' => return Err(BadPath::Character(c)),
            c if c.is_control() => return Err(BadPath::Character(c)),
            c if c.is_ascii() && is_plain(c as u8) => decoded.push(c),
            c => {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    push_triplet(&mut decoded, byte);
                }
            }
        }
    }
    Ok(decoded)
}

fn push_triplet(text: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    text.push('%');
    text.push(char::from(DIGITS[usize::from(byte >> 4)]));
    text.push(char::from(DIGITS[usize::from(byte & 15)]));
}

/// Kong's joining of a service's path with what is left of the request's path: by exactly one slash.
///
/// `/s` and `/req` give `/s/req`; so do `/s/` and `/req`. With nothing left, the service's path stays as it is.
pub fn join(service_path: &str, rest: &str) -> String {
    if rest.is_empty() && !service_path.is_empty() {
        return service_path.to_owned();
    }
    let base = service_path.strip_suffix('/').unwrap_or(service_path);
    let rest = rest.strip_prefix('/').unwrap_or(rest);
    let mut joined = String::with_capacity(base.len() + 1 + rest.len());
    joined.push_str(base);
    joined.push('/');
    joined.push_str(rest);
    joined
}

/// What is left of `path` after `prefix`, when `prefix` ends at the end of a segment; otherwise nothing.
///
/// The rest is empty or begins with `/`: `/api` leaves `/x` of `/api/x` and nothing of `/api`, and does not match
/// `/apix`. A prefix with a slash at its end asks for one: `/api/` does not match `/api`.
pub fn strip_prefix<'p>(prefix: &str, path: &'p str) -> Option<&'p str> {
    let rest = path.strip_prefix(prefix)?;
    if prefix.ends_with('/') {
        return path.get(prefix.len() - 1..);
    }
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(target: &str) -> Result<String, String> {
        let uri: Uri = target.parse().map_err(|error| format!("{error}"))?;
        NormalPath::parse(&uri).map(|path| path.as_str().to_owned()).map_err(|error| error.to_string())
    }

    #[test]
    fn targets_are_normalised() {
        for (sent, expected) in [
            ("/", "/"),
            ("/a/b?x=%2f..", "/a/b?x=%2f.."),
            ("/%7Euser/%61", "/~user/a"),
            ("/a%3ab%c3%bc", "/a%3Ab%C3%BC"),
            ("/ü", "/%C3%BC"),
            ("/a//b/", "/a//b/"),
            ("/a/./b/.", "/a/b/"),
            ("/./", "/"),
            ("/a/%2e/b", "/a/b"),
            ("/...", "/..."),
            ("/.well-known/x", "/.well-known/x"),
            ("/a;v=1/b", "/a;v=1/b"),
            ("/%252e%252e/", "/%252e%252e/"),
            ("/a%3Fb?c", "/a%3Fb?c"),
            ("/{id}", "/%7Bid%7D"),
            ("http://host", "/"),
            ("http://host?q", "/?q"),
            ("http://host/%41?q", "/A?q"),
            ("*", "*"),
        ] {
            assert_eq!(uri(sent).as_deref(), Ok(expected), "{sent}");
        }
    }

    #[test]
    fn ambiguous_targets_are_refused() {
        for (sent, expected) in [
            ("/a%2fb", "the path contains an encoded slash or backslash `%2f`"),
            ("/a%2Fb", "the path contains an encoded slash or backslash `%2F`"),
            ("/a%5cb", "the path contains an encoded slash or backslash `%5c`"),
            ("/a\\b", "the path contains the character '\\\\'"),
            ("/a%00", "the path contains the encoded control character `%00`"),
            ("/a%0d%0aX: y", "invalid uri character"),
            ("/a%0d%0aX", "the path contains the encoded control character `%0d`"),
            ("/a%7f", "the path contains the encoded control character `%7f`"),
            ("/a%", "the path contains the malformed percent-encoding `%`"),
            ("/a%4", "the path contains the malformed percent-encoding `%4`"),
            ("/a%+1", "the path contains the malformed percent-encoding `%+1`"),
            ("/a%zzb", "the path contains the malformed percent-encoding `%zz`"),
            ("/a%é", "the path contains the malformed percent-encoding `%é`"),
            ("/a/../b", "the path contains the dot segment `..`"),
            ("/..", "the path contains the dot segment `..`"),
            ("/a/%2e%2E/b", "the path contains the dot segment `..`"),
            ("/a/.%2e", "the path contains the dot segment `..`"),
            ("/a/..;/b", "the path contains the dot segment `..;`"),
            ("/a/..%3bx/b", "the path contains the dot segment `..%3Bx`"),
            ("/a/.;/b", "the path contains the dot segment `.;`"),
            ("/a/..%3B;/b", "the path contains the dot segment `..%3B;`"),
            ("host:443", "the request target `host:443` is not a path"),
        ] {
            assert_eq!(uri(sent).unwrap_err(), expected, "{sent}");
        }
        for (sent, expected) in [
            ("/a#b", "the path contains the character '#'"),
            ("/a?b#c", "the path contains the character '#'"),
            ("/a b", "the path contains the character ' '"),
            ("/a\0", "the path contains the character '\\0'"),
            ("a", "the request target `a` is not a path"),
        ] {
            let error = NormalPath::parse_str(sent).unwrap_err();
            assert_eq!(error.to_string(), expected, "{sent}");
        }
    }

    #[test]
    fn parts_are_told_apart() {
        let path = NormalPath::parse_str("/%41?x?y").unwrap();
        assert_eq!((path.path(), path.query()), ("/A", Some("x?y")));
        let path = NormalPath::parse_str("/a?").unwrap();
        assert_eq!((path.path(), path.query()), ("/a", Some("")));
        let path = NormalPath::parse_str("/a").unwrap();
        assert_eq!((path.path(), path.query(), path.as_str()), ("/a", None, "/a"));
    }

    #[test]
    fn a_normal_path_is_borrowed() {
        assert!(matches!(normalise("/a/.b/c.d"), Ok(Cow::Borrowed(_))));
    }

    #[test]
    fn prefixes_are_stripped_by_whole_segments_and_joined_by_one_slash() {
        for (prefix, path, service, expected) in [
            ("/t", "/t/req", "/s", Some("/s/req")),
            ("/t", "/t/req", "/s/", Some("/s/req")),
            ("/t", "/t", "/s", Some("/s")),
            ("/t", "/t/", "/s", Some("/s/")),
            ("/t", "/t", "", Some("/")),
            ("/t", "/t", "/", Some("/")),
            ("/", "/req", "", Some("/req")),
            ("/", "/req", "/s", Some("/s/req")),
            ("/t/", "/t/req", "/s", Some("/s/req")),
            ("/t/", "/t", "/s", None),
            ("/api", "/apix", "/s", None),
            ("/api", "/ap", "/s", None),
        ] {
            let joined = strip_prefix(prefix, path).map(|rest| join(service, rest));
            assert_eq!(joined.as_deref(), expected, "{prefix} {path} {service}");
        }
    }

    proptest::proptest! {
        #[test]
        fn normalising_is_idempotent(path in "/[a-zA-Z0-9./;%2eEfF\\\\#\u{e9}{}]{0,24}") {
            if let Ok(once) = normalise(&path) {
                let twice = normalise(&once).map(Cow::into_owned);
                proptest::prop_assert_eq!(twice.as_deref(), Ok(&*once));
            }
        }
    }
}
