//! Reads a script's text for what it does with the gateway's objects and modules, and has it judged: see [`check`].
//!
//! Luau has compiled the text already, so this reader forgives: it follows names and scopes, skips types, and gives up on what it
//! does not know, which leaves that script to be judged by its runs. It reads again until nothing new turns up: names that are
//! assigned anywhere in the file are known only afterwards, and nothing is certain of them; nor of functions that are tried by `pcall`.

use super::words::{Word, words};
use crate::script::{
    Hook, Language,
    check::{self, Complaint, Finding, Given, Parts, Place, Sketch, TABLE, Way},
    host,
    list::nearest,
};
use ahash::{AHashMap, AHashSet};

/// Expressions and blocks within one another.
const MAX_DEPTH: usize = 100;

/// What a file is read with.
pub struct Around<'a> {
    /// The lines in which the functions of hooks begin.
    pub hooks: &'a [(Hook, usize)],
    pub is_global: &'a dyn Fn(&str) -> bool,
}

/// What in the file would fail when it is run.
pub fn judge(text: &str, around: &Around) -> Vec<Finding> {
    match text.contains(Language::Lua.unchecked()) {
        true => Vec::new(),
        false => read(text, around).unwrap_or_default(),
    }
}

/// `None` when there is something in it that this reader does not know.
fn read(text: &str, around: &Around) -> Option<Vec<Finding>> {
    let words = words(text)?;
    let mut ahead = Ahead::default();
    let read = loop {
        let (hooked, known) = (ahead.hooked(around.hooks), ahead.size());
        let read = Reader::new(&words, around, ahead, hooked).read()?;
        if read.seen.size() == known {
            break read;
        }
        ahead = read.seen;
    };
    let Reader { mut findings, undefined, seen, .. } = read;
    let is_probed = |name: &str| seen.probed.contains(name);
    findings
        .extend(undefined.into_iter().filter(|(name, _)| !is_probed(name)).map(|(name, place)| no_name(name, place)));
    Some(findings)
}

fn no_name(name: &str, place: Place) -> Finding {
    let modules = host::MODULES.iter().map(|module| module.name);
    let hooked = ["req", "res", "ctx", "err"];
    let help = match hooked.contains(&name) {
        true => Some(format!("`{name}` is a parameter of hooks: name it among the function's own")),
        false => nearest(name, modules).map(|near| format!("did you mean `{near}`?")),
    };
    Finding { place, complaint: Complaint::new(format!("`{name}` is not defined"), help) }
}

/// What one reading tells the next.
#[derive(Default)]
struct Ahead<'a> {
    /// Names that are assigned somewhere, of whatever scope.
    assigned: AHashSet<&'a str>,
    /// Names that are nowhere defined, and asked whether they are.
    probed: AHashSet<&'a str>,
    /// Names within a call of `pcall`: what functions they are is tried only.
    guarded: AHashSet<&'a str>,
    /// Where functions begin, and what each is kept under.
    functions: Vec<(usize, Option<&'a str>)>,
}

impl Ahead<'_> {
    /// Each reading finds as much as the one before, or more.
    fn size(&self) -> [usize; 3] {
        [self.assigned.len(), self.guarded.len(), self.functions.len()]
    }

    /// Which of the functions are hooks: the only one in the line, or the one of the hook's name.
    fn hooked(&self, hooks: &[(Hook, usize)]) -> AHashMap<usize, Hook> {
        let find = |(hook, line): &(Hook, usize)| {
            let in_line = || self.functions.iter().enumerate().filter(|(_, (at, _))| at == line);
            let named = in_line().find(|(_, (_, name))| *name == Some(hook.name()));
            let only = in_line().next().filter(|_| in_line().count() == 1);
            named.or(only).map(|(index, _)| (index, *hook))
        };
        hooks.iter().filter_map(find).collect()
    }
}

/// What an expression gives.
struct Known {
    sketch: Sketch,
    /// Whether it may be several values or none.
    is_open: bool,
}

