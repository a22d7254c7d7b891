//! Query strings as `application/x-www-form-urlencoded` pairs (WHATWG URL §5), order and repeated keys kept.
//!
//! Used where a script looks at or changes a query; one that nobody looks at is forwarded as it was sent.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What is written as it is: letters, digits, `*-._`; a space becomes `+`.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_').remove(b' ');

/// The decoded pairs of a query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Reads a query without its `?`. Malformed triplets stay as they are, and bytes that are not UTF-8 are replaced.
    pub fn parse(query: &str) -> Query {
        let pairs = pairs(query).map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        Query { pairs }
    }

    /// The first value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of `name`, in order.
    pub fn all<'q>(&'q self, name: &str) -> impl Iterator<Item = &'q str> {
        self.pairs.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All pairs, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(key, value)| (&**key, &**value))
    }

    /// Replaces all values of `name` by one, which takes the place of the first.
    pub fn set(&mut self, name: &str, value: &str) {
        let first = self.pairs.iter().position(|(key, _)| key == name);
        match first {
            None => self.add(name, value),
            Some(first) => {
                self.pairs[first].1 = value.to_owned();
                let mut at = 0;
                self.pairs.retain(|(key, _)| {
                    at += 1;
                    at <= first + 1 || key != name
                });
            }
        }
    }

    /// Adds a pair at the end.
    pub fn add(&mut self, name: &str, value: &str) {
        self.pairs.push((name.to_owned(), value.to_owned()));
    }

    /// Removes all values of `name`.
    pub fn remove(&mut self, name: &str) {
        self.pairs.retain(|(key, _)| key != name);
    }

    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The query as a string, without `?`.
    pub fn encode(&self) -> String {
        let mut query = String::new();
        for (name, value) in self.iter() {
            if !query.is_empty() {
                query.push('&');
            }
            encode_into(&mut query, name);
            query.push('=');
            encode_into(&mut query, value);
        }
        query
    }
}

/// The decoded pairs of a query, allocating only for those that hold `+` or `%`.
pub fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    })
}

fn decode(text: &str) -> Cow<'_, str> {
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        let decoded = percent_decode_str(&spaced).decode_utf8_lossy().into_owned();
        return Cow::Owned(decoded);
    }
    percent_decode_str(text).decode_utf8_lossy()
}

fn encode_into(query: &mut String, text: &str) {
    for piece in utf8_percent_encode(text, FORM) {
        if piece.contains(' ') {
            query.extend(piece.chars().map(|c| if c == ' ' { '+' } else { c }));
        } else {
            query.push_str(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_keep_their_order_and_repetitions() {
        let query = Query::parse("b=1&a=x+y&b=%C3%BC&&flag&=v&bad=%zz&u=%ff");
        let all: Vec<_> = query.iter().collect();
        assert_eq!(
            all,
            [("b", "1"), ("a", "x y"), ("b", "ü"), ("flag", ""), ("", "v"), ("bad", "%zz"), ("u", "\u{fffd}")]
        );
        assert_eq!(query.get("b"), Some("1"));
        assert_eq!(query.all("b").collect::<Vec<_>>(), ["1", "ü"]);
    }

    #[test]
    fn changes_are_encoded() {
        let mut query = Query::parse("b=1&a=2&b=3");
        query.set("b", "x&y =");
        query.add("ü", "a+b");
        query.remove("a");
        assert_eq!(query.encode(), "b=x%26y+%3D&%C3%BC=a%2Bb");
        query.set("new", "1");
        assert_eq!(query.get("new"), Some("1"));
        assert!(Query::parse("").is_empty());
    }

    proptest::proptest! {
        #[test]
        fn what_is_encoded_decodes_to_itself(pairs in proptest::collection::vec((".{0,8}", ".{0,8}"), 0..5)) {
            let mut query = Query::default();
            for (name, value) in &pairs {
                query.add(name, value);
            }
            // A pair of two empty strings is written `=`, and reads back as such.
            proptest::prop_assert_eq!(Query::parse(&query.encode()), query);
        }
    }
}
