//! Walks a script's tree for what it does with the gateway's objects and modules, and has it judged: see [`check`].
//!
//! Functions see their parameters and their own variables only, so each is walked alone; those of hooks are known. Of a variable
//! that is assigned anywhere in its function nothing is certain. Functions that are called within `try` are left alone too.

use crate::script::{
    Hook, Language,
    check::{self, ARRAY, Complaint, Finding, Given, MAP, Parts, Place, Sketch, Way},
};
use ::rhai::{
    AST, ASTFlags, ASTNode, Array, BinaryExpr, Dynamic, Expr, FnCallExpr, Map, Position, ScriptFuncDef, Stmt, StmtBlock,
};
use ahash::AHashSet;

/// Methods that every value has.
const UNIVERSAL: &[&str] =
    &["call", "contains", "curry", "debug", "is_shared", "print", "tag", "to_debug", "to_string", "type_of"];

/// What in the file would fail when it is run.
pub fn judge(text: &str, ast: &AST) -> Vec<Finding> {
    if text.contains(Language::Rhai.unchecked()) {
        return Vec::new();
    }
    let functions = functions(ast);
    let mut file = File {
        own: functions.iter().map(|function| function.def.name.as_str()).collect(),
        imported: AHashSet::new(),
        tried: tried(&functions),
    };
    ast.walk(&mut |nodes: &[ASTNode]| {
        if let Some(ASTNode::Stmt(Stmt::Import(import, _))) = nodes.last() {
            file.imported.insert(import.1.name.to_string());
        }
        true
    });
    let mut findings = Vec::new();
    for function in &functions {
        let is_closure = function.def.name.starts_with("anon$");
        if file.tried.contains(function.def.name.as_str()) || is_closure && !file.tried.is_empty() {
            continue;
        }
        findings.extend(Walker::new(&file, function).walk(&function.body));
    }
    findings
}

struct Function<'a> {
    def: &'a ScriptFuncDef,
    body: Vec<Stmt>,
}

/// The functions with their bodies, which Rhai shows to a walk alone: a statement is of the innermost function that it stands in.
fn functions(ast: &AST) -> Vec<Function<'_>> {
    let mut functions: Vec<Function> = ast.iter_fn_def().map(|def| Function { def, body: Vec::new() }).collect();
    let mut of_file = ast.statements().len();
    ast.walk(&mut |nodes: &[ASTNode]| {
        let [ASTNode::Stmt(statement)] = nodes else { return true };
        if of_file > 0 {
            of_file -= 1;
            return true;
        }
        let at = statement.position();
        // A closure without braces has no end.
        let holds = |def: &ScriptFuncDef| {
            let (start, end) = (def.body.start_position(), def.body.end_position());
            start == at || start <= at && at <= end
        };
        let around = functions.iter_mut().filter(|function| holds(function.def));
        if let Some(function) = around.max_by_key(|function| function.def.body.start_position()) {
            function.body.push((*statement).clone());
        }
        true
    });
    functions
}

/// Functions that are called within `try`, by what is called there too. `try` itself stands for any use of it.
fn tried<'a>(functions: &[Function<'a>]) -> AHashSet<&'a str> {
    let mut names = AHashSet::new();
    for function in functions {
        let mut in_try = Vec::new();
        walk(&function.body, &mut |statement| {
            if let Stmt::TryCatch(parts, _) = statement {
                in_try.push(parts.body.clone());
            }
        });
        if !in_try.is_empty() {
            names.insert("try");
        }
        let is_in = |name: &str| in_try.iter().any(|block| called(block.statements(), name));
        names.extend(functions.iter().map(|other| other.def.name.as_str()).filter(|name| is_in(name)));
    }
    loop {
        let before = names.len();
        for function in functions {
            let name = function.def.name.as_str();
            let mut within = functions.iter().filter(|other| names.contains(other.def.name.as_str()));
            if within.any(|other| called(&other.body, name)) {
                names.insert(name);
            }
        }
        if names.len() == before {
            return names;
        }
    }
}

/// Every statement below these.
fn walk(statements: &[Stmt], with: &mut dyn FnMut(&Stmt)) {
    for statement in statements {
        statement.walk(&mut Vec::new(), &mut |nodes: &[ASTNode]| {
            if let Some(ASTNode::Stmt(statement)) = nodes.last() {
                with(statement);
            }
            true
        });
    }
}

