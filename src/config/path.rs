//! The paths of a route: `/prefix`, `=/exact`, `/users/{id}` and `~/regex`.
//!
//! What is written is normalised as a request's path is (RFC 3986 §6.2.2), so that both can be compared byte by byte.
//! A path that no normalised request could have is refused. How well a path matches, and which wins, is the router's
//! business.

use std::borrow::Cow;

use regex::Regex;

use super::matching::regex_reason;

/// One entry of a route's `paths`.
#[derive(Clone, Debug)]
pub enum PathPattern {
    /// `=/api/users`: this path and no other.
    Exact(String),
    /// `/api/users`: this path and all below it, by whole segments. With a slash at the end, only what is below.
    Prefix(String),
    /// `/users/{id}`: as many segments as are written, each `{name}` standing for one that isn't empty.
    Template(Vec<Segment>),
    /// `~/users/(?<id>\d+)`: matches from the beginning of the path, not necessarily to its end, as in Kong. Kept as
    /// written, without the `~`, and compiled.
    Regex { source: String, regex: Regex },
}

/// One segment of a [`PathPattern::Template`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Segment {
    Literal(String),
    Parameter(String),
}

/// As it would be written, normalised: two patterns that are shown alike match alike.
impl std::fmt::Display for PathPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PathPattern::Exact(path) => write!(f, "={path}"),
            PathPattern::Prefix(path) => f.write_str(path),
            PathPattern::Template(segments) => segments.iter().try_for_each(|segment| match segment {
                Segment::Literal(text) => write!(f, "/{text}"),
                Segment::Parameter(name) => write!(f, "/{{{name}}}"),
            }),
            PathPattern::Regex { source, .. } => write!(f, "~{source}"),
        }
    }
}

impl PathPattern {
    pub(super) fn parse(text: &str) -> Result<PathPattern, String> {
        if let Some(source) = text.strip_prefix('~') {
            return PathPattern::regex(source);
        }
        if let Some(path) = text.strip_prefix('=') {
            return Ok(PathPattern::Exact(normal_path(path)?));
        }
        if text.starts_with('/') && text.contains(['{', '}']) {
            return template(text).map(PathPattern::Template);
        }
        Ok(PathPattern::Prefix(normal_path(text)?))
    }

    /// A regular expression, anchored at its beginning.
    pub(super) fn regex(source: &str) -> Result<PathPattern, String> {
        // SECURITY: compiled alone first, since `a)|(b` would close the group below and lose its anchor.
        Regex::new(source).map_err(|e| regex_reason(&e))?;
        // The group keeps an alternative, `/a|/b`, behind the anchor.
        let regex = Regex::new(&format!("^(?:{source})")).map_err(|e| regex_reason(&e))?;
        Ok(PathPattern::Regex { source: source.to_owned(), regex })
    }

    /// What makes two patterns match the same: the names of parameters don't count.
    pub(super) fn identity(&self) -> Cow<'_, str> {
        match self {
            PathPattern::Prefix(path) => path.into(),
            PathPattern::Template(segments) => segments
                .iter()
                .map(|segment| match segment {
                    Segment::Literal(text) => format!("/{text}"),
                    Segment::Parameter(_) => "/{}".to_owned(),
                })
                .collect(),
            other => other.to_string().into(),
        }
    }
}

fn template(text: &str) -> Result<Vec<Segment>, String> {
    let mut segments = Vec::new();
    let mut parts = text.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let inner = part.strip_prefix('{').and_then(|p| p.strip_suffix('}'));
        match inner {
            Some(name) => {
                let letters = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
                if name.is_empty() || !name.bytes().all(letters) {
                    return Err("a parameter is `{name}`, of letters, digits and `_`".to_owned());
                }
                let parameter = Segment::Parameter(name.to_owned());
                if segments.contains(&parameter) {
                    return Err("two parameters have one name".to_owned());
                }
                segments.push(parameter);
            }
            None if part.contains(['{', '}']) => {
                return Err("a parameter takes a whole segment, as in `/users/{id}`".to_owned());
            }
            None if part.is_empty() && parts.peek().is_some() => {
                return Err("a path has no empty segments".to_owned());
            }
            None => {
                let path = normal_path(&format!("/{part}"))?;
                segments.push(Segment::Literal(path[1..].to_owned()));
            }
        }
    }
    Ok(segments)
}

