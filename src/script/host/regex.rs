//! `regex`: regular expressions that take linear time (the `regex` crate: no look-around, no back-references).
//!
//! A pattern is compiled once and kept by the worker. While one runs the script can't give way, so what could still take long is bounded: the
//! compiled size, the time that walking over many matches takes (quadratic at worst), and the length of what `replace` makes.

use crate::script::{
    Raise, Scope, Value,
    limits::STUCK,
    list::{Function, Module, Param, Type},
    value::Args,
};
use bytes::Bytes;
use regex::bytes::{Captures, Regex, RegexBuilder};
use std::time::Instant;

/// Enough for `\w{1,100}` or a hundred alternatives; ten times less than the crate's own default.
const MAX_COMPILED: usize = 1 << 20;

const PATTERN: Param = Param::required("pattern", Type::String, "a regular expression; `(?i)` in front ignores case");
const TEXT: Param = Param::required("text", Type::String, "where to look");

static CAPTURES: &[Param] = &[
    Param::required("text", Type::String, "what the whole pattern matched"),
    Param::required("groups", Type::List(&Type::String), "what each group matched; empty for one that took no part"),
    Param::required(
        "named",
        Type::Map(&Type::String),
        "what the groups with names matched, without those that took no part",
    ),
];

pub static MODULE: Module = Module {
    name: "regex",
    doc: "Regular expressions in linear time: Perl's syntax without look-around and back-references. They find a match anywhere in the text unless anchored with `^` and `$`.",
    constants: &[],
    functions: &[
        Function {
            name: "test",
            params: &[PATTERN, TEXT],
            variadic: false,
            returns: Type::Bool,
            doc: "Whether the pattern matches somewhere in the text.",
            lua: r#"local is_id = regex.test("^[0-9]+$", req.params.id)"#,
            rhai: r#"let is_id = regex::test("^[0-9]+$", req.params.id);"#,
            run: |scope, args| with(scope, &args, |regex, text| Ok(regex.is_match(text).into())).into(),
        },
        Function {
            name: "captures",
            params: &[PATTERN, TEXT],
            variadic: false,
            returns: Type::Maybe(&Type::Options(CAPTURES)),
            doc: "The first match and its groups; nothing when there is none.",
            lua: r#"local found = regex.captures("v(?<major>[0-9]+)", req.path)"#,
            rhai: r#"let found = regex::captures("v(?<major>[0-9]+)", req.path);"#,
            run: |scope, args| with(scope, &args, captures).into(),
        },
        Function {
            name: "find_all",
            params: &[PATTERN, TEXT],
            variadic: false,
            returns: Type::List(&Type::String),
            doc: "All matches that don't overlap, from left to right.",
            lua: r#"local numbers = regex.find_all("[0-9]+", "1, 22, 333")"#,
            rhai: r#"let numbers = regex::find_all("[0-9]+", "1, 22, 333");"#,
            run: |scope, args| with(scope, &args, find_all).into(),
        },
        Function {
            name: "split",
            params: &[PATTERN, TEXT],
            variadic: false,
            returns: Type::List(&Type::String),
            doc: "The pieces between the matches.",
            lua: r#"local parts = regex.split(" *, *", "a, b ,c")"#,
            rhai: r#"let parts = regex::split(" *, *", "a, b ,c");"#,
            run: |scope, args| with(scope, &args, split).into(),
        },
        Function {
            name: "replace",
            params: &[
                PATTERN,
                TEXT,
                Param::required("replacement", Type::String, "`$1` and `${name}` stand for groups, `$$` for a dollar"),
            ],
            variadic: false,
            returns: Type::String,
            doc: "The text with every match replaced.",
            lua: r#"local masked = regex.replace("[0-9]{12}([0-9]{4})", text, "…$1")"#,
            rhai: r#"let masked = regex::replace("[0-9]{12}([0-9]{4})", text, "…$1");"#,
            run: |scope, args| {
                let most = scope.instance.limits.memory;
                with(scope, &args, |regex, text| replace(regex, text, &args.bytes(2)?, most)).into()
            },
        },
    ],
};

/// Calls `run` with the compiled pattern and the text. Patterns look at bytes, so that no header's bytes are an error.
fn with(scope: &Scope, args: &Args, run: impl FnOnce(&Regex, &Bytes) -> Result<Value, Raise>) -> Result<Value, Raise> {
    let pattern = args.str(0)?;
    let regex = scope.services.caches.patterns.get_or_make(pattern, || compile(pattern))?;
    run(&regex, &args.bytes(1)?)
}

fn compile(pattern: &str) -> Result<Regex, Raise> {
    RegexBuilder::new(pattern).size_limit(MAX_COMPILED).dfa_size_limit(MAX_COMPILED).build().map_err(|error| {
        let why = match error {
            regex::Error::CompiledTooBig(_) => "it is too large when compiled".into(),
            // The last line says what is wrong; those before show the pattern with a caret.
            other => other.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
        };
        Raise::error(format!("`{}` is not a pattern: {why}", pattern.escape_debug()))
    })
}

/// Stops a walk over matches where a script would be stopped that can't give way.
struct Walk(Instant);

impl Walk {
    fn begin() -> Walk {
        Walk(Instant::now())
    }

    fn step(&self, regex: &Regex) -> Result<(), Raise> {
        if self.0.elapsed() < STUCK {
            return Ok(());
        }
        let pattern = regex.as_str().escape_debug();
        Err(Raise::error(format!("`{pattern}` took more than {} ms over this text", STUCK.as_millis())))
    }
}

