//! Rhai's errors as [`ScriptError`]s: in our words, with file, line, source line and the calls that led there.

use super::json::Way;
use crate::script::{
    Hook, ScriptError, Source,
    check::{self, Finding},
    error::{Fault, Limit},
    host,
    list::nearest,
};
use ::rhai::{EvalAltResult, ParseError, ParseErrorType, Position, ScriptFuncDef};
use std::path::Path;

/// The script's file, and those that it imports.
pub struct Files {
    files: Vec<Source>,
}

impl Files {
    pub fn new(main: &Source) -> Files {
        Files { files: vec![main.clone()] }
    }

    pub fn add(&mut self, module: &Source) {
        self.files.push(module.clone());
    }

    /// The script itself.
    pub fn main(&self) -> &Source {
        &self.files[0]
    }

    fn named(&self, path: &str) -> &Source {
        self.files.iter().find(|source| source.path == Path::new(path)).unwrap_or(self.main())
    }
}

const DEPTH: &str = "stopped: calls nested too deep";

/// The most calls that an error shows.
const STACK: usize = 10;

pub fn at(source: &Source, position: Position, fault: Fault, message: String) -> ScriptError {
    let line = position.line().unwrap_or(0);
    let text = line.checked_sub(1).and_then(|above| source.text.lines().nth(above)).unwrap_or_default();
    ScriptError {
        fault,
        message,
        file: source.path.clone(),
        line,
        column: position.position().unwrap_or(0),
        source_line: text.to_owned(),
        hook: None,
        stack: Vec::new(),
        help: None,
        also: Vec::new(),
    }
}

/// An error without a place.
pub fn plain(files: &Files, fault: Fault, message: String, hook: Hook) -> ScriptError {
    ScriptError { hook: Some(hook), ..at(files.main(), Position::NONE, fault, message) }
}

/// What was found without running the file.
pub fn found(source: &Source, finding: Finding) -> ScriptError {
    let Finding { place, complaint } = finding;
    let position = Position::new(clamped(place.line), clamped(place.column));
    let error = at(source, position, complaint.fault, complaint.message);
    let column = check::pointed(&place, &error.message, &error.source_line);
    ScriptError { column, help: complaint.help, ..error }
}

fn clamped(number: usize) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

/// Moves the column to where a name stands in the line.
pub fn point_at(error: &mut ScriptError, name: &str) {
    if let Some(before) = error.source_line.find(name) {
        error.column = error.source_line[..before].chars().count() + 1;
    }
}

/// Gives an error without a place that of a hook's function.
pub fn locate(error: &mut ScriptError, files: &Files, function: Option<&::rhai::Shared<ScriptFuncDef>>) {
    if let (0, Some(function)) = (error.line, function) {
        let place = at(files.main(), super::compile::position(function), error.fault.clone(), String::new());
        (error.line, error.column, error.source_line) = (place.line, place.column, place.source_line);
        point_at(error, &function.name);
    }
}

pub fn syntax(_: &Files, source: &Source, error: &ParseError) -> ScriptError {
    let message = match &*error.0 {
        ParseErrorType::VariableUndefined(name) => format!("`{name}` is not defined"),
        ParseErrorType::ModuleUndefined(name) => format!("there is no module `{name}`"),
        other => lower(&other.to_string()),
    };
    let mut made = at(source, error.1, Fault::Syntax, message);
    let other = || other_syntax(&made.source_line, made.column);
    made.help = match &*error.0 {
        ParseErrorType::Reserved(word) if matches!(word.as_str(), "nil" | "null" | "void") => {
            Some("nothing is written `()` in Rhai".into())
        }
        ParseErrorType::VariableUndefined(name) if host::MODULES.iter().any(|module| module.name == name) => {
            Some(format!("functions of modules are called with `::`, as in `{name}::…`"))
        }
        ParseErrorType::VariableUndefined(_) if other().is_some() => other(),
        ParseErrorType::VariableUndefined(_) => {
            Some("functions see their parameters, their own variables, and constants as `global::NAME`".into())
        }
        ParseErrorType::ModuleUndefined(name) => {
            nearest(name, host::MODULES.iter().map(|module| module.name)).map(|near| format!("did you mean `{near}`?"))
        }
        _ => other(),
    };
    made
}