/// Whether a function of this name is called, or named, below these.
fn called(statements: &[Stmt], name: &str) -> bool {
    let mut found = false;
    for statement in statements {
        statement.walk(&mut Vec::new(), &mut |nodes: &[ASTNode]| {
            found |= match nodes.last() {
                Some(ASTNode::Expr(Expr::FnCall(call, _) | Expr::MethodCall(call, _)))
                | Some(ASTNode::Stmt(Stmt::FnCall(call, _))) => call.name == name,
                Some(ASTNode::Expr(Expr::StringConstant(text, _))) => text == name,
                _ => false,
            };
            !found
        });
    }
    found
}

struct File<'a> {
    /// Functions of the script.
    own: AHashSet<&'a str>,
    /// What modules are imported as.
    imported: AHashSet<String>,
    tried: AHashSet<&'a str>,
}

struct Walker<'a> {
    file: &'a File<'a>,
    hook: Option<Hook>,
    assigned: AHashSet<String>,
    scopes: Vec<Vec<(String, Sketch)>>,
    guards: usize,
    findings: Vec<Finding>,
}

impl<'a> Walker<'a> {
    fn new(file: &'a File<'a>, function: &Function) -> Walker<'a> {
        let hook = Hook::named(&function.def.name);
        let known = hook.map(check::params).unwrap_or_default();
        let mut assigned = AHashSet::new();
        walk(&function.body, &mut |statement| {
            if let Stmt::Assignment(assignment) = statement
                && let Expr::Variable(variable, ..) = &assignment.1.lhs
            {
                assigned.insert(variable.1.to_string());
            }
        });
        let mut walker = Walker { file, hook, assigned, scopes: vec![Vec::new()], guards: 0, findings: Vec::new() };
        for (index, param) in function.def.params.iter().enumerate() {
            walker.declare(param, known.get(index).cloned().unwrap_or_default());
        }
        walker
    }

    fn walk(mut self, body: &[Stmt]) -> Vec<Finding> {
        let last = self.statements(body);
        if let Some((sketch, position)) = last {
            self.returned(&sketch, position);
        }
        self.findings
    }

    fn declare(&mut self, name: &str, sketch: Sketch) {
        // What a map holds may change.
        let is_certain = !self.assigned.contains(name) && !matches!(sketch, Sketch::Table(..));
        if let Some(scope) = self.scopes.last_mut() {
            scope.push((name.to_owned(), if is_certain { sketch } else { Sketch::Unknown }));
        }
    }

    fn say<T: Default>(&mut self, position: Position, judged: Result<T, Complaint>) -> T {
        judged.unwrap_or_else(|complaint| {
            let place = Place { line: position.line().unwrap_or(1), column: position.position().unwrap_or(1) };
            if self.guards == 0 {
                self.findings.push(Finding { place, complaint });
            }
            T::default()
        })
    }

    fn returned(&mut self, sketch: &Sketch, position: Position) {
        if let Some(hook) = self.hook {
            let judged = check::returned(Language::Rhai, hook, sketch);
            self.say(position, judged);
        }
    }

    /// Gives what the block ends with, if that is an expression.
    fn statements(&mut self, statements: &[Stmt]) -> Option<(Sketch, Position)> {
        let mut last = None;
        for statement in statements {
            last = self.statement(statement);
        }
        last
    }

    fn block(&mut self, block: &StmtBlock) {
        self.scopes.push(Vec::new());
        self.statements(block.statements());
        self.scopes.pop();
    }

    fn statement(&mut self, statement: &Stmt) -> Option<(Sketch, Position)> {
        match statement {
            Stmt::If(parts, _) | Stmt::While(parts, _) | Stmt::Do(parts, ..) => {
                self.expr(&parts.expr);
                self.block(&parts.body);
                self.block(&parts.branch);
            }
            Stmt::TryCatch(parts, _) => {
                self.guards += 1;
                self.block(&parts.body);
                self.guards -= 1;
                self.scopes.push(Vec::new());
                if let Expr::Variable(variable, ..) = &parts.expr {
                    self.declare(&variable.1, Sketch::Unknown);
                }
                self.statements(parts.branch.statements());
                self.scopes.pop();
            }
            Stmt::For(parts, _) => {
                let (name, counter, parts) = &**parts;
                self.expr(&parts.expr);
                self.scopes.push(Vec::new());
                for name in std::iter::once(name).chain(counter) {
                    self.declare(&name.name, Sketch::Unknown);
                }
                self.statements(parts.body.statements());
                self.scopes.pop();
            }
            Stmt::Switch(parts, _) => {
                self.expr(&parts.0);
                for case in &parts.1.expressions {
                    self.expr(&case.lhs);
                    self.expr(&case.rhs);
                }
            }
            Stmt::Var(parts, ..) => {
                let sketch = self.expr(&parts.1);
                self.declare(&parts.0.name, sketch);
            }
            Stmt::Assignment(parts) => self.assignment(&parts.1, parts.0.is_op_assignment()),
            Stmt::FnCall(call, position) => return Some((self.function(call, *position), *position)),
            Stmt::Block(block) => self.block(block),
            Stmt::Expr(expr) => return Some((self.expr(expr), expr.start_position())),
            Stmt::Return(Some(expr), flags, position) => {
                let sketch = self.expr(expr);
                if !flags.contains(ASTFlags::BREAK) {
                    self.returned(&sketch, *position);
                }
            }
            Stmt::BreakLoop(Some(expr), ..) => {
                self.expr(expr);
            }
            _ => {}
        }
        None
    }

    fn assignment(&mut self, parts: &BinaryExpr, also_reads: bool) {
        let value = self.expr(&parts.rhs);
        if also_reads {
            self.expr(&parts.lhs);
            return;
        }
        let Some((base, mut steps)) = steps(&parts.lhs) else { return };
        let last = steps.pop();
        let mut of = self.expr(base);
        for step in steps {
            of = self.step(&of, step);
        }
        let (name, position) = match last {
            Some(Step::Member(Expr::Property(property, position))) => (property.2.to_string(), *position),
            Some(Step::Index(Expr::StringConstant(text, position))) => (text.to_string(), *position),
            Some(step) => {
                self.step(&of, step);
                return;
            }
            None => return,
        };
        let judged = check::assigned(&of, &name, &value);
        self.say(position, judged);
    }

    fn exprs<'e>(&mut self, exprs: impl IntoIterator<Item = &'e Expr>) -> Vec<Sketch> {
        exprs.into_iter().map(|expr| self.expr(expr)).collect()
    }

    fn expr(&mut self, expr: &Expr) -> Sketch {
        match expr {
            Expr::DynamicConstant(value, _) => constant(value),
            Expr::BoolConstant(bool, _) => Sketch::Bool(*bool),
            Expr::IntegerConstant(int, _) => Sketch::Number(*int as f64),
            Expr::FloatConstant(float, _) => Sketch::Number(**float),
            Expr::CharConstant(char, _) => Sketch::Text(char.to_string()),
            Expr::StringConstant(text, _) => Sketch::Text(text.to_string()),
            Expr::Unit(_) => Sketch::Nil,
            Expr::Array(items, _) => Sketch::Table(ARRAY, Parts { items: self.exprs(items), entries: Vec::new() }),
            Expr::Map(map, _) => {
                let entries = map.0.iter().map(|(name, value)| (name.name.to_string(), self.expr(value)));
                let entries = entries.collect();
                Sketch::Table(MAP, Parts { items: Vec::new(), entries })
            }
            Expr::InterpolatedString(parts, _) => {
                self.exprs(parts);
                Sketch::Unknown
            }
            Expr::And(parts, _) | Expr::Or(parts, _) | Expr::Coalesce(parts, _) => {
                self.exprs(parts.iter());
                Sketch::Unknown
            }
            Expr::Variable(variable, ..) if variable.2.path.is_empty() => self.variable(&variable.1),
            Expr::Stmt(block) => {
                self.block(block);
                Sketch::Unknown
            }
            Expr::FnCall(call, position) => self.function(call, *position),
            Expr::Dot(..) | Expr::Index(..) => {
                let Some((base, steps)) = steps(expr) else { return Sketch::Unknown };
                let base = self.expr(base);
                steps.into_iter().fold(base, |of, step| self.step(&of, step))
            }
            _ => Sketch::Unknown,
        }
    }

    fn variable(&self, name: &str) -> Sketch {
        let found = self.scopes.iter().rev().find_map(|scope| scope.iter().rev().find(|(known, _)| known == name));
        found.map_or(Sketch::Unknown, |(_, sketch)| sketch.clone())
    }

    fn step(&mut self, of: &Sketch, step: Step) -> Sketch {
        match step {
            Step::Member(Expr::Property(property, position)) => {
                let judged = check::read(Language::Rhai, of, &property.2);
                self.say(*position, judged)
            }
            Step::Member(Expr::MethodCall(call, position)) => {
                let args = self.exprs(&call.args);
                let name = call.name.as_str();
                if self.file.own.contains(name) || UNIVERSAL.contains(&name) {
                    return Sketch::Unknown;
                }
                let given = Given { args, is_open: false };
                let judged = check::called(Language::Rhai, of, name, Way::Method, &given);
                self.say(*position, judged)
            }
            Step::Index(Expr::StringConstant(name, position)) => {
                let judged = check::read(Language::Rhai, of, name);
                self.say(*position, judged)
            }
            Step::Index(expr) | Step::Member(expr) => {
                self.expr(expr);
                Sketch::Unknown
            }
        }
    }

    fn function(&mut self, call: &FnCallExpr, position: Position) -> Sketch {
        let given = Given { args: self.exprs(&call.args), is_open: false };
        let name = call.name.as_str();
        let judged = match &call.namespace.path[..] {
            [] if call.op_token.is_some() || self.file.own.contains(name) => return Sketch::Unknown,
            [] => match check::module(name) {
                Some(module) => Err(module_called(module.name, module.functions[0].name)),
                None => check::global(name, &given),
            },
            [of] if !self.file.imported.contains(of.name.as_str()) => match check::module(&of.name) {
                Some(module) => check::called(Language::Rhai, &Sketch::Module(module), name, Way::Function, &given),
                None => return Sketch::Unknown,
            },
            _ => return Sketch::Unknown,
        };
        self.say(position, judged)
    }
}