fn captures(regex: &Regex, text: &Bytes) -> Result<Value, Raise> {
    let Some(found) = regex.captures(text) else {
        return Ok(Value::Nil);
    };
    let slice = |index: usize| found.get(index).map(|group| text.slice(group.range()));
    let groups = (1..found.len()).map(|index| slice(index).unwrap_or_default().into()).collect();
    let mut named: Vec<(String, Value)> = regex
        .capture_names()
        .enumerate()
        .filter_map(|(index, name)| Some((name?.to_owned(), slice(index)?.into())))
        .collect();
    named.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(Value::Map(vec![
        ("groups".into(), Value::List(groups)),
        ("named".into(), Value::Map(named)),
        ("text".into(), slice(0).unwrap_or_default().into()),
    ]))
}

fn find_all(regex: &Regex, text: &Bytes) -> Result<Value, Raise> {
    let walk = Walk::begin();
    let mut found = Vec::new();
    for one in regex.find_iter(text) {
        walk.step(regex)?;
        found.push(text.slice(one.range()).into());
    }
    Ok(Value::List(found))
}

fn split(regex: &Regex, text: &Bytes) -> Result<Value, Raise> {
    let walk = Walk::begin();
    let mut pieces = Vec::new();
    let mut from = 0;
    for one in regex.find_iter(text) {
        walk.step(regex)?;
        pieces.push(text.slice(from..one.start()).into());
        from = one.end();
    }
    pieces.push(text.slice(from..).into());
    Ok(Value::List(pieces))
}

fn replace(regex: &Regex, text: &Bytes, replacement: &[u8], most: usize) -> Result<Value, Raise> {
    let walk = Walk::begin();
    let mut out = Vec::with_capacity(text.len());
    let mut from = 0;
    for found in regex.captures_iter(text) {
        walk.step(regex)?;
        let whole = found.get_match();
        out.extend_from_slice(&text[from..whole.start()]);
        from = whole.end();
        expand(&found, replacement, &mut out, most)?;
    }
    out.extend_from_slice(&text[from..]);
    Ok(Bytes::from(out).into())
}

/// SECURITY: `$0` many times over in a long text makes terabytes of a few kilobytes, so what one expansion can make is known before it is made.
fn expand(found: &Captures, replacement: &[u8], out: &mut Vec<u8>, most: usize) -> Result<(), Raise> {
    let references = memchr::memchr_iter(b'$', replacement).count();
    let longest = references.saturating_mul(found.get_match().len()).saturating_add(replacement.len());
    if out.len().saturating_add(longest) > most {
        return Err(Raise::error(format!("what replaces the matches would be longer than {most} bytes")));
    }
    found.expand(replacement, out);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{
        Hook,
        fixture::{run, scope, show},
    };

    fn call(name: &str, args: &[&str]) -> String {
        let args: Vec<Value> = args.iter().map(|arg| Value::from(*arg)).collect();
        show(run(&scope(Hook::OnLoad, None), &MODULE, name, args))
    }

    #[test]
    fn matches_are_found_taken_apart_and_replaced() {
        assert_eq!(call("test", &["^[0-9]+$", "42"]), "true");
        assert_eq!(call("test", &["^[0-9]+$", "42x"]), "false");
        let shown = r#"{groups: ["2", "", "x"], named: {rest: "x"}, text: "v2x"}"#;
        assert_eq!(call("captures", &["v([0-9])(!)?(?<rest>.)", "/v2x/"]), shown);
        assert_eq!(call("captures", &["v", "/"]), "nil");
        assert_eq!(call("find_all", &["[0-9]+", "1, 22, 333"]), r#"["1", "22", "333"]"#);
        assert_eq!(call("split", &[" *, *", "a, b ,c"]), r#"["a", "b", "c"]"#);
        assert_eq!(call("split", &[",", ""]), r#"[""]"#);
        assert_eq!(call("replace", &["(?i)(B)", "abcB", "<$1>$$"]), r#""a<b>$c<B>$""#);
    }

    #[test]
    fn a_wrong_pattern_is_named() {
        assert_eq!(call("test", &["a(b", ""]), "error: `a(b` is not a pattern: unclosed group");
        assert_eq!(
            call("test", &["(a)\\1", ""]),
            "error: `(a)\\\\1` is not a pattern: backreferences are not supported"
        );
        let large = call("test", &[r"(\w{100}){100}", ""]);
        assert_eq!(large, r"error: `(\\w{100}){100}` is not a pattern: it is too large when compiled");
    }

    #[test]
    fn text_need_not_be_utf8() {
        let scope = scope(Hook::OnLoad, None);
        let args = [Value::from("b.*"), Value::Str(Bytes::from_static(b"a\xffb\xfec"))];
        assert!(matches!(run(&scope, &MODULE, "find_all", args), Ok(Value::List(all)) if all.len() == 1));
    }

    #[test]
    fn a_quadratic_walk_is_stopped() {
        let started = Instant::now();
        let stopped = call("find_all", &[".*[^A-Z]|[A-Z]", &"A".repeat(1 << 20)]);
        assert_eq!(stopped, "error: `.*[^A-Z]|[A-Z]` took more than 10 ms over this text");
        assert!(started.elapsed().as_millis() < 1000);
    }

    #[test]
    fn a_replacement_can_not_fill_the_memory() {
        let regex = compile("x+").expect("a pattern");
        let text = Bytes::from(vec![b'x'; 1 << 10]);
        let made = replace(&regex, &text, &b"$0".repeat(1 << 10), 1 << 20);
        let message = made.map(|_| ()).map_err(|raise| raise.to_string());
        assert_eq!(message, Err("what replaces the matches would be longer than 1048576 bytes".into()));
    }
}
