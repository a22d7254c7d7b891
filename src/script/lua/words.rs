//! Luau's text as its words, for [`uses`](super::uses). The text has been compiled before, so it is known to be whole.

use crate::script::check::Place;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word<'a> {
    /// A name or a keyword.
    Name(&'a str),
    Number(&'a str),
    /// Without its quotes, as it stands there.
    Text(&'a str),
    /// A text with expressions in it.
    Interpolated,
    Sign(&'a str),
}

/// Longest first.
const SIGNS: &[&str] =
    &["...", "..=", "//=", "==", "~=", "<=", ">=", "..", "::", "->", "+=", "-=", "*=", "/=", "%=", "^=", "//"];

/// `None` when something in it is not known.
pub fn words(text: &str) -> Option<Vec<(Word<'_>, Place)>> {
    let mut reader = Reader { text, at: 0, place: Place { line: 1, column: 1 } };
    let mut words = Vec::new();
    loop {
        reader.skip_blank()?;
        if reader.rest().is_empty() {
            return Some(words);
        }
        let place = reader.place;
        words.push((reader.word()?, place));
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    place: Place,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn take(&mut self, bytes: usize) -> &'a str {
        let taken = &self.text[self.at..self.at + bytes];
        self.at += bytes;
        for char in taken.chars() {
            match char {
                '\n' => self.place = Place { line: self.place.line + 1, column: 1 },
                _ => self.place.column += 1,
            }
        }
        taken
    }

    fn skip_blank(&mut self) -> Option<()> {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start().len();
            self.take(blank);
            let rest = self.rest();
            if let Some(comment) = rest.strip_prefix("--") {
                let length = match long(comment) {
                    Some((_, _, length)) => 2 + length?,
                    None => rest.find('\n').unwrap_or(rest.len()),
                };
                self.take(length);
            } else if self.at == 0 && rest.starts_with("#!") {
                self.take(rest.find('\n').unwrap_or(rest.len()));
            } else if blank == 0 {
                return Some(());
            }
        }
    }

    fn word(&mut self) -> Option<Word<'a>> {
        let rest = self.rest();
        let first = rest.chars().next()?;
        if first.is_ascii_alphabetic() || first == '_' {
            let is_end = |c: char| !c.is_ascii_alphanumeric() && c != '_';
            return Some(Word::Name(self.take(rest.find(is_end).unwrap_or(rest.len()))));
        }
        if first.is_ascii_digit() || first == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit()) {
            return Some(Word::Number(self.take(number(rest))));
        }
        if let Some((from, to, length)) = long(rest) {
            return Some(Word::Text(&self.take(length?)[from..to]));
        }
        if matches!(first, '"' | '\'') {
            let quoted = self.take(quoted(rest, first)?);
            return Some(Word::Text(&quoted[1..quoted.len() - 1]));
        }
        if first == '`' {
            self.take(interpolated(rest)?);
            return Some(Word::Interpolated);
        }
        let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
        Some(Word::Sign(self.take(sign.map_or(first.len_utf8(), |sign| sign.len()))))
    }
}

/// How long a number is.
fn number(text: &str) -> usize {
    let is_hex = text.starts_with("0x") || text.starts_with("0X");
    let mut before = ' ';
    let is_end = |c: char| {
        let is_sign = matches!(c, '+' | '-') && !is_hex && matches!(before, 'e' | 'E');
        before = c;
        !(c.is_ascii_alphanumeric() || c == '_' || c == '.' || is_sign)
    };
    text.find(is_end).unwrap_or(text.len())
}

/// For a text in long brackets: where it begins and ends within them, and how long they are, unless they have no end.
fn long(text: &str) -> Option<(usize, usize, Option<usize>)> {
    let level = text.strip_prefix('[')?.bytes().take_while(|byte| *byte == b'=').count();
    let from = level + 2;
    if text.as_bytes().get(level + 1) != Some(&b'[') {
        return None;
    }
    let end = format!("]{}]", "=".repeat(level));
    let to = text[from..].find(&end).map(|length| from + length);
    Some((from, to.unwrap_or(from), to.map(|to| to + end.len())))
}

fn quoted(text: &str, quote: char) -> Option<usize> {
    let mut chars = text.char_indices().skip(1);
    while let Some((at, char)) = chars.next() {
        if char == '\\' {
            chars.next();
        } else if char == quote {
            return Some(at + 1);
        }
    }
    None
}

/// With the expressions in it, and the texts in them.
fn interpolated(text: &str) -> Option<usize> {
    let (mut at, mut depth) = (1, 0);
    while let Some(char) = text[at..].chars().next() {
        at += match char {
            '\\' => 1 + text[at + 1..].chars().next()?.len_utf8(),
            '`' if depth == 0 => return Some(at + 1),
            '`' => interpolated(&text[at..])?,
            '"' | '\'' if depth > 0 => quoted(&text[at..], char)?,
            '{' => {
                depth += 1;
                1
            }
            '}' => {
                depth -= 1;
                1
            }
            other => other.len_utf8(),
        };
    }
    None
}
