//! Types, which are skipped.

use super::Reader;
use crate::script::lua::words::Word;

impl Reader<'_, '_> {
    pub(super) fn generics(&mut self) -> Option<()> {
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

    pub(super) fn skip_type(&mut self) -> Option<()> {
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
