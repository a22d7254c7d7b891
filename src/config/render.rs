//! Diagnostics for people: the message, the place, the line with a caret, and what to do.

use std::io::IsTerminal;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet, normalize_untrusted_str};

use super::diagnostic::{Diagnostic, Diagnostics, Severity};
use super::source::Span;

/// Whether to colour: only what a person reads on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Plain,
    Coloured,
}

impl Style {
    /// Coloured when `output` is a terminal and `NO_COLOR` (no-color.org) is not set.
    pub fn of(output: &impl IsTerminal, env: &dyn Fn(&str) -> Option<String>) -> Style {
        let refused = env("NO_COLOR").is_some_and(|value| !value.is_empty());
        if output.is_terminal() && !refused { Style::Coloured } else { Style::Plain }
    }
}

impl Diagnostics {
    /// All of them, sorted, with a blank line between two; empty when there are none.
    pub fn render(&self, style: Style) -> String {
        let shown: Vec<_> = self.sorted().into_iter().map(|d| d.render(style)).collect();
        shown.join("\n\n")
    }
}

impl Diagnostic {
    pub fn render(&self, style: Style) -> String {
        let renderer = match style {
            Style::Plain => Renderer::plain(),
            Style::Coloured => Renderer::styled(),
        };
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        // SECURITY: messages quote what the user wrote; control characters must not reach the terminal.
        let title = level.primary_title(normalize_untrusted_str(&self.message));
        let mut group = match &self.span {
            Some(span) => self.snippets(Group::with_title(title), span),
            None => Group::with_title(title).element(Origin::path(self.file.display().to_string())),
        };
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(normalize_untrusted_str(help)));
        }
        renderer.render(&[group])
    }

    fn snippets<'a>(&'a self, mut group: Group<'a>, span: &'a Span) -> Group<'a> {
        let here = |of: &Span| std::sync::Arc::ptr_eq(of.source(), span.source());
        let (same, elsewhere): (Vec<_>, Vec<_>) = self.related.iter().partition(|(s, _)| here(s));
        let primary = AnnotationKind::Primary.span(caret(span));
        let context =
            same.into_iter().map(|(place, label)| AnnotationKind::Context.span(caret(place)).label(label.as_str()));
        group = group.element(snippet(span).annotation(primary).annotations(context));
        for (place, label) in elsewhere {
            let mark = AnnotationKind::Context.span(caret(place)).label(label.as_str());
            group = group.element(snippet(place).annotation(mark));
        }
        group
    }
}

fn snippet(span: &Span) -> Snippet<'_, annotate_snippets::Annotation<'_>> {
    Snippet::source(span.source().text()).path(span.path().display().to_string())
}

fn caret(span: &Span) -> std::ops::Range<usize> {
    span.first_line()
}