/// The path as a normalised request would have it, or why none has it.
fn normal_path(path: &str) -> Result<String, String> {
    if !path.starts_with('/') {
        return Err("a path begins with `/`, or with `~` when it is a regular expression".to_owned());
    }
    let mut out = String::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => out.push_str(&escape(&mut bytes)?),
            b'?' | b'#' => {
                return Err("a path has no `?` or `#`; use `query` for parameters".to_owned());
            }
            b'*' => {
                return Err("a path has no `*`: it matches all below it anyway".to_owned());
            }
            b'\\' | b'"' | b'<' | b'>' | b'^' | b'`' | b'|' => {
                return Err(format!("`{}` must be percent-encoded in a path", byte as char));
            }
            _ if byte.is_ascii_graphic() => out.push(byte as char),
            _ => {
                return Err("spaces and letters beyond ASCII must be percent-encoded".to_owned());
            }
        }
    }
    // After decoding: `%2e%2e` is `..` as well.
    let inner = out.strip_suffix('/').unwrap_or(&out);
    if out == "//" || inner.split('/').skip(1).any(|s| matches!(s, "" | "." | "..")) {
        return Err("a path has no empty segments and no `.` or `..`".to_owned());
    }
    Ok(out)
}

/// RFC 3986 §6.2.2: unreserved characters are decoded, other escapes get capitals.
fn escape(bytes: &mut std::str::Bytes<'_>) -> Result<String, String> {
    let mut digit = || bytes.next().and_then(|b| (b as char).to_digit(16));
    let (Some(high), Some(low)) = (digit(), digit()) else {
        return Err("`%` is followed by two hexadecimal digits".to_owned());
    };
    // Two hexadecimal digits fit into a byte.
    let byte = (high * 16 + low) as u8;
    match byte {
        b'/' | b'\\' | 0 => Err("an encoded slash, backslash or NUL never reaches a route".to_owned()),
        b'-' | b'.' | b'_' | b'~' => Ok((byte as char).to_string()),
        _ if byte.is_ascii_alphanumeric() => Ok((byte as char).to_string()),
        _ => Ok(format!("%{byte:02X}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_apart_and_normalised() {
        let cases = [
            ("/", "prefix /"),
            ("/api/users", "prefix /api/users"),
            ("/api/", "prefix /api/"),
            ("/%41b%2d%c3%a4", "prefix /Ab-%C3%A4"),
            ("=/api", "exact =/api"),
            ("/users/{id}", "template /users/{id}"),
            ("/users/{id}/", "template /users/{id}/"),
            (r"~/users/(?<id>\d+)$", r"regex ~/users/(?<id>\d+)$"),
            ("api", "a path begins with `/`, or with `~` when it is a regular expression"),
            ("", "a path begins with `/`, or with `~` when it is a regular expression"),
            ("//", "a path has no empty segments and no `.` or `..`"),
            ("/a//b", "a path has no empty segments and no `.` or `..`"),
            ("/a/%2E%2e/b", "a path has no empty segments and no `.` or `..`"),
            ("/a//{b}", "a path has no empty segments"),
            ("~/a)|(/b", "unopened group"),
            ("/a/../b", "a path has no empty segments and no `.` or `..`"),
            ("/a?b", "a path has no `?` or `#`; use `query` for parameters"),
            ("/a/*", "a path has no `*`: it matches all below it anyway"),
            ("/a b", "spaces and letters beyond ASCII must be percent-encoded"),
            ("/a%2fb", "an encoded slash, backslash or NUL never reaches a route"),
            ("/a%2", "`%` is followed by two hexadecimal digits"),
            ("/u/{id}.json", "a parameter takes a whole segment, as in `/users/{id}`"),
            ("/u/{}", "a parameter is `{name}`, of letters, digits and `_`"),
            ("/{a}/{a}", "two parameters have one name"),
            ("~/a(", "unclosed group"),
            ("~/a(?=b)", "look-around, including look-ahead and look-behind, is not supported"),
        ];
        for (text, expected) in cases {
            let found = match PathPattern::parse(text) {
                Ok(pattern) => {
                    let kind = match pattern {
                        PathPattern::Exact(_) => "exact",
                        PathPattern::Prefix(_) => "prefix",
                        PathPattern::Template(_) => "template",
                        PathPattern::Regex { .. } => "regex",
                    };
                    format!("{kind} {pattern}")
                }
                Err(why) => why,
            };
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn a_regex_is_anchored_at_its_beginning_only() {
        let Ok(PathPattern::Regex { regex, .. }) = PathPattern::parse("~/a|/b") else {
            panic!("a regex");
        };
        let matched = ["/a", "/b/c", "/x/a", "/x/b"].map(|path| regex.is_match(path));
        assert_eq!(matched, [true, true, false, false]);
    }
}
