//! The one list of what scripts can call.
//!
//! Each host module and each object kind is described here once: names, parameters, types,
//! documentation, an example in both languages, and the Rust function behind it. Both engines bind
//! what the list says, and the reference and the editor stubs are printed from it; nothing is bound by
//! hand in only one language. The entries themselves stand in `host/`, one file a topic.

use super::{Raise, Scope, object::Object, value::Args, value::Value};
use futures_util::future::LocalBoxFuture;
use std::task::Waker;

/// A type as the list declares it; it guides the conversion of values and is printed in the stubs.
#[derive(Debug)]
pub enum Type {
    /// Nothing is returned.
    Nil,
    Bool,
    Int,
    Number,
    /// Text; in Lua any bytes.
    String,
    /// A string in Lua, a blob or string in Rhai.
    Bytes,
    /// `"500ms"`, `"5s"`, or a number of seconds.
    Duration,
    /// Whatever JSON can say; crosses as text.
    Json,
    /// A string, number, boolean or nil, as it is.
    Scalar,
    /// One of these, or a list of them.
    Scalars,
    List(&'static Type),
    Map(&'static Type),
    /// A table or map with these entries and no others; as what a function returns, a record of them.
    Options(&'static [Param]),
    /// An object by the name of its kind.
    Object(&'static str),
    /// A function of the script; taken only.
    Function,
    /// Kept by the engine in its own form, as `ctx.state` and `ctx.config` are.
    Native,
    /// Whatever comes, as a reply of Redis does; returned only.
    Any,
    /// The type, or nil.
    Maybe(&'static Type),
}

#[derive(Debug)]
pub struct Param {
    pub name: &'static str,
    pub ty: Type,
    pub optional: bool,
    pub doc: &'static str,
}

impl Param {
    pub const fn required(name: &'static str, ty: Type, doc: &'static str) -> Param {
        Param { name, ty, optional: false, doc }
    }
    pub const fn optional(name: &'static str, ty: Type, doc: &'static str) -> Param {
        Param { name, ty, optional: true, doc }
    }
}

/// How a host function ends: at once, or later, when the script is suspended meanwhile.
pub enum Outcome {
    Done(Result<Value, Raise>),
    Wait(LocalBoxFuture<'static, Result<Value, Raise>>),
}

impl Outcome {
    pub fn wait(future: impl Future<Output = Result<Value, Raise>> + 'static) -> Outcome {
        Outcome::Wait(Box::pin(future))
    }
}

/// Wakes nobody: by it a function that would wait is asked first whether it has its result at once.
pub static NOBODY: &Waker = Waker::noop();

impl<T: Into<Value>> From<Result<T, Raise>> for Outcome {
    fn from(result: Result<T, Raise>) -> Outcome {
        Outcome::Done(result.map(Into::into))
    }
}
impl<T: Into<Value>> From<T> for Outcome {
    fn from(value: T) -> Outcome {
        Outcome::Done(Ok(value.into()))
    }
}

/// A function of a module, or a method of an object kind (whose first argument is the object and is not
/// among `params`).
pub struct Function {
    pub name: &'static str,
    pub params: &'static [Param],
    /// More scalar arguments may follow the declared ones.
    pub variadic: bool,
    pub returns: Type,
    pub doc: &'static str,
    /// One line in each language.
    pub lua: &'static str,
    pub rhai: &'static str,
    pub run: fn(&Scope, Args) -> Outcome,
}

pub struct Module {
    pub name: &'static str,
    pub doc: &'static str,
    pub functions: &'static [Function],
    pub constants: &'static [Constant],
}

/// A value of a module, such as `json.null`.
pub struct Constant {
    pub name: &'static str,
    pub doc: &'static str,
    pub value: ConstantValue,
}

pub enum ConstantValue {
    /// JSON's null: a value of its own in Lua, `()` in Rhai.
    Null,
    Text(&'static str),
    Int(i64),
}

/// Writes a member of an object.
pub type Setter = fn(&Scope, &Object, Value) -> Result<(), Raise>;
/// The same by a name that is not in the list.
pub type IndexSetter = fn(&Scope, &Object, &str, Value) -> Result<(), Raise>;

pub struct Property {
    pub name: &'static str,
    pub ty: Type,
    pub doc: &'static str,
    pub get: fn(&Object) -> Result<Value, Raise>,
    /// `None`: read only.
    pub set: Option<Setter>,
}

/// Reading and writing by a name that is not in the list, as `headers["x-key"]` does.
pub struct Index {
    pub ty: Type,
    pub get: fn(&Object, &str) -> Result<Value, Raise>,
    pub set: Option<IndexSetter>,
    /// All names, for iteration.
    pub names: fn(&Object) -> Result<Vec<String>, Raise>,
}

/// A kind of object: what `req`, `res`, `ctx`, `headers` and the others can do.
pub struct Kind {
    pub name: &'static str,
    pub doc: &'static str,
    pub properties: &'static [Property],
    pub methods: &'static [Function],
    pub index: Option<Index>,
}

impl Kind {
    pub fn property(&self, name: &str) -> Option<&'static Property> {
        self.properties.iter().find(|property| property.name == name)
    }

    pub fn method(&self, name: &str) -> Option<&'static Function> {
        self.methods.iter().find(|method| method.name == name)
    }

    /// The right name nearest to a wrong one, for messages.
    pub fn nearest(&self, wrong: &str) -> Option<&'static str> {
        nearest(wrong, self.properties.iter().map(|p| p.name).chain(self.methods.iter().map(|m| m.name)))
    }
}

/// The candidate most like `wrong`, when one is near enough to be what was meant.
pub fn nearest<'a>(wrong: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(wrong, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min()
        .map(|(_, candidate)| candidate)
}
