//! Where the manifest stands in a script that is a plugin by itself.
//!
//! It is the first block comment, before any code, and begins with the word `plugin.toml`: `--[[ plugin.toml … ]]`
//! (also `--[==[ … ]==]`) or `/* plugin.toml … */`. Line comments, such as `--!strict`, may stand before it.

use std::ops::Range;

const MARK: &str = "plugin.toml";

/// The place of the TOML text; `None` when the script has no such comment. An unclosed comment reaches to the end:
/// the script's own compiler will say so.
pub(super) fn range(text: &str) -> Option<Range<usize>> {
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    loop {
        rest = rest.trim_start();
        if let Some((inner, close)) = block(rest) {
            let body = inner.trim_start().strip_prefix(MARK)?;
            let start = text.len() - body.len();
            let end = body.find(&close).unwrap_or(body.len());
            return Some(start..start + end);
        }
        if !(rest.starts_with("--") || rest.starts_with("//")) {
            return None;
        }
        rest = &rest[rest.find('\n')?..];
    }
}

/// What follows the opening of a block comment, and what closes it.
fn block(text: &str) -> Option<(&str, String)> {
    if let Some(inner) = text.strip_prefix("/*") {
        return Some((inner, "*/".to_owned()));
    }
    let long = text.strip_prefix("--[")?;
    let level = long.bytes().take_while(|b| *b == b'=').count();
    let inner = long[level..].strip_prefix('[')?;
    Some((inner, format!("]{}]", "=".repeat(level))))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_manifest_is_the_first_block_comment() {
        let cases = [
            ("--[[ plugin.toml\na = 1\n]]\nreturn {}", Some("\na = 1\n")),
            ("--!strict\n\n-- words\n--[==[\nplugin.toml\na = [[1]]\n]==]", Some("\na = [[1]]\n")),
            ("\u{feff}/* plugin.toml\na = 1 */ fn x() {}", Some("\na = 1 ")),
            ("// words\n/* plugin.toml", Some("")),
            ("--[[ other ]]\n--[[ plugin.toml ]]", None),
            ("local x = 1\n--[[ plugin.toml ]]", None),
            ("-- plugin.toml", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(super::range(text).map(|range| &text[range]), expected, "{text}");
        }
    }
}
