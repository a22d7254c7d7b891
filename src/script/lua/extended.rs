//! Libraries that add functions of their own to `string`, `table` or `math` while they are loaded, as many for Lua 5.1 do.
//!
//! The standard libraries are everybody's and frozen. A file whose text extends one gets a copy of it, and so do the files that it
//! requires: they see what it added, and no other script does. Once requests come the copy is as frozen as the original. Methods of
//! strings (`text:trim()`) stay those of the original, since strings are everybody's too.

use super::vm::Shared;
use mlua::{Lua, Table, Value};

const LIBRARIES: [&str; 3] = ["string", "table", "math"];

/// Own copies of standard libraries, by their names.
pub type Extended = Vec<(&'static str, Table)>;

/// The copies for a file, and those of the file that requires it.
pub fn libraries(lua: &Lua, shared: &Shared, text: &str, above: &Extended) -> mlua::Result<Extended> {
    let mut extended = Extended::new();
    for library in LIBRARIES {
        let inherited = above.iter().find(|(name, _)| *name == library);
        let table = match inherited {
            // Sealed already when it is required late, by a hook: what it holds can be seen, and not changed.
            Some((_, table)) => table.clone(),
            None if extends(text, library) => copy(lua, &shared.globals.raw_get(library)?)?,
            None => continue,
        };
        extended.push((library, table));
    }
    Ok(extended)
}

fn copy(lua: &Lua, library: &Table) -> mlua::Result<Table> {
    let copy = lua.create_table()?;
    library.for_each(|name: Value, member: Value| copy.raw_set(name, member))?;
    Ok(copy)
}

/// Whether a line of the text begins with `function LIBRARY.name` or `LIBRARY.name =`. What it takes for one in vain costs a copy.
fn extends(text: &str, library: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim_start();
        let function = line.strip_prefix("function").filter(|rest| rest.starts_with(char::is_whitespace));
        let function = function.map(str::trim_start);
        let Some(rest) = function.unwrap_or(line).strip_prefix(library) else { return false };
        let Some(rest) = rest.strip_prefix(if function.is_some() { &['.', ':'][..] } else { &['.'][..] }) else {
            return false;
        };
        let after = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let after = after.trim_start();
        after.len() < rest.len() && (function.is_some() || (after.starts_with('=') && !after.starts_with("==")))
    })
}

#[cfg(test)]
mod tests {
    use super::extends;

    #[test]
    fn only_lines_that_add_something_count() {
        for line in ["function string.split(s)", "  string.trim = function", "function  string:trim()", "string.x=1"] {
            assert!(extends(&format!("-- a file\n{line}\n"), "string"), "{line}");
        }
        for line in [
            "local s = string.rep('x', 3)",
            "string.rep('x', 3)",
            "functionstring.x()",
            "strings.x = 1",
            "string.x == 1",
        ] {
            assert!(!extends(line, "string"), "{line}");
        }
    }
}
