//! How hooks are entered: one statement each that calls the hook's function, and caches that outlive a call.
//!
//! Rhai finds a function by a hash of its name and the types of its arguments, and remembers what it found for the length
//! of one call. [`Entries`] keeps that for the next one, which saves most of what a short hook costs.
//!
//! Not kept when a script imports modules: what a name means may then change while it runs.

use crate::script::{Hook, Hooks};
use ::rhai::{AST, Caches, Dynamic, Engine, Expr, ImmutableString, Position, Scope, Stmt};
use std::cell::RefCell;

/// Caches kept for hooks that run at the same time: each uses one from its beginning to its end.
const KEPT: usize = 64;
/// A cache with more entries is not kept: a script can make up names to call.
const MAX_ENTRIES: usize = 512;

pub struct Entries {
    /// By the hook's number.
    calls: [Option<Entry>; Hook::ALL.len()],
    /// Of a function that `every` was given.
    pub callback: Option<Entry>,
    /// The script's path, as errors name it.
    pub source: Option<ImmutableString>,
    kept: RefCell<Vec<Caches>>,
    keeps: bool,
}

/// A call of a hook's function with variables named as its parameters.
pub struct Entry {
    pub call: Box<[Stmt]>,
    pub names: Box<[ImmutableString]>,
}

impl Entries {
    /// `keeps`: whether what the script's names mean stays the same.
    pub fn new(interpreter: &Engine, ast: &AST, hooks: Hooks, keeps: bool) -> Entries {
        let calls = Hook::ALL.map(|hook| hooks.has(hook).then(|| call(interpreter, hook)).flatten());
        let callback = entry(interpreter, CALLBACK, ["run"].map(Into::into).into());
        Entries { calls, callback, source: ast.source().map(Into::into), kept: RefCell::default(), keeps }
    }

    pub fn of(&self, hook: Hook) -> Option<&Entry> {
        self.calls[hook as usize].as_ref()
    }

    pub fn take(&self) -> Caches {
        self.kept.borrow_mut().pop().unwrap_or_default()
    }

    pub fn give_back(&self, mut caches: Caches) {
        let mut kept = self.kept.borrow_mut();
        if self.keeps && kept.len() < KEPT && caches.fn_resolution_cache_mut().dict.len() <= MAX_ENTRIES {
            caches.rewind_fn_resolution_caches(1);
            kept.push(caches);
        }
    }
}

const CALLBACK: &str = "run.call()";

fn call(interpreter: &Engine, hook: Hook) -> Option<Entry> {
    let text = format!("{}({})", hook.name(), hook.params().join(", "));
    entry(interpreter, &text, hook.params().iter().map(|name| (*name).into()).collect())
}

fn entry(interpreter: &Engine, text: &str, names: Box<[ImmutableString]>) -> Option<Entry> {
    let mut scope = Scope::new();
    for name in &names {
        scope.push_dynamic(name.clone(), Dynamic::UNIT);
    }
    let ast = interpreter.compile_with_scope(&scope, text).ok()?;
    // It stands nowhere in the script, and errors must not say that it does.
    let nowhere = |statement: &Stmt| match statement.clone() {
        Stmt::FnCall(call, _) => Stmt::FnCall(call, Position::NONE),
        Stmt::Expr(expr) => match *expr {
            Expr::FnCall(call, _) => Stmt::FnCall(call, Position::NONE),
            other => Stmt::Expr(other.into()),
        },
        other => other,
    };
    Some(Entry { call: ast.statements().iter().map(nowhere).collect(), names })
}