impl Known {
    fn one(sketch: Sketch) -> Known {
        Known { sketch, is_open: false }
    }
    fn nothing() -> Known {
        Known::one(Sketch::Unknown)
    }
}

/// What stands at the end of an expression, to be assigned to.
enum Left<'a> {
    Name(&'a str),
    Member(Sketch, String, Place),
    Other,
}

struct Reader<'w, 'a> {
    words: &'w [(Word<'a>, Place)],
    at: usize,
    around: &'w Around<'w>,
    ahead: Ahead<'a>,
    hooked: AHashMap<usize, Hook>,
    seen: Ahead<'a>,
    findings: Vec<Finding>,
    undefined: Vec<(&'a str, Place)>,
    /// Names and what they are known to be, innermost scope last.
    scopes: Vec<Vec<(&'a str, Sketch)>>,
    /// The functions around, by what hook each is.
    inside: Vec<Option<Hook>>,
    /// How many calls of `pcall` there are around.
    guards: usize,
    depth: usize,
    /// What the next expression is kept under.
    name: Option<&'a str>,
}

impl<'w, 'a> Reader<'w, 'a> {
    fn new(
        words: &'w [(Word<'a>, Place)],
        around: &'w Around<'w>,
        ahead: Ahead<'a>,
        hooked: AHashMap<usize, Hook>,
    ) -> Reader<'w, 'a> {
        Reader {
            words,
            at: 0,
            around,
            ahead,
            hooked,
            seen: Ahead::default(),
            findings: Vec::new(),
            undefined: Vec::new(),
            scopes: vec![Vec::new()],
            inside: vec![None],
            guards: 0,
            depth: 0,
            name: None,
        }
    }

    fn read(mut self) -> Option<Self> {
        self.block()?;
        (self.at == self.words.len()).then_some(self)
    }

    fn peek(&self) -> Option<Word<'a>> {
        self.words.get(self.at).map(|(word, _)| *word)
    }

    fn place(&self) -> Place {
        self.words.get(self.at).map_or(Place { line: usize::MAX, column: 1 }, |(_, place)| *place)
    }

    fn next(&mut self) -> Option<Word<'a>> {
        let word = self.peek()?;
        self.at += 1;
        Some(word)
    }

    /// Whether this keyword or sign is next.
    fn is(&self, text: &str) -> bool {
        matches!(self.peek(), Some(Word::Name(it) | Word::Sign(it)) if it == text)
    }

    fn take(&mut self, text: &str) -> bool {
        let is = self.is(text);
        self.at += usize::from(is);
        is
    }

    fn expect(&mut self, text: &str) -> Option<()> {
        self.take(text).then_some(())
    }

    fn name(&mut self) -> Option<&'a str> {
        match self.next()? {
            Word::Name(name) if !is_keyword(name) => Some(name),
            _ => None,
        }
    }

    fn say<T: Default>(&mut self, place: Place, judged: Result<T, Complaint>) -> T {
        judged.unwrap_or_else(|complaint| {
            if self.guards == 0 {
                self.findings.push(Finding { place, complaint });
            }
            T::default()
        })
    }

    fn declare(&mut self, name: &'a str, sketch: Sketch) {
        // What a table holds may change.
        let is_certain = !self.ahead.assigned.contains(name) && !matches!(sketch, Sketch::Table(..));
        if let Some(scope) = self.scopes.last_mut() {
            scope.push((name, if is_certain { sketch } else { Sketch::Unknown }));
        }
    }

    fn scoped(&mut self, read: impl FnOnce(&mut Self) -> Option<()>) -> Option<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        self.scopes.push(Vec::new());
        read(self)?;
        self.scopes.pop();
        self.depth -= 1;
        Some(())
    }

    fn block(&mut self) -> Option<()> {
        while let Some(word) = self.peek() {
            if matches!(word, Word::Name("end" | "else" | "elseif" | "until")) {
                break;
            }
            self.statement()?;
        }
        Some(())
    }

    fn inner(&mut self) -> Option<()> {
        self.scoped(Self::block)
    }

    fn statement(&mut self) -> Option<()> {
        let place = self.place();
        match self.peek()? {
            Word::Sign(";") => self.expect(";"),
            Word::Sign("@") => {
                self.at += 1;
                self.name().map(drop)
            }
            Word::Name("local") => {
                self.at += 1;
                self.local()
            }
            Word::Name("function") => {
                self.at += 1;
                self.named_function()
            }
            Word::Name("if") => {
                self.at += 1;
                self.expression()?;
                self.expect("then")?;
                self.inner()?;
                while self.take("elseif") {
                    self.expression()?;
                    self.expect("then")?;
                    self.inner()?;
                }
                if self.take("else") {
                    self.inner()?;
                }
                self.expect("end")
            }
            Word::Name("while") => {
                self.at += 1;
                self.expression()?;
                self.body()
            }
            Word::Name("do") => self.body(),
            Word::Name("for") => {
                self.at += 1;
                self.for_loop()
            }
            Word::Name("repeat") => {
                self.at += 1;
                self.scoped(|it| {
                    it.block()?;
                    it.expect("until")?;
                    it.expression().map(drop)
                })
            }
            Word::Name("return") => {
                self.at += 1;
                self.returned(place)
            }
            Word::Name("break") => self.expect("break"),
            Word::Name("continue") if self.is_alone() => self.expect("continue"),
            Word::Name("export" | "type") if self.is_type() => {
                self.take("export");
                self.expect("type")?;
                self.name()?;
                if self.is("<") {
                    self.generics()?;
                }
                self.expect("=")?;
                self.skip_type()
            }
            _ => self.assignment_or_call(),
        }
    }

    /// Whether a name stands here as a statement of its own.
    fn is_alone(&self) -> bool {
        let next = self.words.get(self.at + 1).map(|(word, _)| *word);
        !matches!(next, Some(Word::Text(_) | Word::Interpolated))
            && !matches!(next, Some(Word::Sign(sign)) if sign != ";" && sign != "@")
    }

    fn is_type(&self) -> bool {
        matches!(self.words.get(self.at + 1), Some((Word::Name(_), _)))
    }

    fn body(&mut self) -> Option<()> {
        self.expect("do")?;
        self.inner()?;
        self.expect("end")
    }

    fn local(&mut self) -> Option<()> {
        if self.take("function") {
            let name = self.name()?;
            self.declare(name, Sketch::Function);
            return self.function(Some(name), false);
        }
        let names = self.names()?;
        let given = if self.take("=") {
            self.name = names.first().copied().filter(|_| names.len() == 1);
            self.expressions()?
        } else {
            Given::default()
        };
        let missing = if given.is_open { Sketch::Unknown } else { Sketch::Nil };
        let count = given.args.len() - usize::from(given.is_open);
        for (index, name) in names.iter().enumerate() {
            let is_last = index == count && given.is_open;
            let sketch = match given.args.get(index) {
                // The first of what a call gives is known.
                Some(sketch) if index < count || is_last => sketch.clone(),
                _ => missing.clone(),
            };
            self.declare(name, sketch);
        }
        Some(())
    }

    /// Names with their types.
    fn names(&mut self) -> Option<Vec<&'a str>> {
        let mut names = Vec::new();
        loop {
            names.push(self.name()?);
            if self.take(":") {
                self.skip_type()?;
            }
            if !self.take(",") {
                return Some(names);
            }
        }
    }

    fn named_function(&mut self) -> Option<()> {
        let first = self.name()?;
        let (mut last, mut is_method) = (first, false);
        if !self.is(".") && !self.is(":") {
            self.seen.assigned.insert(first);
        }
        while self.is(".") || self.is(":") {
            is_method = self.is(":");
            self.at += 1;
            last = self.name()?;
        }
        self.function(Some(last), is_method)
    }

    /// From its parameters on.
    fn function(&mut self, name: Option<&'a str>, is_method: bool) -> Option<()> {
        let line = self.words.get(self.at.checked_sub(1)?)?.1.line;
        let index = self.seen.functions.len();
        self.seen.functions.push((line, name));
        let hook = self.hooked.get(&index).copied().filter(|_| !is_method);
        if self.is("<") {
            self.generics()?;
        }
        self.expect("(")?;
        let mut params = Vec::new();
        while !self.take(")") {
            if self.take("...") {
                if self.take(":") {
                    self.skip_type()?;
                }
            } else {
                params.push(self.name()?);
                if self.take(":") {
                    self.skip_type()?;
                }
            }
            self.take(",");
        }
        if self.take(":") {
            self.skip_type()?;
        }
        let mut known = hook.map(check::params).unwrap_or_default().into_iter();
        let is_tried = name.is_some_and(|name| self.ahead.guarded.contains(name));
        self.guards += usize::from(is_tried);
        self.inside.push(hook);
        self.scoped(|it| {
            if is_method {
                it.declare("self", Sketch::Unknown);
            }
            for param in params {
                it.declare(param, known.next().unwrap_or_default());
            }
            it.block()
        })?;
        self.inside.pop();
        self.guards -= usize::from(is_tried);
        self.expect("end")
    }

    fn for_loop(&mut self) -> Option<()> {
        let names = self.names()?;
        if !self.take("=") {
            self.expect("in")?;
        }
        self.expressions()?;
        self.expect("do")?;
        self.scoped(|it| {
            names.iter().for_each(|name| it.declare(name, Sketch::Unknown));
            it.block()
        })?;
        self.expect("end")
    }

    fn returned(&mut self, place: Place) -> Option<()> {
        let is_end =
            matches!(self.peek(), None | Some(Word::Name("end" | "else" | "elseif" | "until") | Word::Sign(";")));
        if !is_end {
            let given = self.expressions()?;
            if let (Some(Some(hook)), Some(value)) = (self.inside.last().copied(), given.args.first()) {
                let judged = check::returned(Language::Lua, hook, value);
                self.say(place, judged);
            }
        }
        self.take(";");
        Some(())
    }

    fn assignment_or_call(&mut self) -> Option<()> {
        let (_, left) = self.suffixed(true)?;
        if !self.is("=") && !self.is(",") {
            if let Some(Word::Sign(sign)) = self.peek()
                && matches!(sign, "+=" | "-=" | "*=" | "/=" | "//=" | "%=" | "^=" | "..=")
            {
                if let Left::Name(name) = left {
                    self.seen.assigned.insert(name);
                }
                self.at += 1;
                self.expression()?;
            }
            return Some(());
        }
        let mut targets = vec![left];
        while self.take(",") {
            targets.push(self.suffixed(true)?.1);
        }
        self.expect("=")?;
        self.name = match &targets[..] {
            [Left::Name(name)] => Some(name),
            [Left::Member(_, _, place)] => self.word_at(*place),
            _ => None,
        };
        let mut given = self.expressions()?;
        if given.is_open {
            given.args.pop();
        }
        for (index, target) in targets.into_iter().enumerate() {
            match target {
                Left::Name(name) => {
                    self.seen.assigned.insert(name);
                }
                Left::Member(of, name, place) => {
                    let value = given.args.get(index).cloned().unwrap_or_default();
                    let judged = check::assigned(&of, &name, &value);
                    self.say(place, judged);
                }
                Left::Other => {}
            }
        }
        Some(())
    }

    /// The name at a place that was just read.
    fn word_at(&self, place: Place) -> Option<&'a str> {
        let (word, _) = self.words[..self.at].iter().rev().take(4).find(|(_, at)| *at == place)?;
        match word {
            Word::Name(name) => Some(name),
            _ => None,
        }
    }

    fn expressions(&mut self) -> Option<Given> {
        let mut given = Given::default();
        loop {
            let known = self.expression()?;
            given.args.push(known.sketch);
            given.is_open = known.is_open;
            self.name = None;
            if !self.take(",") {
                return Some(given);
            }
        }
    }

    fn expression(&mut self) -> Option<Known> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        let mut known = self.operand()?;
        while let Some(Word::Name(sign) | Word::Sign(sign)) = self.peek() {
            if !is_operator(sign) {
                break;
            }
            self.at += 1;
            self.operand()?;
            known = Known::nothing();
        }
        self.depth -= 1;
        Some(known)
    }

    fn operand(&mut self) -> Option<Known> {
        let mut is_bare = true;
        while self.take("not") || self.take("-") || self.take("#") {
            is_bare = false;
        }
        let mut known = self.simple()?;
        while self.take("::") {
            self.skip_type()?;
            is_bare = false;
        }
        if !is_bare {
            known = Known::nothing();
        }
        Some(known)
    }

    fn simple(&mut self) -> Option<Known> {
        let name = self.name.take();
        let known = match self.peek()? {
            Word::Number(text) => Known::one(text.parse().map_or(Sketch::Unknown, Sketch::Number)),
            Word::Text(text) => Known::one(unescaped(text)),
            Word::Interpolated => Known::nothing(),
            Word::Name("nil") => Known::one(Sketch::Nil),
            Word::Name("true") => Known::one(Sketch::Bool(true)),
            Word::Name("false") => Known::one(Sketch::Bool(false)),
            Word::Sign("...") => Known { sketch: Sketch::Unknown, is_open: true },
            Word::Sign("{") => return self.table().map(Known::one),
            Word::Name("function") => {
                self.at += 1;
                self.function(name, false)?;
                return Some(Known::one(Sketch::Function));
            }
            Word::Name("if") => return self.choice(),
            _ => return Some(self.suffixed(false)?.0),
        };
        self.at += 1;
        Some(known)
    }

    /// `if … then … else …` as a value.
    fn choice(&mut self) -> Option<Known> {
        self.expect("if")?;
        loop {
            self.expression()?;
            self.expect("then")?;
            self.expression()?;
            if !self.take("elseif") {
                break;
            }
        }
        self.expect("else")?;
        self.expression()?;
        Some(Known::nothing())
    }

    fn table(&mut self) -> Option<Sketch> {
        self.expect("{")?;
        let (mut parts, mut is_whole) = (Parts::default(), true);
        while !self.take("}") {
            let is_field = matches!(self.words.get(self.at + 1), Some((Word::Sign("="), _)));
            match self.peek()? {
                Word::Name(name) if is_field => {
                    self.at += 2;
                    self.name = Some(name);
                    self.entry(name.to_owned(), &mut parts)?;
                }
                Word::Sign("[") => {
                    self.at += 1;
                    let key = self.expression()?.sketch;
                    self.expect("]")?;
                    self.expect("=")?;
                    match key {
                        Sketch::Text(key) => self.entry(key, &mut parts)?,
                        _ => {
                            self.expression()?;
                            is_whole = false;
                        }
                    }
                }
                _ => {
                    let item = self.expression()?;
                    is_whole &= !item.is_open && !matches!(item.sketch, Sketch::Nil);
                    parts.items.push(item.sketch);
                }
            }
            if !self.take(",") {
                self.take(";");
            }
        }
        Some(if is_whole { Sketch::Table(TABLE, parts) } else { Sketch::Unknown })
    }

    fn entry(&mut self, key: String, parts: &mut Parts) -> Option<()> {
        let value = self.expression()?.sketch;
        self.name = None;
        // Nil is no entry.
        if !matches!(value, Sketch::Nil) {
            parts.entries.push((key, value));
        }
        Some(())
    }

    /// A name or what stands in parentheses, with all members, indexes and calls behind it.
    fn suffixed(&mut self, is_statement: bool) -> Option<(Known, Left<'a>)> {
        let place = self.place();
        let (mut known, mut left) = match self.next()? {
            Word::Name(name) if !is_keyword(name) => (Known::one(self.named(name, place)), Left::Name(name)),
            Word::Sign("(") => {
                let known = self.expression()?;
                self.expect(")")?;
                (Known::one(known.sketch), Left::Other)
            }
            _ => return None,
        };
        loop {
            let of = known.sketch;
            match self.peek() {
                Some(Word::Sign(".")) => {
                    self.at += 1;
                    let at = self.place();
                    let Word::Name(name) = self.next()? else { return None };
                    if self.guards > 0 {
                        self.seen.guarded.insert(name);
                    }
                    (known, left) = self.member(of, name.to_owned(), at, is_statement)?;
                }
                Some(Word::Sign("[")) => {
                    self.at += 1;
                    let at = self.place();
                    let key = self.expression()?.sketch;
                    self.expect("]")?;
                    (known, left) = match key {
                        Sketch::Text(name) => self.member(of, name, at, is_statement)?,
                        _ => (Known::nothing(), Left::Other),
                    };
                }
                Some(Word::Sign(":")) => {
                    self.at += 1;
                    let at = self.place();
                    let Word::Name(name) = self.next()? else { return None };
                    let given = self.arguments()?;
                    let judged = check::called(Language::Lua, &of, name, Way::Method, &given);
                    known = Known { sketch: self.say(at, judged), is_open: true };
                    left = Left::Other;
                }
                _ if self.is_call() => {
                    let function = match left {
                        Left::Name(name) if !self.is_own(name) => Some(name),
                        _ => None,
                    };
                    let is_guard = matches!(function, Some("pcall" | "xpcall"));
                    self.guards += usize::from(is_guard);
                    let given = self.arguments()?;
                    self.guards -= usize::from(is_guard);
                    let sketch = match function {
                        Some(name) => {
                            let judged = check::global(name, &given);
                            self.say(place, judged)
                        }
                        None => Sketch::Unknown,
                    };
                    known = Known { sketch, is_open: true };
                    left = Left::Other;
                }
                _ => return Some((Known { sketch: of, is_open: known.is_open }, left)),
            }
        }
    }

    fn member(&mut self, of: Sketch, name: String, at: Place, is_statement: bool) -> Option<(Known, Left<'a>)> {
        if self.is_call() {
            let given = self.arguments()?;
            let judged = check::called(Language::Lua, &of, &name, Way::Function, &given);
            return Some((Known { sketch: self.say(at, judged), is_open: true }, Left::Other));
        }
        if is_statement && (self.is("=") || self.is(",")) {
            return Some((Known::nothing(), Left::Member(of, name, at)));
        }
        let judged = check::read(Language::Lua, &of, &name);
        Some((Known::one(self.say(at, judged)), Left::Other))
    }

    fn is_call(&self) -> bool {
        self.is("(") || self.is("{") || matches!(self.peek(), Some(Word::Text(_) | Word::Interpolated))
    }

    fn arguments(&mut self) -> Option<Given> {
        if !self.take("(") {
            let known = self.simple()?;
            return Some(Given { args: vec![known.sketch], is_open: false });
        }
        if self.take(")") {
            return Some(Given::default());
        }
        let given = self.expressions()?;
        self.expect(")")?;
        Some(given)
    }

    /// Whether the file has a variable of this name.
    fn is_own(&self, name: &str) -> bool {
        let is_local = self.scopes.iter().flatten().any(|(known, _)| *known == name);
        is_local || self.ahead.assigned.contains(name)
    }

    fn named(&mut self, name: &'a str, place: Place) -> Sketch {
        if self.guards > 0 {
            self.seen.guarded.insert(name);
        }
        let local = self.scopes.iter().rev().find_map(|scope| scope.iter().rev().find(|(known, _)| *known == name));
        if let Some((_, sketch)) = local {
            return sketch.clone();
        }
        if self.ahead.assigned.contains(name) {
            return Sketch::Unknown;
        }
        if let Some(module) = check::module(name) {
            return Sketch::Module(module);
        }
        if !(self.around.is_global)(name) {
            let is_used = self.is_call() || self.is(".") || self.is("[") || self.is(":");
            if !is_used || self.guards > 0 {
                self.seen.probed.insert(name);
            } else {
                self.undefined.push((name, place));
            }
        }
        Sketch::Unknown
    }

    fn generics(&mut self) -> Option<()> {
        self.expect("<")?;
        let mut depth = 1;
        while depth > 0 {
            match self.next()? {
                Word::Sign("<") => depth += 1,
                Word::Sign(">") => depth -= 1,
                _ => {}
            }
        }
        Some(())
    }

    fn skip_type(&mut self) -> Option<()> {
        let _ = self.take("|") || self.take("&");
        loop {
            self.skip_one_type()?;
            while self.take("?") {}
            if !(self.take("|") || self.take("&")) {
                return Some(());
            }
        }
    }

    fn skip_one_type(&mut self) -> Option<()> {
        if self.is("<") {
            self.generics()?;
        }
        match self.next()? {
            Word::Text(_) => {}
            Word::Sign("...") => self.skip_type()?,
            Word::Sign("{" | "(") => {
                let mut depth = 1;
                while depth > 0 {
                    match self.next()? {
                        Word::Sign("{" | "(" | "[") => depth += 1,
                        Word::Sign("}" | ")" | "]") => depth -= 1,
                        _ => {}
                    }
                }
            }
            Word::Name("typeof") => return self.arguments().map(drop),
            Word::Name(_) => {
                while self.take(".") {
                    self.name()?;
                }
                if self.is("<") {
                    self.generics()?;
                }
            }
            _ => return None,
        }
        if self.take("->") { self.skip_type() } else { Some(()) }
    }
}

