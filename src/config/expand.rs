//! `${VAR}`, `${VAR:-default}`, `${VAR:?message}` and `${file:/run/secrets/x}` within one scalar.
//!
//! Runs on scalars that the YAML parser has already cut out, so that a value can never add a key or a line. As in a
//! shell, `:-` and `:?` apply to a variable that is unset or empty, and a default may hold further expressions.
//! `$${` stands for a literal `${`; a `$` before anything else is just that. Keys are never expanded.

use std::io::Read;
use std::path::Path;

use super::seen::Seen;

/// A secret file larger than this is a mistake, or `/dev/zero`.
const MAX_FILE: u64 = 1024 * 1024;
const MAX_DEPTH: usize = 8;

/// Where values come from; remembers the files it read, for the watcher.
pub(super) struct Expander<'e> {
    pub env: &'e dyn Fn(&str) -> Option<String>,
    /// What relative `${file:…}` paths are relative to.
    pub directory: &'e Path,
    pub files: Seen,
}

/// An expression that could not be expanded.
#[derive(Debug, PartialEq)]
pub(super) struct Failure {
    /// The expression as written, to find its place in the source.
    pub expression: String,
    pub message: String,
    pub help: Option<String>,
}

impl Expander<'_> {
    /// The text with its expressions replaced; `None` when it has none. Reports every failure.
    pub fn expand(&mut self, text: &str) -> Option<Result<String, Vec<Failure>>> {
        if !text.contains("${") {
            return None;
        }
        let mut failures = Vec::new();
        let expanded = self.text(text, 0, &mut failures);
        Some(if failures.is_empty() { Ok(expanded) } else { Err(failures) })
    }

    fn text(&mut self, text: &str, depth: usize, failures: &mut Vec<Failure>) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            if rest[..at].ends_with('$') {
                out.push_str(&rest[..at]);
                out.push('{');
                rest = &rest[at + 2..];
                continue;
            }
            out.push_str(&rest[..at]);
            let Some(length) = expression_length(&rest[at..]) else {
                failures.push(failure(&rest[at..], "`${` without its `}`", "write `$${` for a literal `${`"));
                return out;
            };
            let expression = &rest[at..at + length];
            match self.expression(expression, depth, failures) {
                Ok(value) => out.push_str(&value),
                Err(failure) => failures.push(failure),
            }
            rest = &rest[at + length..];
        }
        out.push_str(rest);
        out
    }

    fn expression(&mut self, expression: &str, depth: usize, failures: &mut Vec<Failure>) -> Result<String, Failure> {
        let inner = &expression[2..expression.len() - 1];
        if let Some(path) = inner.strip_prefix("file:") {
            return self.file(expression, path);
        }
        let length = inner.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(inner.len());
        let (name, tail) = inner.split_at(length);
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(failure(
                expression,
                format!("`{expression}` does not name an environment variable"),
                "write `$${` for a literal `${`",
            ));
        }
        let value = (self.env)(name);
        let nonempty = value.clone().filter(|value| !value.is_empty());
        if tail.is_empty() {
            return value.ok_or_else(|| {
                failure(
                    expression,
                    format!("the environment variable `{name}` is not set"),
                    format!("set it, or give a default: `${{{name}:-default}}`"),
                )
            });
        }
        if let Some(default) = tail.strip_prefix(":-") {
            return match nonempty {
                Some(value) => Ok(value),
                None if depth < MAX_DEPTH => Ok(self.text(default, depth + 1, failures)),
                None => Err(failure(expression, "defaults are nested too deep", "")),
            };
        }
        if let Some(message) = tail.strip_prefix(":?") {
            let said = match message {
                "" => String::new(),
                message => format!(": {message}"),
            };
            return nonempty.ok_or_else(|| {
                let message = format!("the environment variable `{name}` is not set{said}");
                failure(expression, message, "")
            });
        }
        Err(failure(
            expression,
            format!("`{expression}` is not an expression"),
            format!("write `${{{name}}}`, `${{{name}:-default}}`, `${{{name}:?message}}` or `${{file:/path}}`"),
        ))
    }

    /// A file's text without its last line break, which editors add and secrets don't have.
    fn file(&mut self, expression: &str, path: &str) -> Result<String, Failure> {
        let path = self.directory.join(path.trim());
        let fail = |why: String| {
            let message = format!("cannot read `{}`: {why}", path.display());
            failure(expression, message, "")
        };
        let mut bytes = Vec::new();
        let read = std::fs::File::open(&path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
        // Also when it can't be read: once it can, the watcher says so.
        match read {
            Ok(length) if length as u64 <= MAX_FILE => self.files.note(&path, &bytes),
            _ => self.files.note_unread(&path),
        }
        read.map_err(|error| fail(io_reason(&error)))?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(fail("it is larger than 1 MiB".to_owned()));
        }
        let mut text = String::from_utf8(bytes).map_err(|_| fail("it is not UTF-8 text".to_owned()))?;
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        Ok(text)
    }
}

