//! YAML text to a [`Node`] tree, once, keeping every position.
//!
//! What YAML allows and a configuration must not have is refused here: duplicate keys (both places shown), several
//! documents, tags of one's own, keys that aren't scalars, and aliases that multiply (a "billion laughs" file).
//! Anchors, aliases and merge keys (`<<`) work. Scalars expand `${…}` here, after the parser has cut them out.

use std::collections::HashMap;
use std::iter::Peekable;
use std::sync::Arc;
use std::vec;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, StrInput, Tag};

use super::diagnostic::{Diagnostic, Diagnostics};
use super::expand::Expander;
use super::node::{Entry, Map, Node, Value};
use super::scalar;
use super::source::{Source, Span};

/// Nodes that aliases may add in one file. A real file reuses a few blocks; a bomb makes billions.
const MAX_COPIED: usize = 100_000;
/// Levels of nesting, through aliases as well: decoders recurse.
const MAX_DEPTH: usize = 64;

/// What a text holds.
pub(super) struct Parsed {
    pub root: Node,
    pub has_anchors: bool,
}

/// Items of a list that are known, and were cut out of the text.
pub(super) struct Cut {
    /// Where the item before them begins, in the text that is left.
    pub after: usize,
    /// How deep in the document their list is.
    pub depth: usize,
    /// Bytes that were cut out.
    pub length: usize,
    pub items: Vec<Node>,
}

