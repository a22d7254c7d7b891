//! A compiled pattern whose every search takes bounded time.
//!
//! The `regex` crate promises time proportional to pattern × text, which for a pattern of thousands of states and a text of a
//! megabyte is a quarter of a minute, during which a worker would stand still. So its parts are put together here otherwise: a lazy DFA
//! (nanoseconds a byte) that gives up as soon as it makes new states faster than it pays, and the slow machine only where
//! states × bytes is small. What is left is refused with an error.

use regex_automata::{
    Input, Match, MatchError, MatchErrorKind, MatchKind,
    hybrid::{
        dfa,
        regex::{self as hybrid, Regex},
    },
    nfa::thompson::{self, Compiler, NFA, WhichCaptures, pikevm, pikevm::PikeVM},
    util::{captures::Captures, syntax},
};
use std::cell::RefCell;

/// Longer patterns are not even parsed.
const MAX_SOURCE: usize = 8 << 10;
/// Bytes of the compiled form in each direction: enough for `\w{20}`.
const MAX_COMPILED: usize = 1 << 20;
/// Bytes of each lazy DFA's states.
const DFA_CACHE: usize = 64 << 10;
/// Longer texts are refused: even the DFA needs more than ten milliseconds for them.
const MAX_TEXT: usize = 8 << 20;
/// States × bytes that the slow machine may take: 15 ms at the very worst, mostly far less.
const MAX_WORK: usize = 1_000_000;

pub struct Pattern {
    source: Box<str>,
    dfa: Regex,
    slow: PikeVM,
    dfa_cache: RefCell<hybrid::Cache>,
    slow_cache: RefCell<pikevm::Cache>,
}

/// Why there was no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("a text of {0} bytes is longer than {MAX_TEXT}")]
    Text(usize),
    #[error("it is too costly for a text of {0} bytes")]
    Work(usize),
}

impl Pattern {
    /// Compiles a pattern, or says what is wrong with it.
    pub fn new(source: &str) -> Result<Pattern, String> {
        if source.len() > MAX_SOURCE {
            return Err(format!("it is longer than {MAX_SOURCE} bytes"));
        }
        let compiled = |reverse: bool| {
            let which = if reverse { WhichCaptures::None } else { WhichCaptures::All };
            let config = thompson::Config::new().utf8(false).nfa_size_limit(Some(MAX_COMPILED));
            let config = config.reverse(reverse).which_captures(which);
            // Bytes, not text: what a client sent need not be UTF-8.
            Compiler::new().syntax(syntax::Config::new().utf8(false)).configure(config).build(source)
        };
        let nfa = compiled(false).map_err(|error| why(&error))?;
        let reverse = compiled(true).map_err(|error| why(&error))?;
        let forward = lazy(nfa.clone(), MatchKind::LeftmostFirst)?;
        let dfa = Regex::builder().build_from_dfas(forward, lazy(reverse, MatchKind::All)?);
        let slow = PikeVM::new_from_nfa(nfa).map_err(|error| error.to_string())?;
        let (dfa_cache, slow_cache) = (RefCell::new(dfa.create_cache()), RefCell::new(slow.create_cache()));
        Ok(Pattern { source: source.into(), dfa, slow, dfa_cache, slow_cache })
    }

    pub fn source(&self) -> &str {
        &self.source
    }

    /// About how many bytes it holds.
    pub fn memory(&self) -> usize {
        let forward = self.slow.get_nfa().memory_usage();
        let reverse = self.dfa.reverse().get_nfa().memory_usage();
        forward + reverse + 2 * DFA_CACHE + self.slow_cache.borrow().memory_usage()
    }

    /// The first match within the input's range.
    pub fn find(&self, input: &Input<'_>) -> Result<Option<Match>, Refused> {
        if input.haystack().len() > MAX_TEXT {
            return Err(Refused::Text(input.haystack().len()));
        }
        let cache = &mut *self.dfa_cache.borrow_mut();
        match self.dfa.try_search(cache, input) {
            Ok(found) => return Ok(found),
            // Full of states that this text made; the next text begins afresh.
            Err(error) if gave_up(&error) => self.dfa.reset_cache(cache),
            // `\b` beside a letter that is not ASCII.
            Err(_) => {}
        }
        self.afford(input)?;
        Ok(self.slow.find(&mut self.slow_cache.borrow_mut(), input.clone()))
    }

