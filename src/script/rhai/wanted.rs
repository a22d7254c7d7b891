//! What a script reads of the documents that it asks for, found when it is compiled.
//!
//! Of `let user = res.json();` where `user` is only ever read as `user.name` and `user.id`, nobody can tell whether the document has
//! other members: they are checked as the rest is, but no values are made of them. The same for `res.json().orders` and for what a
//! `for` goes through. Wherever a document is used in any other way (passed on, returned, changed, captured, compared), all of
//! it is wanted.
//!
//! Variables are told apart by their names alone, over all functions of the file: those of one name are taken for one, which only
//! ever wants more.

use super::{
    json::Key,
    uses::{Step, steps},
};
use ::rhai::{AST, ASTFlags, ASTNode, Expr, ImmutableString, Position, Stmt};
use ahash::{AHashMap, AHashSet};
use std::ptr;

/// What is wanted of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    All,
    /// Of a map these members; of any other value everything.
    Members(Vec<(Key, Wanted)>),
    /// Of an array this of each item; of any other value everything.
    Items(Box<Wanted>),
}

impl Wanted {
    /// What is wanted of each item, if the value is an array.
    pub fn of_item(&self) -> &Wanted {
        match self {
            Wanted::Items(wanted) => wanted,
            Wanted::All | Wanted::Members(_) => &Wanted::All,
        }
    }
}

/// By the places of calls, which may give documents or anything else, and the names of what is called there: a function that is
/// called back, by `map` for one, is at the place of the other.
#[derive(Debug, Default)]
pub struct Calls(Vec<(Position, ImmutableString, Wanted)>);

impl Calls {
    pub fn of(ast: &AST) -> Calls {
        let mut found = Found::default();
        ast.walk(&mut |path: &[ASTNode]| {
            found.node(path);
            true
        });
        if found.is_lost {
            return Calls::default();
        }
        let exact = found.calls.iter().filter(|call| is_exact(call.0));
        let wanted = exact.map(|(position, name, flow)| {
            let wanted = found.of_flow(flow, &mut AHashSet::new());
            (*position, name.clone(), wanted)
        });
        Calls(wanted.filter(|(.., wanted)| *wanted != Wanted::All).collect())
    }

    pub fn at(&self, position: Position, name: &str) -> &Wanted {
        let found = self.0.iter().find(|(at, called, _)| *at == position && called == name);
        found.map_or(&Wanted::All, |(.., wanted)| wanted)
    }
}

/// Rhai counts lines and columns up to here; what is beyond has the same place.
fn is_exact(position: Position) -> bool {
    let most = usize::from(u16::MAX);
    position.line().is_some_and(|line| line < most) && position.position().is_some_and(|column| column < most)
}

/// Members that are read of a value, one of the other, and what becomes of the last.
struct Flow {
    members: Vec<Key>,
    end: End,
}

#[derive(Clone)]
enum End {
    /// It is used in a way that is not followed.
    Used,
    /// It is the variable's value.
    Bound(String),
    /// Its items are, one by one.
    Each(String),
}

#[derive(Default)]
struct Found {
    variables: AHashMap<String, Vec<Flow>>,
    calls: Vec<(Position, ImmutableString, Flow)>,
    /// There is something that the walk does not see into, or that sees variables by other ways.
    is_lost: bool,
}

impl Found {
    /// Looks at the last node of a path from a statement downward.
    fn node(&mut self, path: &[ASTNode]) {
        match path.last() {
            Some(ASTNode::Stmt(Stmt::BreakLoop(Some(_), ..) | Stmt::Import(..) | Stmt::Export(..))) => {
                self.is_lost = true
            }
            Some(ASTNode::Stmt(Stmt::Share(captured))) => {
                for (name, _) in captured.iter() {
                    self.read(&name.name, Flow { members: Vec::new(), end: End::Used });
                }
            }
            Some(ASTNode::Stmt(Stmt::FnCall(call, _))) => self.is_lost |= call.capture_parent_scope,
            Some(ASTNode::Expr(expr)) => {
                if let Expr::FnCall(call, _) | Expr::MethodCall(call, _) = expr {
                    self.is_lost |= call.capture_parent_scope;
                }
                self.expr(expr, &path[..path.len() - 1]);
            }
            _ => {}
        }
    }

    fn expr(&mut self, expr: &Expr, above: &[ASTNode]) {
        match expr {
            Expr::Dot(..) | Expr::Index(..) => {
                if let (Role::Whole, Some((base, steps))) = (role(expr, above), steps(expr)) {
                    self.chain(base, &steps, &end(expr, above));
                }
            }
            Expr::Variable(..) | Expr::FnCall(..) if role(expr, above) != Role::Base => {
                self.chain(expr, &[], &end(expr, above));
            }
            Expr::Custom(..) => self.is_lost = true,
            _ => {}
        }
    }

