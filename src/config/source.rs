//! Source files and places in them.
//!
//! A [`Span`] carries its file, so that a value decoded from `gateway.yaml` can be pointed at long after the
//! file was read, by stages that know nothing of files, and in a generation that is no longer the current one.
//! Positions are byte offsets; lines and columns (both from 1, columns in characters) are computed on demand.

use std::fmt;
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A text file as it was read: its path as the user would write it, its text, and where its lines begin.
pub struct Source {
    path: PathBuf,
    text: String,
    line_starts: Vec<usize>,
}

impl Source {
    /// Takes `text` as the content of `path`. The path is only for display.
    pub fn new(path: impl Into<PathBuf>, text: impl Into<String>) -> Arc<Source> {
        let text = text.into();
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Arc::new(Source { path: path.into(), text, line_starts })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Line and column, both from 1; the column counts characters.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let offset = self.clamp(offset);
        let (line, start) = self.line_of(offset);
        (line, self.text[start..offset].chars().count() + 1)
    }

    /// The line (from 1) of a byte, and where it begins.
    pub(super) fn line_of(&self, offset: usize) -> (usize, usize) {
        let line = self.line_starts.partition_point(|start| *start <= offset);
        (line, self.line_starts[line - 1])
    }

    /// The text of a line (from 1) without its line break; empty when there is no such line.
    pub fn line(&self, line: usize) -> &str {
        &self.text[self.line_range(line)]
    }

    /// The place `range` (bytes), cut to the file.
    pub fn span(self: &Arc<Self>, range: Range<usize>) -> Span {
        let start = self.clamp(range.start);
        Span { source: self.clone(), start, end: self.clamp(range.end).max(start), expanded: false }
    }

    /// The place of `length` characters at a line and column (both from 1), as compilers report them.
    pub fn span_at(self: &Arc<Self>, line: usize, column: usize, length: usize) -> Span {
        let range = self.line_range(line);
        let text = &self.text[range.clone()];
        let byte = |n: usize| text.char_indices().nth(n).map_or(text.len(), |(at, _)| at);
        let first = column.saturating_sub(1);
        let start = range.start + byte(first);
        self.span(start..range.start + byte(first.saturating_add(length)))
    }

    /// A whole line (from 1) without its indentation, for compilers that report no column.
    pub fn line_span(self: &Arc<Self>, line: usize) -> Span {
        let range = self.line_range(line);
        let text = &self.text[range.clone()];
        let indent = text.len() - text.trim_start().len();
        let start = range.start + indent;
        self.span(start..start + text.trim().len())
    }

    fn line_range(&self, line: usize) -> Range<usize> {
        let Some(start) = line.checked_sub(1).and_then(|index| self.line_starts.get(index)) else {
            return self.text.len()..self.text.len();
        };
        let end = self.line_starts.get(line).map_or(self.text.len(), |e| e - 1);
        let text = &self.text[*start..end];
        *start..*start + text.trim_end_matches('\r').len()
    }

    /// The nearest character boundary at or before `offset`.
    fn clamp(&self, offset: usize) -> usize {
        self.text.floor_char_boundary(offset.min(self.text.len()))
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({})", self.path.display())
    }
}

/// A place in a file.
#[derive(Clone)]
pub struct Span {
    source: Arc<Source>,
    start: usize,
    end: usize,
    expanded: bool,
}

impl Span {
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    pub fn path(&self) -> &Path {
        self.source.path()
    }

    /// Byte offsets in the source.
    pub fn range(&self) -> Range<usize> {
        self.start..self.end
    }

    /// The line, from 1.
    pub fn line(&self) -> usize {
        self.source.position(self.start).0
    }

    /// The column in characters, from 1.
    pub fn column(&self) -> usize {
        self.source.position(self.start).1
    }

    /// The text as it stands in the file: `${VAR}`, never what it expanded to.
    pub fn text(&self) -> &str {
        &self.source.text[self.start..self.end]
    }

    /// The part of the place on its first line, for a caret: mappings span many lines.
    pub fn first_line(&self) -> Range<usize> {
        let line = self.source.line_range(self.line());
        self.start..self.end.min(line.end).max(self.start)
    }

    /// How a value that was read here may be shown to people, between backticks.
    ///
    /// A value that came out of `${…}` may be a secret: the expression is shown in its place.
    pub fn quote(&self, value: impl fmt::Display) -> String {
        if self.expanded { format!("`{}`", &self.source.text[self.first_line()]) } else { format!("`{value}`") }
    }

    /// Whether the value here came out of a `${…}`.
    pub fn is_expanded(&self) -> bool {
        self.expanded
    }

    /// To a place in `source` that is `by` bytes further.
    pub(super) fn move_to(&mut self, source: &Arc<Source>, by: isize) {
        self.source = source.clone();
        self.start = self.start.strict_add_signed(by);
        self.end = self.end.strict_add_signed(by);
    }

    pub(super) fn expanded(mut self) -> Span {
        self.expanded = true;
        self
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// `gateway.yaml:7:3`
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.source.position(self.start);
        write!(f, "{}:{line}:{column}", self.path().display())
    }
}

/// A value with the place it was written at.
#[derive(Clone, Debug)]
pub struct Spanned<T> {
    pub value: T,
    pub span: Span,
}

impl<T> Spanned<T> {
    pub fn new(value: T, span: Span) -> Spanned<T> {
        Spanned { value, span }
    }
}

impl<T: fmt::Display> Spanned<T> {
    /// The value between backticks, or the `${…}` it came from.
    pub fn quoted(&self) -> String {
        self.span.quote(&self.value)
    }
}

impl<T> Deref for Spanned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}
