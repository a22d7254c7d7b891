//! `log`: a script's own lines in the gateway's log, with the plugin, the hook and the request they belong to.
//!
//! Events have the target `script`, so that they can be filtered apart from the gateway's own. There is no `debug`: the word is
//! reserved in Rhai.

use crate::script::{
    Hook, Raise, Scope, Value,
    list::{Function, Module, Param, Type},
    value::Args,
};
use tracing::{Level, event};

/// Longer messages and fields are cut: one line must not fill a disk.
const LONGEST: usize = 8 << 10;

const MESSAGE: Param = Param::required("message", Type::String, "one line for people");
const FIELDS: Param = Param::optional("fields", Type::Json, "a table or map of more to know, kept as JSON");

/// tracing wants each level as a constant, so that a level that is filtered out costs nothing.
macro_rules! level {
    ($name:literal, $level:expr, $doc:literal, $lua:literal, $rhai:literal) => {
        Function {
            name: $name,
            params: &[MESSAGE, FIELDS],
            variadic: false,
            returns: Type::Nil,
            doc: $doc,
            lua: $lua,
            rhai: $rhai,
            run: |scope, args| {
                line(scope, &args)
                    .map(|line| {
                        if let Some(Line { message, fields, plugin, hook, request_id }) = line {
                            event!(target: "script", $level, plugin, hook, request_id, fields, "{message}");
                        }
                        Value::Nil
                    })
                    .into()
            },
        }
    };
}

pub static MODULE: Module = Module {
    name: "log",
    doc: "Writes to the gateway's log, with the plugin, the hook and the request id. In `on_load` one worker speaks for all.",
    constants: &[],
    functions: &[
        level!(
            "trace",
            Level::TRACE,
            "Details that are seen only when the log is set to `script=trace`.",
            r#"log.trace("looked up", { key = "user:7" })"#,
            r#"log::trace("looked up", #{ key: "user:7" });"#
        ),
        level!(
            "info",
            Level::INFO,
            "Something worth knowing.",
            r#"log.info("signed in", { user = 7 })"#,
            r#"log::info("signed in", #{ user: 7 });"#
        ),
        level!(
            "warn",
            Level::WARN,
            "Something that should be looked at.",
            r#"log.warn("slow answer", { seconds = 2.5 })"#,
            r#"log::warn("slow answer", #{ seconds: 2.5 });"#
        ),
        level!(
            "error",
            Level::ERROR,
            "Something that failed. It only writes the line: it does not end the hook.",
            r#"log.error("no answer from the ledger")"#,
            r#"log::error("no answer from the ledger");"#
        ),
    ],
};

#[derive(Debug, PartialEq, Eq)]
struct Line<'a> {
    message: String,
    fields: Option<String>,
    plugin: &'a str,
    hook: &'static str,
    request_id: Option<&'a str>,
}

/// What to write; `None` on the workers that keep silent.
fn line<'a>(scope: &'a Scope, args: &Args) -> Result<Option<Line<'a>>, Raise> {
    if scope.hook == Hook::OnLoad && !scope.services.first_worker {
        return Ok(None);
    }
    let fields = match args.get(1) {
        Value::Nil => None,
        _ => Some(escape(&args.bytes(1)?, |c| format!("\\u{:04x}", c as u32))),
    };
    Ok(Some(Line {
        message: escape(&args.bytes(0)?, |c| c.escape_default().to_string()),
        fields,
        plugin: &scope.instance.plugin,
        hook: scope.hook.name(),
        request_id: scope.exchange.as_ref().map(|exchange| exchange.id.as_str()),
    }))
}

/// SECURITY: a line feed would forge a line of its own, ESC and the C1 controls steer the terminal that shows the log, and the characters that
/// reverse the direction of text make a line read as what it is not.
fn escape(text: &[u8], as_text: impl Fn(char) -> String) -> String {
    let cut = &text[..text.len().min(LONGEST)];
    let mut out = String::with_capacity(cut.len());
    for c in String::from_utf8_lossy(cut).chars() {
        match c {
            '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                out.push_str(&as_text(c));
            }
            c if c.is_control() => out.push_str(&as_text(c)),
            c => out.push(c),
        }
    }
    if cut.len() < text.len() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{fixture, limits::Limits};
    use bytes::Bytes;
    use std::rc::Rc;

    fn args(message: &str, fields: &'static str) -> Args {
        Args(vec![message.into(), Value::Json(Bytes::from_static(fields.as_bytes()))])
    }

    #[test]
    fn a_line_names_where_it_comes_from() {
        let scope = fixture::scope(Hook::OnRequest, Some(fixture::exchange("")));
        let line = line(&scope, &args("hello", r#"{"a":1}"#));
        let expected = Line {
            message: "hello".into(),
            fields: Some(r#"{"a":1}"#.into()),
            plugin: "test",
            hook: "on_request",
            request_id: Some("test-id"),
        };
        assert_eq!(line.ok().flatten(), Some(expected));
    }

    #[test]
    fn no_text_can_forge_a_line_or_steer_a_terminal() {
        let scope = fixture::scope(Hook::OnLoad, None);
        let hostile = args("a\r\nb\u{1b}[31m\u{9b}\u{202e}ü", "\"\u{7f}\u{9b}\"");
        let line = line(&scope, &hostile).ok().flatten().expect("a line");
        assert_eq!(line.message, r"a\r\nb\u{1b}[31m\u{9b}\u{202e}ü");
        assert_eq!(line.fields.as_deref(), Some(r#""\u007f\u009b""#));
    }

    #[test]
    fn long_messages_are_cut() {
        assert_eq!(escape(&[b'x'; LONGEST + 1], |_| String::new()).chars().count(), LONGEST + 1);
    }

    #[test]
    fn one_worker_speaks_for_all_in_on_load() {
        let mut scope =
            Rc::into_inner(fixture::scope_with(Hook::OnLoad, None, Limits::default())).expect("the only one");
        let silent = Rc::get_mut(&mut scope.services).expect("the only one");
        silent.first_worker = false;
        assert_eq!(line(&scope, &args("hello", "{}")).ok().flatten(), None);
    }
}