    /// The groups of a match that [`Pattern::find`] has found in this text.
    pub fn groups(&self, text: &[u8], found: Match) -> Result<Captures, Refused> {
        // From where the match begins to where it ends: the slow machine need not look at the rest.
        let input = Input::new(text).range(found.range()).anchored(regex_automata::Anchored::Yes);
        self.afford(&input)?;
        let mut groups = self.slow.create_captures();
        self.slow.captures(&mut self.slow_cache.borrow_mut(), input, &mut groups);
        Ok(groups)
    }

    fn afford(&self, input: &Input<'_>) -> Result<(), Refused> {
        let bytes = input.get_span().len();
        let work = bytes.saturating_mul(self.slow.get_nfa().states().len());
        if work > MAX_WORK { Err(Refused::Work(bytes)) } else { Ok(()) }
    }
}

/// A new state costs about as many steps as the pattern has states, so each must serve at least that many bytes.
fn lazy(nfa: NFA, kind: MatchKind) -> Result<dfa::DFA, String> {
    let config = dfa::Config::new()
        .match_kind(kind)
        .unicode_word_boundary(true)
        .cache_capacity(DFA_CACHE)
        .skip_cache_capacity_check(true)
        .minimum_cache_clear_count(Some(1))
        .minimum_bytes_per_state(Some(nfa.states().len().max(10)));
    dfa::Builder::new().configure(config).build_from_nfa(nfa).map_err(|error| error.to_string())
}

fn gave_up(error: &MatchError) -> bool {
    matches!(error.kind(), MatchErrorKind::GaveUp { .. })
}

/// The last line of the parser's message: those before it show the pattern with a caret.
fn why(error: &thompson::BuildError) -> String {
    if error.size_limit().is_some() {
        return "it is too large when compiled".into();
    }
    let message = std::error::Error::source(error).map_or_else(|| error.to_string(), |source| source.to_string());
    message.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn found(pattern: &str, text: &str) -> String {
        match Pattern::new(pattern) {
            Err(why) => why,
            Ok(pattern) => match pattern.find(&Input::new(text)) {
                Err(refused) => refused.to_string(),
                Ok(None) => "no".into(),
                Ok(Some(found)) => text[found.range()].to_owned(),
            },
        }
    }

    #[test]
    fn it_finds_what_the_regex_crate_finds() {
        let patterns = [
            "a*?",
            "(a|ab)(c|bcd)",
            r"\bü\b",
            r"\w+@\w+\.\w+",
            "(?i)ÄB",
            "^$",
            "x{2,3}?",
            r"(?m)^b.*$",
            r"\d{2}|\p{Greek}",
            "(?-u:\\xff)|e",
            r"(?:a{1,50}){1,20}b",
        ];
        let texts = ["", "abcd", "ein ü hier", "me@example.com", "äb", "a\nbcd\n", "xxxx", "α12", "eee", "aaaaaaab"];
        for pattern in patterns {
            let expected = regex::bytes::Regex::new(pattern).expect("a pattern");
            for text in texts {
                let expected = expected.find(text.as_bytes()).map_or("no", |found| &text[found.range()]);
                assert_eq!(found(pattern, text), expected, "{pattern} in {text}");
            }
        }
    }

    #[test]
    fn no_pattern_holds_up_the_worker() {
        let mut x = 12345_u64;
        let text: String = (0..1 << 20)
            .map(|_| {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                if x & 1 == 0 { 'a' } else { 'b' }
            })
            .collect();
        let costly = "it is too costly for a text of 1048576 bytes";
        for (pattern, expected) in [
            ("[ab]*a[ab]{16}c", costly),
            ("[ab]*a[ab]{1000}c", costly),
            (r"[ab]*a[ab]{3000}c|\w+@\w+", costly),
            (r"\w+@\w+", "no"),
            ("(a|b)+c", "no"),
        ] {
            let started = Instant::now();
            assert_eq!(found(pattern, &text), expected, "{pattern}");
            // Unoptimised and beside other tests; without the bounds it is 18 seconds.
            assert!(started.elapsed().as_millis() < 1000, "{pattern}: {:?}", started.elapsed());
        }
    }

    #[test]
    fn what_can_not_be_compiled_says_why() {
        assert_eq!(found("a(b", ""), "unclosed group");
        assert_eq!(found(r"(a)\1", ""), "backreferences are not supported");
        assert_eq!(found("(?=a)", ""), "look-around, including look-ahead and look-behind, is not supported");
        assert_eq!(found(r"(\w{100}){100}", ""), "it is too large when compiled");
        assert_eq!(found(r"\w{20}", ""), "no");
        assert_eq!(found(&"a".repeat(9000), ""), "it is longer than 8192 bytes");
    }
}
