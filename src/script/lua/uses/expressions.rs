//! Expressions: what each gives, as far as that is certain.

use super::{Known, Left, MAX_DEPTH, Reader, is_keyword};
use crate::script::{
    Language,
    check::{self, Given, Parts, Place, Sketch, TABLE, Way},
    lua::words::Word,
};

impl<'a> Reader<'_, 'a> {
    /// The name at a place that was just read.
    pub(super) fn word_at(&self, place: Place) -> Option<&'a str> {
        let (word, _) = self.words[..self.at].iter().rev().take(4).find(|(_, at)| *at == place)?;
        match word {
            Word::Name(name) => Some(name),
            _ => None,
        }
    }

    pub(super) fn expressions(&mut self) -> Option<Given> {
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

    pub(super) fn expression(&mut self) -> Option<Known> {
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
    pub(super) fn suffixed(&mut self, is_statement: bool) -> Option<(Known, Left<'a>)> {
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

    pub(super) fn arguments(&mut self) -> Option<Given> {
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
