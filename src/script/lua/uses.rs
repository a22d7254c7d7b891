//! Reads a script's text for what it does with the gateway's objects and modules, and has it judged: see [`check`].
//!
//! Luau has compiled the text already, so this reader forgives: it follows names and scopes, skips types, and gives up on what it
//! does not know, which leaves that script to be judged by its runs. It reads again until nothing new turns up: names that are
//! assigned anywhere in the file are known only afterwards, and nothing is certain of them; nor of functions that are tried by `pcall`.

mod expressions;
mod statements;
mod types;

use super::words::{Word, words};
use crate::script::{
    Hook, Language,
    check::{Complaint, Finding, Place, Sketch},
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