/// Words of other languages, where Rhai stumbles over them or right after.
const WORDS: &[(&str, &str)] = &[
    ("then", "blocks are written `if … { … }`"),
    ("elseif", "`else if` are two words"),
    ("elsif", "`else if` are two words"),
    ("elif", "`else if` are two words"),
    ("end", "blocks end with `}`"),
    ("local", "variables are written `let x = …;`"),
    ("var", "variables are written `let x = …;`"),
    ("function", "functions are written `fn name(…) { … }`"),
    ("def", "functions are written `fn name(…) { … }`"),
    ("and", "Rhai writes `&&`, `||` and `!`"),
    ("or", "Rhai writes `&&`, `||` and `!`"),
    ("not", "Rhai writes `&&`, `||` and `!`"),
    ("do", "blocks are written `while … { … }`"),
];

/// The same for signs, anywhere in the line.
const SIGNS: &[(&str, &str)] = &[
    ("~=", "not equal is written `!=`"),
    ("--", "comments begin with `//`"),
    (" .. ", "texts are joined by `+`, or written with backticks: `a ${b}`"),
    ("'", "texts stand in double quotes"),
];

/// Help for an error in a line that is written as in another language.
fn other_syntax(line: &str, column: usize) -> Option<String> {
    let at = line.char_indices().nth(column.saturating_sub(1)).map_or(line.len(), |(at, _)| at);
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let (before, after) = line.split_at(at);
    let here = after.split(|c| !is_part(c)).next().unwrap_or_default();
    let last = before.trim_end().rsplit(|c| !is_part(c)).next().unwrap_or_default();
    let is_map = before.trim_end().ends_with('{') && after[here.len()..].trim_start().starts_with(':');
    if is_map {
        return Some("maps are written `#{ name: value }`".into());
    }
    if after.starts_with(':') && !after.starts_with("::") {
        return Some("methods are called with a dot: `req.json()`".into());
    }
    let of = |word: &str| WORDS.iter().find(|(other, _)| *other == word);
    let sign = || SIGNS.iter().find(|(sign, _)| line.contains(sign));
    of(here).or_else(|| of(last)).or_else(sign).map(|(_, help)| (*help).to_owned())
}

pub fn limit(
    files: &Files,
    (limit, memory): (Limit, usize),
    hook: Option<Hook>,
    function: Option<&::rhai::Shared<ScriptFuncDef>>,
) -> ScriptError {
    let message = match limit {
        Limit::Cpu => "stopped: it used up its CPU time".to_owned(),
        Limit::Wall => "stopped: the deadline passed".to_owned(),
        Limit::Memory => format!("stopped: it held more than its share of memory ({} MiB)", memory >> 20),
        Limit::Depth => DEPTH.to_owned(),
    };
    let mut error = at(files.main(), Position::NONE, Fault::Limit(limit), message);
    error.hook = hook;
    error.stack.extend(hook.map(|hook| hook.name().to_owned()));
    locate(&mut error, files, function);
    error
}

/// What a script threw, or Rhai did. `main` is the file that was run, `names` are those of the script's functions.
pub fn runtime(
    files: &Files,
    main: &Source,
    error: EvalAltResult,
    hook: Option<Hook>,
    function: Option<&::rhai::Shared<ScriptFuncDef>>,
    names: &[String],
) -> ScriptError {
    // From the outside in: each call with the place where it was made, which is in the function before it.
    let (mut inner, mut source, mut stack) = (error, main, Vec::new());
    let called = hook.map(Hook::name).or(function.map(|function| function.name.as_str()));
    let mut function_name = called.unwrap_or("the top level").to_owned();
    loop {
        inner = match inner {
            EvalAltResult::ErrorInFunctionCall(name, file, next, called) => {
                stack.push(frame(source, called, &function_name));
                function_name = if name.starts_with("anon$") { "a closure".to_owned() } else { name };
                if !file.is_empty() {
                    source = files.named(&file);
                }
                *next
            }
            EvalAltResult::ErrorInModule(_, next, _) => *next,
            other => {
                inner = other;
                break;
            }
        };
    }
    let position = inner.take_position();
    stack.push(frame(source, position, &function_name));
    stack.reverse();
    let (fault, message, help) = describe(&inner, names);
    let mut made = at(source, position, fault, message);
    stack.truncate(STACK);
    (made.hook, made.stack, made.help) = (hook, stack, help);
    locate(&mut made, files, function);
    made
}

