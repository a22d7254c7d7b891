//! What is wrong with a script's use of the list, said without running it.
//!
//! Each language reads its own text and follows what is certain of its values, as [`Sketch`]es: the parameters of hooks, the modules,
//! what they return, and literals. The rules stand here once and say what a run would say, by the same code where there is one.
//! Of anything else nothing is known and nothing is said: a script that works is never refused. What stands in `pcall` or `try` is
//! the script's own attempt, and left alone; and so is a whole file with the comment [`Language::unchecked`] in it.

use super::{
    Hook, Language, NO_CHUNK, Raise, ScriptError, Value,
    convert::{self, Entry, Native},
    error::Fault,
    host, json,
    list::{Function, Kind, Module, Type, nearest},
    no_decision,
    object::Object,
};
use bytes::Bytes;

/// What is known of a value.
#[derive(Clone, Default)]
pub enum Sketch {
    #[default]
    Unknown,
    Nil,
    Bool(bool),
    Number(f64),
    Text(String),
    Function,
    /// A literal table, map or array, by its language's word.
    Table(&'static str, Parts),
    Module(&'static Module),
    Object(&'static Kind),
}

/// The words for literals.
pub const TABLE: &str = "a table";
pub const MAP: &str = "a map";
pub const ARRAY: &str = "an array";

/// What a literal table has; either may be empty.
#[derive(Clone, Default)]
pub struct Parts {
    pub items: Vec<Sketch>,
    pub entries: Vec<(String, Sketch)>,
}

impl Language {
    /// The comment by which a file is left alone.
    pub const fn unchecked(self) -> &'static str {
        match self {
            Language::Lua => "--!nocheck",
            Language::Rhai => "// nocheck",
        }
    }
}

/// From 1, as messages count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

/// What a run would complain of.
#[derive(Debug)]
pub struct Finding {
    pub place: Place,
    pub complaint: Complaint,
}

#[derive(Debug)]
pub struct Complaint {
    pub fault: Fault,
    pub message: String,
    pub help: Option<String>,
}

impl Complaint {
    pub fn new(message: String, help: Option<String>) -> Complaint {
        Complaint { fault: Fault::Runtime, message, help }
    }

    fn of(raise: Raise) -> Complaint {
        Complaint::new(raise.to_string(), None)
    }
}

/// The arguments of a call.
#[derive(Default)]
pub struct Given {
    pub args: Vec<Sketch>,
    /// Whether the last one may be several or none, as a call or `...` in Lua.
    pub is_open: bool,
}

impl Given {
    /// What the parameters get.
    fn spread(&self, params: usize) -> Vec<Sketch> {
        let mut args = self.args.clone();
        if self.is_open {
            args.pop();
            let missing = params.saturating_sub(args.len());
            args.extend(std::iter::repeat_n(Sketch::Unknown, missing));
        }
        args
    }
}

/// How a member is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `a.b()` in Lua, `a::b()` in Rhai.
    Function,
    /// `a:b()` in Lua, `a.b()` in Rhai.
    Method,
}

pub fn module(name: &str) -> Option<&'static Module> {
    host::MODULES.iter().copied().find(|module| module.name == name)
}

fn kind(name: &str) -> Option<&'static Kind> {
    host::KINDS.iter().copied().find(|kind| kind.name == name)
}

/// What a hook's parameters are, in their order.
pub fn params(hook: Hook) -> Vec<Sketch> {
    let known = |name: &&str| match *name {
        "req" => Sketch::Object(&host::request::KIND),
        "res" => Sketch::Object(&host::response::KIND),
        "ctx" => Sketch::Object(&host::context::KIND),
        "err" => Sketch::Object(&host::context::ERROR),
        _ => Sketch::Unknown,
    };
    hook.params().iter().map(known).collect()
}

fn given_back(ty: &Type) -> Sketch {
    match ty {
        Type::Object(name) => kind(name).map_or(Sketch::Unknown, Sketch::Object),
        _ => Sketch::Unknown,
    }
}

/// A member is read and not called.
pub fn read(language: Language, of: &Sketch, name: &str) -> Result<Sketch, Complaint> {
    match of {
        Sketch::Object(kind) => {
            if let Some(property) = kind.property(name) {
                return Ok(given_back(&property.ty));
            }
            match (kind.method(name), language) {
                // In Lua it is a value like any other.
                (Some(_), Language::Lua) => Ok(Sketch::Unknown),
                _ if kind.index.is_some() => Ok(Sketch::Unknown),
                _ => Err(Complaint::of(convert::unknown_member(kind, name))),
            }
        }
        // Reading what is not there is how a script asks whether it is.
        _ => Ok(Sketch::Unknown),
    }
}

