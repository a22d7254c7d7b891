//! Problems found in what the user wrote, collected and never stopped at.
//!
//! Every stage (configuration, manifests, script compilers) pushes into one [`Diagnostics`]; it is sorted by file and
//! line when shown. `gatewright check`, the reload log and the admin API all show the same text.
//! SECURITY: a message quotes values only through [`Span::quote`], which never shows what a `${…}` expanded to.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::source::{Span, Spanned};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Error,
    Warning,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// One problem: what is wrong, where, and what to do about it.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    pub severity: Severity,
    pub message: String,
    /// The file that the problem is in.
    pub file: PathBuf,
    /// Where in the file; absent when the file could not be read.
    pub span: Option<Span>,
    /// What to do, as a phrase.
    pub help: Option<String>,
    /// Text that, put in place of the span, mends it.
    pub fix: Option<String>,
    /// Other places that belong to the problem, such as the first of two equal names.
    pub related: Vec<(Span, String)>,
}

impl Diagnostic {
    pub fn error(span: &Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic::at(Severity::Error, span, message)
    }

    pub fn warning(span: &Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic::at(Severity::Warning, span, message)
    }

    fn at(severity: Severity, span: &Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic { span: Some(span.clone()), ..Diagnostic::in_file(severity, span.path(), message) }
    }

    /// A problem with a file as a whole: it can't be read, say.
    pub fn in_file(severity: Severity, file: &Path, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            severity,
            message: message.into(),
            file: file.to_owned(),
            span: None,
            help: None,
            fix: None,
            related: Vec::new(),
        }
    }

    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }

    /// Text to put in place of the span.
    pub fn fix(mut self, replacement: impl Into<String>) -> Diagnostic {
        self.fix = Some(replacement.into());
        self
    }

    /// Says which of the names that were right here comes nearest to `found`, if one comes near.
    pub fn nearest<'n>(self, found: &str, names: impl IntoIterator<Item = &'n str>) -> Diagnostic {
        match nearest(found, names) {
            Some(name) => self.help(format!("did you mean `{name}`?")).fix(name),
            None => self,
        }
    }

    /// A reference to something that is not defined, with the nearest of the names that are.
    pub fn undefined<'n>(
        what: &str,
        wanted: &Spanned<String>,
        names: impl IntoIterator<Item = &'n Spanned<String>>,
    ) -> Diagnostic {
        let message = format!("the {what} {} is not defined", wanted.quoted());
        let diagnostic = Diagnostic::error(&wanted.span, message);
        if wanted.span.is_expanded() {
            return diagnostic;
        }
        // SECURITY: a name that came out of `${…}` is not offered, since that would show it.
        let written = names.into_iter().filter(|name| !name.span.is_expanded());
        diagnostic.nearest(wanted, written.map(|name| name.as_str()))
    }

    pub fn related(mut self, span: &Span, label: impl Into<String>) -> Diagnostic {
        self.related.push((span.clone(), label.into()));
        self
    }

    /// Line and column from 1, and the length in characters (at least 1, within one line).
    pub fn position(&self) -> Option<(usize, usize, usize)> {
        self.span.as_ref().map(position)
    }

    fn to_json(&self) -> serde_json::Value {
        let mut object = json!({
            "severity": self.severity.as_str(),
            "message": self.message,
            "file": self.file.display().to_string(),
        });
        if let Some(span) = &self.span {
            let (line, column, length) = position(span);
            object["line"] = json!(line);
            object["column"] = json!(column);
            object["length"] = json!(length);
            object["source"] = json!(span.source().line(line));
        }
        if let Some(help) = &self.help {
            object["help"] = json!(help);
        }
        if let Some(fix) = &self.fix {
            object["fix"] = json!(fix);
        }
        if !self.related.is_empty() {
            let related = self.related.iter().map(|(span, label)| {
                let (line, column, length) = position(span);
                json!({
                    "file": span.path().display().to_string(),
                    "line": line, "column": column, "length": length, "message": label,
                })
            });
            object["related"] = related.collect();
        }
        object
    }
}

fn position(span: &Span) -> (usize, usize, usize) {
    let (line, column) = (span.line(), span.column());
    let length = span.source().text()[span.first_line()].chars().count();
    (line, column, length.max(1))
}

/// The collector.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    found: Vec<Diagnostic>,
}

impl Diagnostics {
    pub fn new() -> Diagnostics {
        Diagnostics::default()
    }

    /// Adds a problem, unless it is there already: an anchor used twice is wrong once.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        let range = |of: &Diagnostic| of.span.as_ref().map(Span::range);
        let same = |other: &Diagnostic| {
            other.message == diagnostic.message && other.file == diagnostic.file && range(other) == range(&diagnostic)
        };
        if !self.found.iter().any(same) {
            self.found.push(diagnostic);
        }
    }

    pub fn error(&mut self, span: &Span, message: impl Into<String>) {
        self.push(Diagnostic::error(span, message));
    }

    pub fn warning(&mut self, span: &Span, message: impl Into<String>) {
        self.push(Diagnostic::warning(span, message));
    }

    pub fn extend(&mut self, others: Diagnostics) {
        for diagnostic in others.found {
            self.push(diagnostic);
        }
    }

    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    pub fn count(&self, severity: Severity) -> usize {
        self.found.iter().filter(|d| d.severity == severity).count()
    }

    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// By file, then by place; problems of a file as a whole first.
    pub fn sorted(&self) -> Vec<&Diagnostic> {
        let mut all: Vec<_> = self.found.iter().collect();
        all.sort_by_key(|d| (&d.file, d.span.as_ref().map(|s| s.range().start)));
        all
    }

    /// One array, in the order of [`Diagnostics::sorted`].
    pub fn to_json(&self) -> serde_json::Value {
        self.sorted().into_iter().map(Diagnostic::to_json).collect()
    }
}

/// The name that comes nearest to `found`: at most one edit in three characters away (Damerau-Levenshtein distance),
/// whatever the case and whether words are joined by `-` or `_`; else one that `found` shortens.
pub fn nearest<'n>(found: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let plain = |s: &str| s.to_lowercase().replace('-', "_");
    let wanted = plain(found);
    let length = wanted.chars().count();
    // Of two letters one may be wrong, of one none: any other letter would be as near.
    let allowed = (length / 3).max(usize::from(length > 1));
    let distance = |name: &str| {
        let name = plain(name);
        let edits = strsim::damerau_levenshtein(&wanted, &name);
        let shortened = length >= 3 && name.starts_with(&wanted);
        (edits <= allowed || shortened).then_some(edits)
    };
    names
        .into_iter()
        .filter(|name| *name != found)
        .filter_map(|name| Some((distance(name)?, name)))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, name)| name)
}