fn frame(source: &Source, position: Position, function: &str) -> String {
    match position.line() {
        Some(line) => format!("{}:{line} in {function}", source.path.display()),
        None => format!("{} in {function}", source.path.display()),
    }
}

fn describe(error: &EvalAltResult, names: &[String]) -> (Fault, String, Option<String>) {
    let (message, help) = match error {
        EvalAltResult::ErrorStackOverflow(_) => {
            return (Fault::Limit(Limit::Depth), DEPTH.into(), None);
        }
        EvalAltResult::ErrorDataTooLarge(what, _) => {
            return (Fault::Limit(Limit::Memory), format!("stopped: {} is too large", lower(what)), None);
        }
        EvalAltResult::ErrorTooManyVariables(_) | EvalAltResult::ErrorTooManyModules(_) => {
            return (Fault::Limit(Limit::Memory), lower(&error.to_string()), None);
        }
        EvalAltResult::ErrorRuntime(thrown, _) => (thrown_text(thrown), None),
        EvalAltResult::ErrorFunctionNotFound(signature, _) => unknown_function(signature, names),
        EvalAltResult::ErrorVariableNotFound(name, _) => (format!("`{name}` is not defined"), None),
        EvalAltResult::ErrorModuleNotFound(name, _) => (format!("there is no module `{name}`"), None),
        EvalAltResult::ErrorMismatchDataType(expected, got, _) if !expected.is_empty() => {
            (format!("expected {expected}, got {}", if got == "()" { "nothing" } else { got }), None)
        }
        EvalAltResult::ErrorDotExpr(text, _) if text.contains("for type '()'") => {
            let name = text.split('\'').nth(1).unwrap_or_default();
            let help = "the value before the dot is `()`; write `?.` where it may be".to_owned();
            (format!("nothing has no `{name}`"), Some(help))
        }
        EvalAltResult::ErrorIndexingType(text, _) if text.starts_with("() ") => {
            ("nothing can't be indexed".to_owned(), Some("the value before the bracket is `()`".to_owned()))
        }
        other => (lower(&other.to_string()), None),
    };
    (Fault::Runtime, message, help)
}

/// What was thrown, for people.
fn thrown_text(thrown: &::rhai::Dynamic) -> String {
    match thrown.as_immutable_string_ref() {
        Ok(text) => text.to_string(),
        Err(_) if thrown.is_unit() => "raised nothing".to_owned(),
        Err(_) => match super::json::encode(thrown, Way { shapes: &Default::default(), stops: &|| false }) {
            Ok(text) => format!("raised {}", String::from_utf8_lossy(&text)),
            Err(_) => format!("raised {}", super::json::type_name(thrown)),
        },
    }
}

fn unknown_function(signature: &str, names: &[String]) -> (String, Option<String>) {
    let Some((name, types)) = signature.split_once(" (") else {
        return (lower(signature), None);
    };
    let types = types.strip_suffix(')').unwrap_or(types).replace("&str | ImmutableString | String", "string");
    let types =
        types.replace("i64", "number").replace("f64", "number").replace("()", "nothing").replace("Fn", "function");
    if !name.contains(char::is_alphanumeric) {
        return (format!("`{name}` does not work with ({types})"), None);
    }
    let of_modules = host::MODULES
        .iter()
        .flat_map(|module| module.functions.iter().map(move |function| format!("{}::{}", module.name, function.name)));
    let known: Vec<String> = names.iter().cloned().chain(of_modules).collect();
    let module = host::MODULES.iter().find(|module| module.name == name);
    let help = if let Some(module) = module {
        Some(format!("`{name}` is a module: call one of its functions, such as `{name}::{}`", module.functions[0].name))
    } else if known.iter().any(|known| known == name) {
        Some(format!("`{name}` takes another number of arguments"))
    } else {
        nearest(name, known.iter().map(String::as_str)).map(|near| format!("did you mean `{near}`?"))
    };
    (format!("there is no function `{name}` for ({types})"), help)
}

/// Rhai's messages begin with a capital.
fn lower(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) if !chars.as_str().starts_with(char::is_uppercase) => first.to_lowercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}