    /// Of `a.b.c().d` two values are read: `b` of `a`, and `d` of what `c` gives.
    fn chain(&mut self, base: &Expr, steps: &[Step], end: &End) {
        match base {
            Expr::Variable(variable, ..) => self.read(&variable.1, flow(steps, end)),
            Expr::FnCall(call, position) => self.calls.push((*position, call.name.clone(), flow(steps, end))),
            _ => {}
        }
        for (at, step) in steps.iter().enumerate() {
            if let Step::Member(Expr::MethodCall(call, position)) = step {
                self.calls.push((*position, call.name.clone(), flow(&steps[at + 1..], end)));
            }
        }
    }

    fn read(&mut self, variable: &str, flow: Flow) {
        self.variables.entry(variable.to_owned()).or_default().push(flow);
    }

    /// `within`: the variables that are being looked at, which may lead to each other.
    fn of_flow(&self, flow: &Flow, within: &mut AHashSet<String>) -> Wanted {
        let last = match &flow.end {
            End::Used => Wanted::All,
            End::Bound(name) => self.of_variable(name, within),
            End::Each(name) => Wanted::Items(Box::new(self.of_variable(name, within))),
        };
        flow.members.iter().rev().fold(last, |of, member| Wanted::Members(vec![(member.clone(), of)]))
    }

    fn of_variable(&self, name: &str, within: &mut AHashSet<String>) -> Wanted {
        if !within.insert(name.to_owned()) {
            return Wanted::All;
        }
        let flows = self.variables.get(name).into_iter().flatten();
        let wanted = flows.map(|flow| self.of_flow(flow, within)).fold(Wanted::Members(Vec::new()), Wanted::and);
        within.remove(name);
        wanted
    }
}

impl Wanted {
    fn and(self, other: Wanted) -> Wanted {
        match (self, other) {
            (Wanted::Members(mut members), Wanted::Members(others)) => {
                for (name, wanted) in others {
                    match members.iter_mut().find(|(known, _)| *known == name) {
                        Some((_, known)) => *known = std::mem::replace(known, Wanted::All).and(wanted),
                        None => members.push((name, wanted)),
                    }
                }
                Wanted::Members(members)
            }
            (Wanted::Members(none), items @ Wanted::Items(_)) if none.is_empty() => items,
            (Wanted::Items(a), Wanted::Items(b)) => Wanted::Items(Box::new(a.and(*b))),
            _ => Wanted::All,
        }
    }
}

/// What the first of these steps read, one after the other.
fn flow(steps: &[Step], end: &End) -> Flow {
    let member = |step: &Step| match step {
        Step::Member(Expr::Property(property, _)) => Some(Key::from(property.2.as_str())),
        Step::Index(Expr::StringConstant(name, _)) => Some(Key::from(name.as_str())),
        _ => None,
    };
    let members: Vec<Key> = steps.iter().map_while(member).collect();
    let end = if members.len() == steps.len() { end.clone() } else { End::Used };
    Flow { members, end }
}

/// What an expression is to the chain that it stands in.
#[derive(PartialEq, Eq)]
enum Role {
    Whole,
    Base,
    Link,
}

fn role(expr: &Expr, above: &[ASTNode]) -> Role {
    let Some(ASTNode::Expr(parent @ (Expr::Dot(parts, flags, _) | Expr::Index(parts, flags, _)))) = above.last() else {
        return Role::Whole;
    };
    if ptr::eq(&parts.rhs, expr) {
        let ends = flags.contains(ASTFlags::BREAK);
        return if !ends && matches!(expr, Expr::Dot(..) | Expr::Index(..)) { Role::Link } else { Role::Whole };
    }
    // The left side of a link is a step: an index such as `b` of `a[b].c`.
    let is_first = role(parent, &above[..above.len() - 1]) == Role::Whole;
    if is_first && !matches!(expr, Expr::Dot(..) | Expr::Index(..)) { Role::Base } else { Role::Whole }
}