/// A member is assigned.
pub fn assigned(of: &Sketch, name: &str, value: &Sketch) -> Result<(), Complaint> {
    let Sketch::Object(kind) = of else { return Ok(()) };
    let place = |place: String| move |raise| Complaint::of(convert::named(&place, raise));
    match (kind.property(name), &kind.index) {
        (Some(property), _) if property.set.is_none() => match value {
            // Rhai may assign what it has read.
            Sketch::Unknown | Sketch::Object(_) => Ok(()),
            _ => Err(Complaint::of(convert::read_only(kind, name))),
        },
        (Some(property), _) => {
            let fits = convert::assigned(&property.ty, value);
            fits.map(drop).map_err(place(format!("{}.{name}", kind.name)))
        }
        (None, Some(index)) if index.set.is_some() => {
            let ty = if matches!(index.ty, Type::Maybe(Type::String)) { &Type::Scalar } else { &index.ty };
            convert::assigned(ty, value).map(drop).map_err(place(format!("{}[{name:?}]", kind.name)))
        }
        (None, Some(_)) => match value {
            Sketch::Unknown | Sketch::Object(_) => Ok(()),
            _ => Err(Complaint::of(convert::read_only(kind, name))),
        },
        (None, None) => Err(Complaint::of(convert::unknown_member(kind, name))),
    }
}

/// A member is called.
pub fn called(language: Language, of: &Sketch, name: &str, way: Way, given: &Given) -> Result<Sketch, Complaint> {
    match of {
        Sketch::Module(module) => {
            let dot = if language == Language::Lua { "." } else { "::" };
            let full = format!("{}{dot}{name}", module.name);
            let Some(function) = module.functions.iter().find(|function| function.name == name) else {
                return Err(no_function(module, name, dot));
            };
            if way == Way::Method {
                let message = format!("{full}: it is a function and no method");
                return Err(Complaint::new(message, Some(format!("write `{full}(…)`"))));
            }
            call(function, &full, &given.spread(function.params.len()))
        }
        Sketch::Object(kind) => {
            let Some(method) = kind.method(name) else { return no_method(kind, name) };
            let full = match language {
                Language::Lua => format!("{}:{name}", kind.name),
                Language::Rhai => name.to_owned(),
            };
            if way == Way::Function {
                return match given.args.first() {
                    // `req.json(req)`
                    Some(Sketch::Unknown | Sketch::Object(_)) => Ok(given_back(&method.returns)),
                    _ => Err(Complaint::new(format!("{full}: call it with a colon, on a {}", kind.name), None)),
                };
            }
            call(method, &full, &given.spread(method.params.len()))
        }
        _ => Ok(Sketch::Unknown),
    }
}

/// One of the functions that are called by their bare names.
pub fn global(name: &str, given: &Given) -> Result<Sketch, Complaint> {
    match host::GLOBALS.iter().find(|function| function.name == name) {
        Some(function) => call(function, name, &given.spread(function.params.len())),
        None => Ok(Sketch::Unknown),
    }
}

fn call(function: &Function, full: &str, given: &[Sketch]) -> Result<Sketch, Complaint> {
    let fits = convert::args(function.params, function.variadic, given.iter().cloned(), &mut Vec::new());
    fits.map_err(|raise| Complaint::of(convert::named(full, raise)))?;
    Ok(given_back(&function.returns))
}

/// What to say of a function that a module lacks.
pub fn no_function(module: &Module, name: &str, dot: &str) -> Complaint {
    let known = || module.functions.iter().map(|function| function.name);
    let help = match nearest(name, known()) {
        Some(near) => format!("did you mean `{}{dot}{near}`?", module.name),
        None => format!("it has {}", known().collect::<Vec<_>>().join(", ")),
    };
    Complaint::new(format!("there is no function `{}{dot}{name}`", module.name), Some(help))
}

fn no_method(kind: &Kind, name: &str) -> Result<Sketch, Complaint> {
    // What stands there under a name is no function either.
    let by_name = || format!("a value is read by its name, as in `{}[\"name\"]`", kind.name.replace(' ', "_"));
    let help = (kind.index.is_some() && kind.property(name).is_none() && kind.nearest(name).is_none()).then(by_name);
    Err(Complaint { help, ..Complaint::of(convert::unknown_member(kind, name)) })
}

