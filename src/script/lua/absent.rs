//! What libraries written for other Luas may want and Luau in a gateway lacks, and what to do instead.
//!
//! The names are absent, not functions that fail: libraries look whether they are there (`loadstring or load`, `if setfenv`) and
//! many can do without. Only when one is used after all is the error given this help, by what its source line says. The
//! reference prints the same list.

use crate::script::error::Fault;

/// Names that are nil, and why; a name with a dot is looked for as it stands.
pub const NAMES: &[(&str, &str)] = &[
    (
        "loadstring",
        "there is no loadstring: code can't be made while the gateway runs, since compiling can't be stopped when it takes long; use a library that interprets its templates or patterns, or put the code into a file for require",
    ),
    ("loadfile", "there is no loadfile: use require"),
    ("dofile", "there is no dofile: use require"),
    (
        "load",
        "there is no load: code can't be made while the gateway runs, since compiling can't be stopped when it takes long; use a library that interprets its templates or patterns, or put the code into a file for require",
    ),
    ("setfenv", "there is no setfenv: a function's globals are its file's; pass what it needs as arguments"),
    ("getfenv", "there is no getfenv: a function's globals are its file's; pass what it needs as arguments"),
    ("module", "there is no module: make a local table and return it at the end of the file"),
    ("newproxy", "there is no newproxy: use a table with a metatable"),
    ("collectgarbage", "there is no collectgarbage: memory is looked after, and limited, for each hook"),
    ("string.gfind", "there is no string.gfind: use string.gmatch"),
    ("string.dump", "there is no string.dump: bytecode can't be made nor run"),
    ("package", "there is no package: require looks beside the script and in the plugin folder"),
    ("debug", "there is no debug library"),
    ("io", "there is no io: scripts have no files; keep what must last in kv or redis"),
    ("os", "of os there are only time, date, clock and difftime"),
];

/// Syntax of other Luas, as it stands in a line.
const SYNTAX: &[(&str, &str)] = &[
    ("goto", "Luau has no goto and no labels: use continue, break or a function"),
    ("<const>", "Luau has no attributes of locals: leave `<const>` and `<close>` away"),
    ("<close>", "Luau has no attributes of locals: leave `<const>` and `<close>` away"),
    ("<<", "Luau has no operators on bits: use bit32"),
    (">>", "Luau has no operators on bits: use bit32"),
    ("!=", "not equal is written `~=`"),
    ("&&", "Luau writes `and`, `or` and `not`"),
    ("||", "Luau writes `and`, `or` and `not`"),
    ("!", "Luau writes `and`, `or` and `not`"),
    ("++", "Luau has no `++`: write `x += 1`"),
    ("elsif", "`elseif` is one word"),
    ("elif", "`elseif` is one word"),
    ("let", "variables are written `local x = …`"),
    ("var", "variables are written `local x = …`"),
    ("const", "variables are written `local x = …`"),
    ("fn", "functions are written `function name(…) … end`"),
    ("func", "functions are written `function name(…) … end`"),
    ("def", "functions are written `function name(…) … end`"),
    ("//", "comments begin with `--`"),
    ("/*", "comments begin with `--`"),
];

/// Tokens that Luau has too, in types and casts: the parser's message says whether it stumbled over one.
const TOKENS: &[(&str, &str)] = &[
    ("'&'", "Luau has no operators on bits: use bit32"),
    ("'|'", "Luau has no operators on bits: use bit32"),
    ("'::'", "Luau has no goto and no labels: use continue, break or a function"),
    ("got ':'", "tables are written `{ name = value }` or `{ [\"a name\"] = value }`"),
    ("'then' when parsing if statement, got '{'", "blocks are written `if … then … end`"),
];

/// Help for an error whose line uses one of them.
pub fn help(fault: &Fault, message: &str, line: &str) -> Option<&'static str> {
    let in_line = |(name, _): &&(&str, &'static str)| has_word(line, name);
    match fault {
        Fault::Syntax => {
            let in_message = |(token, _): &&(&str, &'static str)| message.contains(token);
            SYNTAX.iter().find(in_line).or_else(|| TOKENS.iter().find(in_message)).map(|(_, help)| *help)
        }
        _ if message.contains("attempt to call a nil value") || message.contains("attempt to index nil") => {
            NAMES.iter().find(in_line).map(|(_, help)| *help)
        }
        _ => None,
    }
}

/// Whether it stands in the line by itself: neither as a part of a longer name nor as a member of something.
fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let is_member = |before: &str| before.ends_with(':') || before.ends_with('.') && !before.ends_with("..");
    let is_name = word.starts_with(is_part);
    line.match_indices(word).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + word.len()..]);
        !is_name || !(before.ends_with(is_part) || is_member(before) || after.starts_with(is_part))
    })
}
