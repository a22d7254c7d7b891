//! From a script's text to a [`Compiled`] program: its imports, its hooks, its top level.
//!
//! Imports are found, compiled and evaluated here, once, so that one that is missing or goes in a circle is an error at
//! compile time. The top level of a script is evaluated once to see that it works, and again before each hook when there
//! is one: functions see its imports and constants (`global::NAME`) only in a run that has evaluated it.

use super::{
    program::Compiled,
    report::{self, Files},
    run::{Run, Worker},
    uses,
};
use crate::script::{
    Hook, Hooks, Language, Modules, ScriptError, Source, check,
    error::Fault,
    limits::{Budget, Limits},
    list::nearest,
};
use ::rhai::{AST, ASTNode, Engine, Expr, Module, Position, Scope, ScriptFuncDef, Stmt};
use std::{
    rc::Rc,
    time::{Duration, Instant},
};

pub fn compile(
    interpreter: &Rc<Engine>,
    worker: &Rc<Worker>,
    source: &Source,
    modules: &Rc<dyn Modules>,
) -> Result<Compiled, ScriptError> {
    worker.loading.borrow_mut().clear();
    let mut loader = Loader { interpreter, worker, modules, files: Files::new(source), path: Vec::new() };
    let ast = loader.parse(source)?;
    let hooks = hooks(&ast, &loader.files)?;
    let findings = uses::judge(&source.text, &ast);
    if let Some(error) = check::told(findings, |finding| report::found(source, finding)) {
        return Err(error);
    }
    loader.evaluate(source, &ast, |interpreter| interpreter.run_ast(&ast))?;
    let Loader { files, .. } = loader;
    let imports = Rc::new(std::mem::take(&mut *worker.loading.borrow_mut()));
    Ok(Compiled::new(interpreter.clone(), worker.clone(), ast, hooks, files, imports))
}

struct Loader<'a> {
    interpreter: &'a Rc<Engine>,
    worker: &'a Rc<Worker>,
    modules: &'a Rc<dyn Modules>,
    files: Files,
    /// Names of the modules that are being loaded, outermost first.
    path: Vec<String>,
}

impl Loader<'_> {
    /// Compiles one file and loads what it imports.
    fn parse(&mut self, source: &Source) -> Result<AST, ScriptError> {
        let compiled = self.interpreter.compile(&*source.text);
        let mut ast = compiled.map_err(|error| report::syntax(&self.files, source, &error))?;
        ast.set_source(source.path.to_string_lossy().into_owned());
        let mut imports = Vec::new();
        ast.walk(&mut |nodes: &[ASTNode]| {
            if let Some(ASTNode::Stmt(Stmt::Import(import, position))) = nodes.last() {
                imports.push((literal(&import.0), *position));
            }
            true
        });
        for (name, position) in imports {
            let refuse = |message: String| report::at(source, position, Fault::Syntax, message);
            let name = name.ok_or_else(|| refuse("what is imported must be named by a string literal".into()))?;
            if self.worker.loading.borrow().contains_key(&name) {
                continue;
            }
            if self.path.contains(&name) {
                self.path.push(name.clone());
                return Err(refuse(format!("modules import each other: `{}`", self.path.join("` → `"))));
            }
            let module = self.modules.find(Language::Rhai, &name);
            let module = module.ok_or_else(|| refuse(format!("there is no module `{name}`")))?;
            self.load(name, &module)?;
        }
        Ok(ast)
    }

    fn load(&mut self, name: String, source: &Source) -> Result<(), ScriptError> {
        self.files.add(source);
        self.path.push(name.clone());
        let ast = self.parse(source)?;
        self.path.pop();
        let mut made = None;
        self.evaluate(source, &ast, |interpreter| {
            made = Some(Module::eval_ast_as_new(Scope::new(), &ast, interpreter)?);
            Ok(())
        })?;
        if let Some(module) = made {
            self.worker.loading.borrow_mut().insert(name, module.into());
        }
        Ok(())
    }

    /// Runs a file's top level, within a hook's limits but without giving way: nothing is served yet.
    fn evaluate(
        &self,
        source: &Source,
        ast: &AST,
        with: impl FnOnce(&Engine) -> Result<(), Box<::rhai::EvalAltResult>>,
    ) -> Result<(), ScriptError> {
        let limits = Limits::default();
        let budget = Budget::new(&limits, Instant::now() + Duration::from_secs(10), &self.worker.clock);
        let run = Run::new(self.worker, None, budget, &limits, Rc::default(), Rc::default(), Rc::default());
        let result = run.slice(|| with(self.interpreter));
        let mut error = match (run.budget.hit(), result) {
            (Some(limit), _) => report::limit(&self.files, (limit, run.memory()), None, None),
            (None, Err(error)) => report::runtime(&self.files, source, *error, None, None, &[]),
            (None, Ok(())) => return Ok(()),
        };
        if let (0, Some(first)) = (error.line, ast.statements().first()) {
            let place = report::at(source, first.position(), Fault::Runtime, String::new());
            error = ScriptError { fault: error.fault, message: error.message, help: error.help, ..place };
        }
        Err(error)
    }
}

fn literal(expr: &Expr) -> Option<String> {
    match expr {
        Expr::StringConstant(text, _) => Some(text.to_string()),
        _ => None,
    }
}

/// Finds the hooks, and complains of functions that were meant to be one.
fn hooks(ast: &AST, files: &Files) -> Result<Hooks, ScriptError> {
    let mut hooks = Hooks::default();
    let mut functions: Vec<&ScriptFuncDef> = ast.iter_fn_def().map(|function| &**function).collect();
    functions.sort_by_key(|function| position(function));
    for function in &functions {
        let params: Vec<&str> = function.params.iter().map(|param| param.as_str()).collect();
        let refuse = |message: String| {
            let mut error = report::at(files.main(), position(function), Fault::Syntax, message);
            report::point_at(&mut error, &function.name);
            error
        };
        if let Some(hook) = Hook::named(&function.name) {
            if params.len() != hook.params().len() {
                return Err(refuse(format!(
                    "the hook `{}` takes ({}), not ({})",
                    hook.name(),
                    hook.params().join(", "),
                    params.join(", ")
                )));
            }
            hooks.add(hook);
        } else if let Some(meant) = meant(&function.name, &params) {
            return Err(refuse(format!("there is no hook `{}`, did you mean `{meant}`?", function.name)));
        }
    }
    Ok(hooks)
}

/// The hook that a function's name is a slip of. Functions that are not called `on…` may have any name, so only those with a
/// hook's parameters count.
fn meant(name: &str, params: &[&str]) -> Option<&'static str> {
    let near = nearest(name, Hook::ALL.into_iter().map(Hook::name))?;
    let its_params = Hook::named(near).map(Hook::params)?;
    (name.starts_with("on") || params == its_params).then_some(near)
}

/// Where a function's body begins.
pub fn position(function: &ScriptFuncDef) -> Position {
    function.body.start_position()
}