/// What a hook returns.
pub fn returned(language: Language, hook: Hook, value: &Sketch) -> Result<(), Complaint> {
    let is_chunk = matches!(hook, Hook::OnRequestChunk | Hook::OnResponseChunk);
    let is_right = match value {
        Sketch::Unknown | Sketch::Nil => true,
        Sketch::Object(kind) => !is_chunk && std::ptr::eq(*kind, &host::reply::KIND),
        Sketch::Text(_) => is_chunk,
        _ => false,
    };
    if is_right || matches!(hook, Hook::OnLoad | Hook::Every) {
        return Ok(());
    }
    let help = if is_chunk { NO_CHUNK } else { no_decision(language) };
    let message = format!("{} returned {}", hook.name(), value.type_name());
    Err(Complaint { fault: Fault::Returned, message, help: Some(help.into()) })
}

/// So many findings of a file are told.
const MAX_TOLD: usize = 20;

/// In the order of the file, one for each place; the first with what else there is.
pub fn told(mut findings: Vec<Finding>, error: impl Fn(Finding) -> ScriptError) -> Option<ScriptError> {
    findings.sort_by_key(|finding| finding.place);
    findings.dedup_by_key(|finding| finding.place);
    let mut errors = findings.into_iter().take(MAX_TOLD).map(error);
    let first = errors.next()?;
    Some(ScriptError { also: errors.collect(), ..first })
}

/// The column of a finding: of the name that it speaks of, where the line has that once.
pub fn pointed(place: &Place, message: &str, line: &str) -> usize {
    let named = message.split('`').nth(1).and_then(|word| only_place(word, line));
    named.map_or(place.column, |bytes| 1 + line[..bytes].chars().count())
}

/// Where the line has a word by itself, in bytes, if it has it once.
pub fn only_place(word: &str, line: &str) -> Option<usize> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let is_alone = |at: &usize| {
        let (before, after) = (&line[..*at], &line[at + word.len()..]);
        !(word.starts_with(is_part) && before.ends_with(is_part)
            || word.ends_with(is_part) && after.starts_with(is_part))
    };
    let mut places = line.match_indices(word).map(|(at, _)| at).filter(is_alone);
    let first = places.next().filter(|_| !word.is_empty());
    first.filter(|_| places.next().is_none())
}

impl Native for Sketch {
    fn is_unknown(&self) -> bool {
        matches!(self, Sketch::Unknown | Sketch::Object(_))
    }

    fn is_nil(&self) -> bool {
        matches!(self, Sketch::Nil)
    }

    fn scalar(&self) -> Option<Value> {
        match self {
            Sketch::Bool(bool) => Some(Value::Bool(*bool)),
            Sketch::Number(number) => Some(Value::Float(*number)),
            Sketch::Text(text) => Some(text.as_str().into()),
            _ => None,
        }
    }

    fn bytes(&self) -> Option<Bytes> {
        None
    }

    fn object(&self) -> Option<Object> {
        None
    }

    fn function(&self) -> Option<super::background::Callback> {
        matches!(self, Sketch::Function).then(|| std::rc::Rc::new(()) as super::background::Callback)
    }

    fn list(&self) -> Option<Vec<Sketch>> {
        match self {
            Sketch::Table(_, parts) if parts.entries.is_empty() => Some(parts.items.clone()),
            _ => None,
        }
    }

    fn entries(&self) -> Result<Option<Vec<Entry<'_, Sketch>>>, Raise> {
        match self {
            Sketch::Table(_, parts) if parts.items.is_empty() => {
                Ok(Some(parts.entries.iter().map(|(name, part)| (name.into(), part.clone())).collect()))
            }
            Sketch::Table(TABLE, _) => Err(Raise::error("expected names as keys, got a number")),
            _ => Ok(None),
        }
    }

    fn json(&self) -> Result<Bytes, Raise> {
        Ok(json::null())
    }

    fn type_name(&self) -> String {
        match self {
            Sketch::Unknown => "something".into(),
            Sketch::Nil => "nothing".into(),
            Sketch::Bool(_) => "a boolean".into(),
            Sketch::Number(_) => "a number".into(),
            Sketch::Text(_) => "a string".into(),
            Sketch::Function => "a function".into(),
            Sketch::Table(word, _) => (*word).into(),
            Sketch::Module(module) => format!("the module `{}`", module.name),
            Sketch::Object(kind) => format!("a {}", kind.name),
        }
    }

    /// Sizes are for a run to judge, whose limits are known.
    fn size(&self) -> usize {
        0
    }

    fn most(&self) -> usize {
        usize::MAX
    }
}
