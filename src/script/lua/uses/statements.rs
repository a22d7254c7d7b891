//! Statements: what they declare and assign, and the functions that they define.

use super::{Left, Reader};
use crate::script::{
    Language,
    check::{self, Given, Place, Sketch},
    lua::words::Word,
};

impl<'a> Reader<'_, 'a> {
    pub(super) fn block(&mut self) -> Option<()> {
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
    pub(super) fn function(&mut self, name: Option<&'a str>, is_method: bool) -> Option<()> {
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
}