/// What becomes of an expression's value.
fn end(expr: &Expr, above: &[ASTNode]) -> End {
    match above.last() {
        Some(ASTNode::Stmt(Stmt::Var(parts, ..))) if ptr::eq(&parts.1, expr) => End::Bound(parts.0.name.to_string()),
        Some(ASTNode::Stmt(Stmt::For(parts, _))) if ptr::eq(&parts.2.expr, expr) => End::Each(parts.0.name.to_string()),
        _ => End::Used,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::rhai::Engine;

    fn shown(wanted: &Wanted) -> String {
        match wanted {
            Wanted::All => "all".into(),
            Wanted::Items(of) => format!("[{}]", shown(of)),
            Wanted::Members(members) => {
                let members = members.iter().map(|(name, wanted)| match wanted {
                    Wanted::All => name.to_string(),
                    of => format!("{name} {}", shown(of)),
                });
                format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// What is wanted of what `json` gives, where it is called first.
    fn wanted(body: &str) -> String {
        let text = format!("fn handle(req, ctx) {{ {body} }} fn own(it) {{ it }}");
        let ast = Engine::new_raw().compile(text).unwrap_or_else(|error| panic!("{body}: {error}"));
        let calls = Calls::of(&ast).0;
        let first = calls.iter().filter(|(_, name, _)| name == "json").min_by_key(|(position, ..)| *position);
        first.map_or("all".into(), |(.., wanted)| shown(wanted))
    }

    #[test]
    fn members_that_are_read_are_wanted() {
        for (body, expected) in [
            ("let d = req.json(); reply::json(200, #{ a: d.a, b: d.b.c })", "{a, b {c}}"),
            ("let d = req.json(); d.a + d.a", "{a}"),
            ("let d = req.json(); d.a.b + d.a", "{a}"),
            ("let d = req.json(); d[\"a\"] + d?.b", "{a, b}"),
            ("let d = req.json(); if d.a == 1 { return `${d.b}`; }", "{a, b}"),
            ("let d = req.json(); d.a.len() + d.b[0].c", "{a, b}"),
            ("let d = req.json(); d.a = 5; d.b.push(1); d.c += 1;", "{a, b, c}"),
            ("let d = req.json().a; d.b", "{a {b}}"),
            ("req.json().a", "{a}"),
            ("req.json().a.own()", "{a}"),
            ("let d = req.json(); let e = d.a; e.b + d.c", "{a {b}, c}"),
            ("let d = req.json(); let e = d; e.b + d.c", "{b, c}"),
            ("for d in req.json() { d.a; }", "[{a}]"),
            ("for d in req.json().a { d.b; d.c; }", "{a [{b, c}]}"),
            ("let d = req.json(); for (e, i) in d.a { e.b + i; } d.c", "{a [{b}], c}"),
            ("let d = req.json(); let d = req.json(); d.a", "{a}"),
            ("let d = req.json(); { let d = req.json(); d.a } d.b", "{a, b}"),
            ("let d = req.json(); own(d.a)", "{a}"),
            ("let d = req.json(); [1, 2][d.a]", "{a}"),
            ("let d = req.json();", "{}"),
        ] {
            assert_eq!(wanted(body), expected, "{body}");
        }
    }

    #[test]
    fn what_is_used_in_any_other_way_is_wanted_whole() {
        for body in [
            "req.json()",
            "own(req.json())",
            "req.json().keys()",
            "req.json()[ctx.x]",
            "let d = req.json(); d",
            "let d = req.json(); own(d); d.a",
            "let d = req.json(); d.own(); d.a",
            "let d = req.json(); d.keys(); d.a",
            "let d = req.json(); d[ctx.x] + d.a",
            "let d = req.json(); \"a\" in d && d.a",
            "let d = req.json(); d == () || d.a",
            "let d = req.json(); `${d}` + d.a",
            "let d = req.json(); #{ d: d, a: d.a }",
            "let d = req.json(); [d, d.a]",
            "let d = req.json(); ctx.vars.d = d; d.a",
            "let d = req.json(); let e = || d.a; e.call()",
            "let d = req.json(); let e = 1; e = d; d.a",
            "let d = 1; d = req.json(); d.a",
            "let d = req.json(); switch d { 1 => 2, _ => d.a }",
            "let d = req.json(); [1, 2][d][0]",
            "let d = req.json(); [#{ a: 1 }][d].a",
            "let d = req.json(); (d).own().a",
            "let d = req.json(); let e = if ctx.x { d } else { 1 }; d.a",
            "let d = req.json(); let e = loop { break d; }; d.a",
            "let d = req.json(); own!(1); d.a",
            "for d in req.json() { own(d); }",
            "for d in req.json() { for d in d.a { own(d); } }",
            "for d in req.json() { } let e = req.json(); for d in e { d.a; own(d) }",
            "let d = req.json(); return d;",
            "let d = req.json(); throw d;",
            "let d = req.json(); try { own(1); } catch (e) { own(d); } d.a",
            "let d = req.json(); while own(d) { d.a; }",
            "let d = req.json(); do { d.a; } until own(d);",
        ] {
            assert_eq!(wanted(body).trim_matches(['[', ']']), "all", "{body}");
        }
    }
}