/// The length of the expression at the start of `text`, with the expressions inside it.
fn expression_length(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    let mut at = 0;
    while let Some(found) = text[at..].find(['$', '}']) {
        let position = at + found;
        if text[position..].starts_with("${") {
            depth += 1;
            at = position + 2;
        } else {
            at = position + 1;
            if text.as_bytes()[position] == b'}' {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at);
                }
            }
        }
    }
    None
}

fn failure(expression: &str, message: impl Into<String>, help: impl Into<String>) -> Failure {
    Failure {
        expression: expression.to_owned(),
        message: message.into(),
        help: Some(help.into()).filter(|help| !help.is_empty()),
    }
}

/// The system's reason without its number: `no such file or directory`.
pub(super) fn io_reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => "unknown error".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str) -> String {
        let env = |name: &str| match name {
            "NAME" => Some("ann".to_owned()),
            "EMPTY" => Some(String::new()),
            "TRICKY" => Some("${NAME}: {a}\nb: c".to_owned()),
            _ => None,
        };
        let mut expander = Expander { env: &env, directory: Path::new("/nowhere"), files: Seen::default() };
        match expander.expand(text) {
            None => "(nothing to expand)".to_owned(),
            Some(Ok(text)) => text,
            Some(Err(failures)) => {
                let all: Vec<_> = failures.iter().map(|f| format!("{} -> {}", f.expression, f.message)).collect();
                all.join("; ")
            }
        }
    }

    #[test]
    fn expressions_expand() {
        let cases = [
            ("plain $ text $NAME", "(nothing to expand)"),
            ("hi ${NAME}!", "hi ann!"),
            ("${EMPTY}", ""),
            ("${EMPTY:-x}${NONE:-y}${NAME:-z}", "xyann"),
            ("${NONE:-}", ""),
            ("${NONE:-${NAME} b}", "ann b"),
            ("${NONE:-${ALSO:-deep}}", "deep"),
            ("$${NAME} ${NAME}", "${NAME} ann"),
            ("${TRICKY}", "${NAME}: {a}\nb: c"),
            ("${NONE}", "${NONE} -> the environment variable `NONE` is not set"),
            (
                "${EMPTY:?set it} ${NONE:?}",
                "${EMPTY:?set it} -> the environment variable `EMPTY` is not set: set it; \
                 ${NONE:?} -> the environment variable `NONE` is not set",
            ),
            ("a ${NAME", "${NAME -> `${` without its `}`"),
            ("${}", "${} -> `${}` does not name an environment variable"),
            ("${1X}", "${1X} -> `${1X}` does not name an environment variable"),
            ("${NAME-x}", "${NAME-x} -> `${NAME-x}` is not an expression"),
            ("${file:secret}", "${file:secret} -> cannot read `/nowhere/secret`: no such file or directory"),
        ];
        for (text, expected) in cases {
            assert_eq!(expand(text), expected, "{text}");
        }
    }

    #[test]
    fn files_lose_one_line_break_and_are_remembered() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(directory.path().join("secret"), "two\nlines\r\n").expect("a file");
        let mut expander = Expander { env: &|_| None, directory: directory.path(), files: Seen::default() };
        assert_eq!(expander.expand("<${file:secret}>"), Some(Ok("<two\nlines>".to_owned())));
        assert_eq!(expander.files.paths().collect::<Vec<_>>(), [&directory.path().join("secret")]);
    }
}
