//! Rhai: one engine for each worker and generation.
//!
//! A hook runs on a [`fiber`], so that a host call which must wait suspends it; [`run`] counts what it uses and gives way for
//! it; [`bind`] and [`object`] show it the one list; [`json`] and [`convert`] carry its values. Nothing that a script
//! made leaves its fiber but the state of `on_load`.
//!
//! Deliberately absent: `eval`, `sleep`, files, and Rhai's own module resolver.

mod bind;
mod compile;
mod convert;
mod entry;
mod fiber;
mod json;
mod library;
mod object;
mod program;
mod report;
mod run;
#[cfg(test)]
mod tests;
mod uses;
mod wanted;
mod whole;

use super::{Engine, Modules, Program, ScriptError, Source, limits::Limits};
use ::rhai::{
    Engine as Interpreter, EvalAltResult, Module, OptimizationLevel, Position, Shared,
    packages::{Package, StandardPackage},
};
use run::Worker;
use std::rc::Rc;

/// The Rhai engine of one worker and one generation.
pub struct RhaiEngine {
    interpreter: Rc<Interpreter>,
    worker: Rc<Worker>,
}

impl RhaiEngine {
    /// `memory`: bytes that all its scripts may hold together while they run.
    pub fn new(memory: usize) -> Result<RhaiEngine, ScriptError> {
        let worker = Worker::new(memory);
        let mut interpreter = Interpreter::new_raw();
        interpreter.register_global_module(StandardPackage::new().as_shared_module());
        library::replace(&mut interpreter, &worker);
        bind::bind(&mut interpreter, &worker);
        name_types(&mut interpreter);
        restrict(&mut interpreter, &worker, memory);
        Ok(RhaiEngine { interpreter: Rc::new(interpreter), worker })
    }
}

impl Engine for RhaiEngine {
    fn compile(&self, source: &Source, modules: &Rc<dyn Modules>) -> Result<Rc<dyn Program>, ScriptError> {
        Ok(Rc::new(compile::compile(&self.interpreter, &self.worker, source, modules)?))
    }
}

/// Gives Rhai's own types the names that they have anyway, in the module that is searched first. At each call of a method Rhai asks
/// what the object's type is called, and for a type without a name would look through all modules. Only types that are often
/// asked for: each name makes finding the others dearer.
fn name_types(interpreter: &mut Interpreter) {
    for name in ["array", "i64", "map", "string"] {
        interpreter.register_type_with_name_raw(name, name);
    }
}

/// Sets every limit that Rhai has: they default to none.
fn restrict(interpreter: &mut Interpreter, worker: &Rc<Worker>, memory: usize) {
    // `Full` would call host functions while compiling. Simple folds constants only.
    interpreter.set_optimization_level(OptimizationLevel::Simple);
    // Interning costs more than it saves when hooks are short: every string is looked up.
    interpreter.set_max_strings_interned(0);
    interpreter.set_strict_variables(true);
    interpreter.disable_symbol("eval");
    interpreter.set_max_call_levels(Limits::default().depth);
    interpreter.set_max_expr_depths(64, 64);
    interpreter.set_max_functions(1000);
    interpreter.set_max_variables(1000);
    interpreter.set_max_modules(100);
    // Rhai checks sizes after the fact and adds up what is nested, so these leave room for one operation too many. Arrays cost
    // most: an item takes 16 bytes, and copying the largest array should take milliseconds. Blobs share their limit.
    interpreter.set_max_string_size(memory / 8);
    interpreter.set_max_array_size(memory / 256);
    interpreter.set_max_map_size(memory / 256);
    let asked = worker.clone();
    interpreter.on_progress(move |_| asked.progress().then(|| ().into()));
    let speaker = worker.clone();
    interpreter.on_print(move |text| speaker.print(text));
    let speaker = worker.clone();
    interpreter.on_debug(move |text, _, _| speaker.print(text));
    interpreter.set_module_resolver(Imported(worker.clone()));
}

/// Imports are loaded while a script is compiled; here they are only looked up.
struct Imported(Rc<Worker>);

impl ::rhai::ModuleResolver for Imported {
    fn resolve(
        &self,
        _: &Interpreter,
        _: Option<&str>,
        name: &str,
        position: Position,
    ) -> Result<Shared<Module>, Box<EvalAltResult>> {
        let found = self.0.import(name);
        found.ok_or_else(|| Box::new(EvalAltResult::ErrorModuleNotFound(name.to_owned(), position)))
    }
}