fn module_called(name: &str, first: &str) -> Complaint {
    let help = format!("`{name}` is a module: call one of its functions, such as `{name}::{first}`");
    Complaint::new(format!("there is no function `{name}`"), Some(help))
}

/// A part of a chain such as `a.b[c].d()`.
pub enum Step<'e> {
    Member(&'e Expr),
    Index(&'e Expr),
}

/// What a chain begins with, and its steps: Rhai nests them from the left into the right.
pub fn steps(chain: &Expr) -> Option<(&Expr, Vec<Step<'_>>)> {
    let mut steps = Vec::new();
    let (Expr::Dot(parts, ..) | Expr::Index(parts, ..)) = chain else { return None };
    let (base, mut link) = (&parts.lhs, chain);
    loop {
        let (is_dot, parts, flags) = match link {
            Expr::Dot(parts, flags, _) => (true, parts, flags),
            Expr::Index(parts, flags, _) => (false, parts, flags),
            _ => return None,
        };
        let step = |expr| if is_dot { Step::Member(expr) } else { Step::Index(expr) };
        match &parts.rhs {
            Expr::Dot(inner, ..) | Expr::Index(inner, ..) if !flags.contains(ASTFlags::BREAK) => {
                steps.push(step(&inner.lhs));
                link = &parts.rhs;
            }
            last => {
                steps.push(step(last));
                return Some((base, steps));
            }
        }
    }
}

/// What was folded when the file was compiled.
fn constant(value: &Dynamic) -> Sketch {
    if let Ok(text) = value.as_immutable_string_ref() {
        return Sketch::Text(text.to_string());
    }
    if let Some(map) = value.read_lock::<Map>() {
        let entries = map.iter().map(|(name, value)| (name.to_string(), constant(value))).collect();
        return Sketch::Table(MAP, Parts { items: Vec::new(), entries });
    }
    if let Some(array) = value.read_lock::<Array>() {
        return Sketch::Table(ARRAY, Parts { items: array.iter().map(constant).collect(), entries: Vec::new() });
    }
    if value.is_unit() {
        return Sketch::Nil;
    }
    let number = value.as_int().map(|int| int as f64).or_else(|_| value.as_float()).map(Sketch::Number);
    number.or_else(|_| value.as_bool().map(Sketch::Bool)).unwrap_or_default()
}