fn is_keyword(name: &str) -> bool {
    matches!(
        name,
        "and"
            | "break"
            | "do"
            | "else"
            | "elseif"
            | "end"
            | "false"
            | "for"
            | "function"
            | "if"
            | "in"
            | "local"
            | "nil"
            | "not"
            | "or"
            | "repeat"
            | "return"
            | "then"
            | "true"
            | "until"
            | "while"
    )
}

fn is_operator(sign: &str) -> bool {
    matches!(
        sign,
        "+" | "-" | "*" | "/" | "//" | "%" | "^" | ".." | "==" | "~=" | "<" | "<=" | ">" | ">=" | "and" | "or"
    )
}

/// A text with escapes is some text.
fn unescaped(text: &str) -> Sketch {
    if text.contains('\\') { Sketch::Unknown } else { Sketch::Text(text.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn scripts(folder: &Path, all: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            match entry.path() {
                path if path.is_dir() => scripts(&path, all),
                path if path.extension().is_some_and(|it| it == "lua") => all.push(path),
                _ => {}
            }
        }
    }

    /// Giving up is no error, so that it is seen here that it does not happen.
    #[test]
    fn every_script_that_is_shipped_is_read_to_its_end() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut all = Vec::new();
        for folder in ["scripts", "examples", "plugins", "tests", "src/cli/templates"] {
            scripts(&root.join(folder), &mut all);
        }
        assert!(all.len() > 60, "{}", all.len());
        for path in all {
            let text = std::fs::read_to_string(&path).expect("a script");
            let words = words(&text).unwrap_or_else(|| panic!("{}", path.display()));
            let around = Around { hooks: &[], is_global: &|_| true };
            let read = Reader::new(&words, &around, Ahead::default(), AHashMap::new()).read();
            assert!(read.is_some(), "{}", path.display());
        }
    }
}
