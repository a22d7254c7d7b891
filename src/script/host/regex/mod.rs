//! `regex`: regular expressions without look-around and back-references, in linear time.
//!
//! A pattern is compiled once and kept by the worker. While one runs the script can't give way, so whatever could take long is bounded: one
//! search by [`pattern`], a walk over many matches (quadratic at worst) by the clock, and what `replace` makes by its length.

mod pattern;

use crate::script::{
    Raise, Scope, Value,
    limits::{STUCK, thread_cpu},
    list::{Function, Module, Param, Type},
    value::Args,
};
use bytes::Bytes;
pub use pattern::Pattern;
use regex_automata::{
    Input, Match,
    util::{captures::Captures, interpolate},
};
use std::{
    rc::Rc,
    time::{Duration, Instant},
};

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
            run: |scope, args| with(scope, &args, |pattern, text| Ok(find(pattern, text)?.is_some().into())).into(),
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
                with(scope, &args, |pattern, text| replace(pattern, text, &args.bytes(2)?, most)).into()
            },
        },
    ],
};

/// Calls `run` with the compiled pattern and the text. Patterns look at bytes, so that no header's bytes are an error.
fn with(
    scope: &Scope,
    args: &Args,
    run: impl FnOnce(&Pattern, &Bytes) -> Result<Value, Raise>,
) -> Result<Value, Raise> {
    let source = args.str(0)?;
    let compile =
        || Pattern::new(source).map(Rc::new).map_err(|why| Raise::error(format!("{}: {why}", quoted(source))));
    let pattern = scope.services.caches.patterns.get_or_make(source, compile)?;
    run(&pattern, &args.bytes(1)?)
}

fn quoted(source: &str) -> String {
    format!("pattern `{}`", source.escape_debug())
}

fn refused(pattern: &Pattern) -> impl Fn(pattern::Refused) -> Raise {
    move |refused| Raise::error(format!("{}: {refused}", quoted(pattern.source())))
}

fn find(pattern: &Pattern, text: &[u8]) -> Result<Option<Match>, Raise> {
    pattern.find(&Input::new(text)).map_err(refused(pattern))
}

/// The processor time is looked at this often.
const LOOK: Duration = Duration::from_millis(1);

/// Calls `each` with all matches that don't overlap, from left to right; stops where a script would be stopped that can't give way.
fn walk(pattern: &Pattern, text: &[u8], mut each: impl FnMut(Match) -> Result<(), Raise>) -> Result<(), Raise> {
    let (mut look, mut ran) = (Instant::now() + LOOK, None);
    let (mut at, mut last) = (0, None);
    while at <= text.len() {
        let now = Instant::now();
        if now >= look {
            // On a busy machine the thread may have stood still for all that time, which can't be told afterwards: processor
            // time counts from the first look on. Counting it from the start would be a system call for every short walk.
            let cpu = thread_cpu();
            if cpu.saturating_sub(*ran.get_or_insert(cpu)) >= STUCK {
                let took = STUCK.as_millis();
                let source = quoted(pattern.source());
                return Err(Raise::error(format!("{source}: took more than {took} ms over this text")));
            }
            look = now + LOOK;
        }
        let found = pattern.find(&Input::new(text).range(at..)).map_err(refused(pattern))?;
        let Some(found) = found else { break };
        // An empty match where the last one ended is none of its own: look one byte further.
        if found.is_empty() && last == Some(found.end()) {
            at = found.end() + 1;
            continue;
        }
        at = found.end();
        last = Some(found.end());
        each(found)?;
    }
    Ok(())
}

fn captures(pattern: &Pattern, text: &Bytes) -> Result<Value, Raise> {
    let Some(found) = find(pattern, text)? else {
        return Ok(Value::Nil);
    };
    let captured = pattern.groups(text, found).map_err(refused(pattern))?;
    let slice = |index: usize| captured.get_group(index).map(|span| text.slice(span.range()));
    let names = captured.group_info().pattern_names(found.pattern());
    let mut named: Vec<(String, Value)> =
        names.enumerate().filter_map(|(index, name)| Some((name?.to_owned(), slice(index)?.into()))).collect();
    named.sort_by(|a, b| a.0.cmp(&b.0));
    let groups = (1..captured.group_len()).map(|index| slice(index).unwrap_or_default().into()).collect();
    Ok(Value::Map(vec![
        ("groups".into(), Value::List(groups)),
        ("named".into(), Value::Map(named)),
        ("text".into(), text.slice(found.range()).into()),
    ]))
}

fn find_all(pattern: &Pattern, text: &Bytes) -> Result<Value, Raise> {
    let mut all = Vec::new();
    walk(pattern, text, |found| {
        all.push(text.slice(found.range()).into());
        Ok(())
    })?;
    Ok(Value::List(all))
}

fn split(pattern: &Pattern, text: &Bytes) -> Result<Value, Raise> {
    let mut pieces = Vec::new();
    let mut from = 0;
    walk(pattern, text, |found| {
        pieces.push(text.slice(from..found.start()).into());
        from = found.end();
        Ok(())
    })?;
    pieces.push(text.slice(from..).into());
    Ok(Value::List(pieces))
}

fn replace(pattern: &Pattern, text: &Bytes, replacement: &[u8], most: usize) -> Result<Value, Raise> {
    let references = memchr::memchr_iter(b'$', replacement).count();
    let mut out = Vec::with_capacity(text.len());
    let mut from = 0;
    walk(pattern, text, |found| {
        // SECURITY: `$0` many times over in a long text makes terabytes of a few kilobytes, so what one expansion can make is
        // known before it is made.
        let longest = references.saturating_mul(found.len()).saturating_add(replacement.len());
        if out.len().saturating_add(longest) > most {
            return Err(Raise::error(format!("what replaces the matches would be longer than {most} bytes")));
        }
        out.extend_from_slice(&text[from..found.start()]);
        from = found.end();
        if references == 0 {
            out.extend_from_slice(replacement);
        } else {
            expand(&pattern.groups(text, found).map_err(refused(pattern))?, text, replacement, &mut out);
        }
        Ok(())
    })?;
    out.extend_from_slice(&text[from..]);
    Ok(Bytes::from(out).into())
}

fn expand(groups: &Captures, text: &[u8], replacement: &[u8], out: &mut Vec<u8>) {
    let append = |index: usize, out: &mut Vec<u8>| {
        if let Some(span) = groups.get_group(index) {
            out.extend_from_slice(&text[span.range()]);
        }
    };
    let to_index = |name: &str| groups.group_info().to_index(groups.pattern()?, name);
    interpolate::bytes(replacement, append, to_index, out);
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
        assert_eq!(call("test", &["a(b", ""]), "error: pattern `a(b`: unclosed group");
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
        assert_eq!(stopped, "error: pattern `.*[^A-Z]|[A-Z]`: took more than 10 ms over this text");
        assert!(started.elapsed().as_millis() < 1000);
    }

    #[test]
    fn a_replacement_can_not_fill_the_memory() {
        let pattern = Pattern::new("x+").expect("a pattern");
        let text = Bytes::from(vec![b'x'; 1 << 10]);
        let made = replace(&pattern, &text, &b"$0".repeat(1 << 10), 1 << 20);
        let message = made.map(|_| ()).map_err(|raise| raise.to_string());
        assert_eq!(message, Err("what replaces the matches would be longer than 1048576 bytes".into()));
    }
}