/// The document in `source`; `None` when it has none or breaks YAML's grammar, which is then reported.
pub(super) fn parse(
    source: &Arc<Source>,
    expander: &mut Expander<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Parsed> {
    read(source, source.text(), Vec::new(), Some(expander), diagnostics)
}

/// As [`parse`], where `left` is the text without these cuts. `None`, too, when one of them doesn't fit into what is found around it.
pub(super) fn parse_around(
    source: &Arc<Source>,
    left: &str,
    cuts: Vec<Cut>,
    expander: &mut Expander<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Parsed> {
    read(source, left, cuts, Some(expander), diagnostics)
}

/// As [`parse`], for a document that is none of the gateway's own: `${…}` in it means nothing.
pub(super) fn parse_foreign(source: &Arc<Source>, diagnostics: &mut Diagnostics) -> Option<Node> {
    read(source, source.text(), Vec::new(), None, diagnostics).map(|parsed| parsed.root)
}

fn read(
    source: &Arc<Source>,
    text: &str,
    cuts: Vec<Cut>,
    expander: Option<&mut Expander<'_>>,
    diagnostics: &mut Diagnostics,
) -> Option<Parsed> {
    let options = granit_parser::options! {
        emit_comments: false,
        emit_unresolved_aliases: true,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
        max_directive_bytes: 256,
    };
    let mut builder = Builder {
        source,
        events: Parser::new_from_str_with_options(text, options),
        cuts: cuts.into_iter().peekable(),
        passed: 0,
        anchors: HashMap::new(),
        copied: 0,
        expander,
        diagnostics,
    };
    // Stop has been reported already.
    let root = builder.document().unwrap_or_default()?;
    builder.cuts.next().is_none().then_some(Parsed { root, has_anchors: !builder.anchors.is_empty() })
}

/// The file can't be read further; the reason is among the diagnostics.
struct Stop;

struct Anchored {
    node: Node,
    size: usize,
    height: usize,
}

struct Builder<'s, 'd, 'e> {
    source: &'s Arc<Source>,
    events: Parser<'s, StrInput<'s>>,
    cuts: Peekable<vec::IntoIter<Cut>>,
    /// Bytes of the source that were cut out before what is read now.
    passed: usize,
    anchors: HashMap<usize, Anchored>,
    copied: usize,
    expander: Option<&'d mut Expander<'e>>,
    diagnostics: &'d mut Diagnostics,
}

impl<'s> Builder<'s, '_, '_> {
    fn document(&mut self) -> Result<Option<Node>, Stop> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(root),
                Event::DocumentStart(..) if root.is_some() => {
                    let help = "keep one document, or one file for each";
                    self.refuse(&span, "a second YAML document begins here", Some(help));
                    return Ok(root);
                }
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                event => root = Some(self.node(event, span, 0)?),
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'s>, Span), Stop> {
        match self.events.next() {
            Some(Ok((event, span))) => {
                let range = span.byte_range().unwrap_or(0..0);
                Ok((event, self.source.span(range.start + self.passed..range.end + self.passed)))
            }
            Some(Err(error)) => self.syntax(&error),
            // The parser ends after StreamEnd, which is never read past.
            None => Err(Stop),
        }
    }

    fn syntax<T>(&mut self, error: &ScanError) -> Result<T, Stop> {
        let mark = error.marker();
        let span = match mark.byte_offset() {
            Some(at) => self.source.span(at..at + 1),
            None => self.source.span_at(mark.line(), mark.col() + 1, 1),
        };
        self.refuse(&span, format!("not YAML: {}", error.kind()), None);
        Err(Stop)
    }

    fn refuse(&mut self, span: &Span, message: impl Into<String>, help: Option<&str>) {
        let diagnostic = Diagnostic::error(span, message);
        self.diagnostics.push(match help {
            Some(help) => diagnostic.help(help),
            None => diagnostic,
        });
    }

    fn node(&mut self, event: Event<'s>, span: Span, depth: usize) -> Result<Node, Stop> {
        if depth >= MAX_DEPTH {
            self.refuse(&span, "nested too deep", None);
            return Err(Stop);
        }
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let node = self.scalar(&text, style, tag.as_deref(), span);
                Ok(self.anchored(anchor, node))
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.collection_tag(tag.as_deref(), "seq", &span);
                let node = self.list(span, depth)?;
                Ok(self.anchored(anchor, node))
            }
            Event::MappingStart(_, anchor, tag) => {
                self.collection_tag(tag.as_deref(), "map", &span);
                let node = self.map(span, depth)?;
                Ok(self.anchored(anchor, node))
            }
            Event::Alias(anchor) => self.alias(anchor, span, depth),
            Event::UnresolvedAlias(name) => {
                self.refuse(&span, format!("the anchor `&{name}` is not defined"), None);
                Ok(Node::new(Value::Broken, span))
            }
            _ => {
                self.refuse(&span, "not YAML: expected a value", None);
                Err(Stop)
            }
        }
    }

    fn list(&mut self, start: Span, depth: usize) -> Result<Node, Stop> {
        // Most lists have one item, of which a vector would make room for four.
        let mut items = Vec::with_capacity(1);
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Node::new(Value::List(items), self.to(&start, &span)));
            }
            let begin = span.range().start - self.passed;
            items.push(self.node(event, span, depth + 1)?);
            if let Some(cut) = self.cuts.next_if(|cut| (cut.after, cut.depth) == (begin, depth)) {
                items.extend(cut.items);
                self.passed += cut.length;
            }
        }
    }

    fn map(&mut self, start: Span, depth: usize) -> Result<Node, Stop> {
        let mut map = Map::default();
        let mut merged = Vec::new();
        loop {
            let (event, key) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                self.merge(&mut map, merged);
                return Ok(Node::new(Value::Map(map.into()), self.to(&start, &key)));
            }
            let name = match event {
                Event::Scalar(text, style, ..) => Some((text.into_owned(), style)),
                event => {
                    // Read past it, so that what follows is still checked.
                    self.node(event, key.clone(), depth + 1)?;
                    self.refuse(&key, "a key must be a plain word or a string", None);
                    None
                }
            };
            let (event, span) = self.next()?;
            let node = self.node(event, span, depth + 1)?;
            match name {
                None => {}
                Some((name, ScalarStyle::Plain)) if name == "<<" => merged.push((key, node)),
                Some((name, _)) => self.insert(&mut map, name, key, node),
            }
        }
    }

    /// The first of two equal keys is kept: either would be a guess, and the file is refused anyway.
    fn insert(&mut self, map: &mut Map, name: String, key: Span, node: Node) {
        if let Some(first) = map.get(&name) {
            let message = format!("the key `{name}` is written twice in one mapping");
            let diagnostic = Diagnostic::error(&key, message).related(&first.key, "first here");
            self.diagnostics.push(diagnostic);
        } else {
            map.insert(name, Entry { key, node });
        }
    }

    /// Merge keys (yaml.org/type/merge): a mapping or a list of them; what is written here wins, then the earlier.
    fn merge(&mut self, map: &mut Map, merged: Vec<(Span, Node)>) {
        for (key, node) in merged {
            let sources = match node.value {
                Value::List(items) => items,
                _ => vec![node],
            };
            for source in sources {
                match source.value {
                    Value::Map(entries) => {
                        for (name, entry) in *entries {
                            map.entry(name).or_insert(entry);
                        }
                    }
                    Value::Broken => {}
                    _ => {
                        let help = "write `<<: *name`, where `&name` marks a mapping";
                        self.refuse(&key, "`<<` merges mappings only", Some(help));
                    }
                }
            }
        }
    }

    fn alias(&mut self, anchor: usize, span: Span, depth: usize) -> Result<Node, Stop> {
        let Some(anchored) = self.anchors.get(&anchor) else {
            self.refuse(&span, "an alias inside the value it stands for", None);
            return Ok(Node::new(Value::Broken, span));
        };
        self.copied = self.copied.saturating_add(anchored.size);
        let deep = depth + anchored.height > MAX_DEPTH;
        if self.copied > MAX_COPIED || deep {
            self.refuse(&span, "aliases multiply this file beyond reason", None);
            return Err(Stop);
        }
        Ok(anchored.node.clone())
    }

    fn anchored(&mut self, anchor: usize, node: Node) -> Node {
        // 0 is the parser's word for "no anchor".
        if anchor != 0 {
            let (size, height) = measure(&node);
            let node = node.clone();
            self.anchors.insert(anchor, Anchored { node, size, height });
        }
        node
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, span: Span) -> Node {
        let plain = style == ScalarStyle::Plain;
        let (text, span) = match self.expander.as_mut().and_then(|expander| expander.expand(text)) {
            None => (text.to_owned(), span),
            Some(Ok(expanded)) => (expanded, span.expanded()),
            Some(Err(failures)) => {
                self.unexpanded(failures, &span);
                return Node::new(Value::Broken, span);
            }
        };
        let value = match tag.map(|tag| tag.core_suffix().unwrap_or("")) {
            None if plain => scalar::resolve(&text),
            None | Some("str") => Value::String(text.clone()),
            Some("int" | "float" | "bool" | "null") => scalar::resolve(&text),
            Some(_) => {
                self.refuse(&span, "YAML tags of one's own are not supported", None);
                Value::Broken
            }
        };
        let expanded = span.is_expanded().then_some(text);
        Node { value, span, expanded }
    }

    /// Points at each expression inside the scalar; at the whole of it where quoting hides the expression.
    fn unexpanded(&mut self, failures: Vec<super::expand::Failure>, span: &Span) {
        let mut from = 0;
        for failure in failures {
            let found = span.text()[from..].find(&failure.expression);
            let place = found.map_or_else(
                || span.clone(),
                |at| {
                    let start = from + at;
                    from = start + failure.expression.len();
                    let base = span.range().start;
                    self.source.span(base + start..base + from)
                },
            );
            self.refuse(&place, failure.message, failure.help.as_deref());
        }
    }

    fn collection_tag(&mut self, tag: Option<&Tag>, allowed: &str, span: &Span) {
        if tag.is_some_and(|tag| tag.core_suffix() != Some(allowed)) {
            self.refuse(span, "YAML tags of one's own are not supported", None);
        }
    }

    fn to(&self, start: &Span, end: &Span) -> Span {
        self.source.span(start.range().start..end.range().end)
    }
}

/// How many nodes there are in a tree, and how many levels.
fn measure(node: &Node) -> (usize, usize) {
    let children: Vec<&Node> = match &node.value {
        Value::List(items) => items.iter().collect(),
        Value::Map(map) => map.values().map(|entry| &entry.node).collect(),
        _ => Vec::new(),
    };
    children.iter().fold((1, 1), |(size, height), child| {
        let (s, h) = measure(child);
        (size + s, height.max(h + 1))
    })
}
