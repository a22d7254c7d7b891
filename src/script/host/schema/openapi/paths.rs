//! Path templates of OpenAPI: which one a path is of.
//!
//! A segment is text, `{name}`, or both (`{name}.json`). Of several templates the one whose first different segment is more
//! definite counts: text, then both, then a name alone (3.1.0 §4.8.8.2 asks for the first only). A template that matches is looked
//! at for its methods by others.

use percent_encoding::percent_decode_str;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Piece {
    Text(String),
    Name(String),
}

/// A segment's pieces. The order is that of precedence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Text(String),
    Both(Vec<Piece>),
    Name(String),
}

/// A template, which stands below a server's path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Template {
    segments: Vec<Segment>,
}

impl Template {
    pub fn parse(template: &str) -> Result<Template, String> {
        let Some(below) = template.strip_prefix('/') else {
            return Err(format!("the path `{}` does not begin with `/`", template.escape_debug()));
        };
        let segments: Result<Vec<Segment>, String> = below.split('/').map(segment).collect();
        Ok(Template { segments: segments? })
    }

    /// How many segments a path of it has.
    pub fn length(&self) -> usize {
        self.segments.len()
    }

    /// The values of the names, decoded, when the path is of this template.
    pub fn matches<'t>(&'t self, path: &[String]) -> Option<Vec<(&'t str, String)>> {
        let mut values = Vec::new();
        for (segment, given) in self.segments.iter().zip(path) {
            match segment {
                Segment::Text(text) if text == given => {}
                Segment::Name(name) if !given.is_empty() => values.push((name.as_str(), given.clone())),
                Segment::Both(pieces) => take_pieces(pieces, given, &mut values)?,
                Segment::Text(_) | Segment::Name(_) => return None,
            }
        }
        (self.segments.len() == path.len()).then_some(values)
    }
}

/// The segments of a server's path, decoded: none of `/`.
pub fn base_segments(path: &str) -> Vec<String> {
    path.split('/').filter(|text| !text.is_empty()).map(decoded).collect()
}

/// A path's segments, decoded.
pub fn segments(path: &str) -> Vec<String> {
    path.strip_prefix('/').unwrap_or(path).split('/').map(decoded).collect()
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn segment(text: &str) -> Result<Segment, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let Some(close) = rest[open..].find('}').map(|at| open + at) else {
            return Err(format!("a brace is not closed in `{}`", text.escape_debug()));
        };
        if open > 0 {
            pieces.push(Piece::Text(decoded(&rest[..open])));
        } else if matches!(pieces.last(), Some(Piece::Name(_))) {
            return Err(format!("nothing tells where a value ends in `{}`", text.escape_debug()));
        }
        pieces.push(Piece::Name(rest[open + 1..close].to_owned()));
        rest = &rest[close + 1..];
    }
    if pieces.is_empty() {
        return Ok(Segment::Text(decoded(text)));
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(decoded(rest)));
    }
    Ok(match pieces.as_slice() {
        [Piece::Name(name)] => Segment::Name(name.clone()),
        _ => Segment::Both(pieces),
    })
}

/// A value ends where the text behind it first stands, at the end of the segment for the last.
fn take_pieces<'t>(pieces: &'t [Piece], given: &str, values: &mut Vec<(&'t str, String)>) -> Option<()> {
    let mut rest = given;
    for (index, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Text(text) => rest = rest.strip_prefix(text.as_str())?,
            Piece::Name(name) => {
                let end = match pieces.get(index + 1) {
                    Some(Piece::Text(text)) if index + 2 == pieces.len() => rest.len().checked_sub(text.len())?,
                    Some(Piece::Text(text)) => rest.find(text.as_str())?,
                    _ => rest.len(),
                };
                let value = rest.get(..end).filter(|value| !value.is_empty())?;
                values.push((name, value.to_owned()));
                rest = &rest[end..];
            }
        }
    }
    rest.is_empty().then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matched(template: &str, path: &str) -> Option<String> {
        let template = Template::parse(template).expect("a template");
        let values = template.matches(&segments(path))?;
        Some(values.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn paths_are_of_their_templates() {
        for (template, path, expected) in [
            ("/", "/", Some("")),
            ("/users/{id}", "/users/a%20b", Some("id=a b")),
            ("/users/{id}", "/users/", None),
            ("/users/{id}", "/users/7/x", None),
            ("/caf%C3%A9/{id}", "/café/7", Some("id=7")),
            ("/{name}.{ext}", "/a.b.json", Some("name=a ext=b.json")),
            ("/{name}.json", "/a.json.json", Some("name=a.json")),
            ("/{name}.json", "/.json", None),
            ("/v{major}/x", "/v2/x", Some("major=2")),
        ] {
            assert_eq!(matched(template, path).as_deref(), expected, "{template} {path}");
        }
    }

    #[test]
    fn the_more_definite_comes_first() {
        let parse = |text: &&str| Template::parse(text).expect("a template");
        let mut all: Vec<Template> = ["/a/{x}", "/{y}/b", "/a/b", "/a/{x}.json"].iter().map(parse).collect();
        all.sort();
        let first = ["/a/b", "/a/{x}.json", "/a/{x}", "/{y}/b"].iter().map(parse).collect::<Vec<_>>();
        assert_eq!(all, first);
    }

    #[test]
    fn templates_that_can_not_be_are_named() {
        let said = |text: &str| Template::parse(text).expect_err(text);
        assert_eq!(said("users"), "the path `users` does not begin with `/`");
        assert_eq!(said("/{a"), "a brace is not closed in `{a`");
        assert_eq!(said("/{a}{b}"), "nothing tells where a value ends in `{a}{b}`");
    }
}
