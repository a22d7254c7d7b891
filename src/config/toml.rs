//! TOML text to the same [`Node`] tree that YAML becomes.
//!
//! The text may be a part of a file (the header comment of a script): places are those in the whole file.

use std::ops::Range;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::diagnostic::Diagnostics;
use super::node::{Entry, Map, Node, Value};
use super::source::{Source, Span};

/// The document in `range` of `source`. Every mistake of grammar is reported, and what is sound is read nevertheless.
pub(super) fn parse(source: &Arc<Source>, range: Range<usize>, diagnostics: &mut Diagnostics) -> Node {
    let reader = Reader { source, offset: range.start };
    let whole = source.span(range.clone());
    let (table, errors) = DeTable::parse_recoverable(&source.text()[range]);
    for error in errors {
        let place = error.span().map_or(whole.clone(), |span| reader.span(span));
        diagnostics.error(&place, format!("not TOML: {}", error.message().trim()));
    }
    Node::new(Value::Map(reader.table(table.get_ref()).into()), whole)
}

struct Reader<'s> {
    source: &'s Arc<Source>,
    /// Where the text begins in the file.
    offset: usize,
}

impl Reader<'_> {
    fn span(&self, range: Range<usize>) -> Span {
        self.source.span(self.offset + range.start..self.offset + range.end)
    }

    fn table(&self, table: &DeTable<'_>) -> Map {
        let mut entries: Vec<_> = table.iter().collect();
        // The parser sorts by name; the order written is the one to check and show in.
        entries.sort_by_key(|(key, _)| key.span().start);
        let entry = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
            let name: &std::borrow::Cow<'_, str> = key.get_ref();
            let entry = Entry { key: self.span(key.span()), node: self.node(value) };
            (name.clone().into_owned(), entry)
        };
        entries.into_iter().map(entry).collect()
    }

    fn node(&self, value: &toml::Spanned<DeValue<'_>>) -> Node {
        let node = match value.get_ref() {
            DeValue::String(text) => Value::String(text.clone().into_owned()),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or(Value::Broken, |number| Value::Number(number.into())),
            DeValue::Float(number) => {
                number.as_str().parse().ok().and_then(serde_json::Number::from_f64).map_or(Value::Broken, Value::Number)
            }
            DeValue::Boolean(value) => Value::Bool(*value),
            // No field is a date: as a string it is reported where it stands, if it is not wanted.
            DeValue::Datetime(date) => Value::String(date.to_string()),
            DeValue::Array(items) => Value::List(items.iter().map(|item| self.node(item)).collect()),
            DeValue::Table(table) => Value::Map(self.table(table).into()),
        };
        Node::new(node, self.span(value.span()))
    }
}
