//! What must hold for every entry of the list, and what is printed from it.

use super::*;
use crate::script::{Engine, Language, Modules, Source};
use std::collections::BTreeSet;

/// Keywords of Luau (contextual ones too) and globals of its libraries that a module would hide.
const LUA: &[&str] = &[
    "and", "break", "continue", "do", "else", "elseif", "end", "export", "false", "for", "function", "goto", "if",
    "in", "local", "nil", "not", "or", "repeat", "return", "then", "true", "typeof", "until", "while",
];
/// Keywords and reserved words of Rhai, and those of its own functions that can't be called in a module's or a method's place.
const RHAI: &[&str] = &[
    "Fn",
    "as",
    "async",
    "await",
    "break",
    "call",
    "case",
    "catch",
    "const",
    "continue",
    "curry",
    "debug",
    "default",
    "do",
    "else",
    "eval",
    "exit",
    "export",
    "false",
    "fn",
    "for",
    "global",
    "go",
    "goto",
    "if",
    "import",
    "in",
    "is",
    "is_def_fn",
    "is_def_var",
    "is_shared",
    "let",
    "loop",
    "match",
    "module",
    "new",
    "nil",
    "null",
    "package",
    "print",
    "private",
    "protected",
    "public",
    "return",
    "shared",
    "spawn",
    "static",
    "super",
    "switch",
    "sync",
    "this",
    "thread",
    "throw",
    "true",
    "try",
    "type_of",
    "until",
    "use",
    "var",
    "void",
    "while",
    "with",
    "yield",
];

fn functions() -> impl Iterator<Item = (String, &'static Function)> {
    let of_modules = host::MODULES.iter().flat_map(|module| {
        module.functions.iter().map(move |function| (format!("{}.{}", module.name, function.name), function))
    });
    let of_kinds = host::KINDS
        .iter()
        .flat_map(|kind| kind.methods.iter().map(move |method| (format!("{}:{}", kind.name, method.name), method)));
    let globals = host::GLOBALS.iter().map(|function| (function.name.to_owned(), *function));
    globals.chain(of_modules).chain(of_kinds)
}

fn all_params(params: &'static [Param], all: &mut Vec<&'static Param>) {
    for param in params {
        all.push(param);
        all_params(entries(&param.ty), all);
    }
}

#[test]
fn every_function_is_documented_with_an_example_in_both_languages() {
    for (name, function) in functions() {
        assert!(function.doc.ends_with(['.', '"']) && !function.doc.contains('\n'), "{name}: {}", function.doc);
        let (lua, rhai) = match name.split_once(':') {
            Some((_, method)) => (format!(":{method}("), format!(".{method}(")),
            None => (format!("{name}("), format!("{}(", name.replace('.', "::"))),
        };
        assert!(function.lua.contains(&lua), "{name}: {}", function.lua);
        assert!(function.rhai.contains(&rhai), "{name}: {}", function.rhai);
        assert!(!function.lua.contains('\n') && !function.rhai.contains('\n'), "{name}");
    }
    assert!(functions().count() > 100, "{} functions", functions().count());
}

/// Every example is taken by its language, and nothing of it would fail for certain: no name is wrong and no argument either.
#[test]
fn examples_are_what_they_show() {
    struct None;
    impl Modules for None {
        fn find(&self, _: Language, _: &str) -> Option<Source> {
            Option::None
        }
    }
    let modules: std::rc::Rc<dyn Modules> = std::rc::Rc::new(None);
    let engines: [Box<dyn Engine>; 2] = [
        Box::new(crate::script::lua::LuaEngine::new(64 << 20).expect("a machine")),
        Box::new(crate::script::rhai::RhaiEngine::new(64 << 20).expect("an engine")),
    ];
    let mut compiled = 0;
    for (name, function) in functions() {
        for (engine, language) in engines.iter().zip(Language::ALL) {
            // What an example takes for granted is given to it.
            let mut known = String::new();
            loop {
                let text = match language {
                    Language::Lua => {
                        format!("return {{ on_request = function(req, ctx) {known} {} end }}", function.lua)
                    }
                    Language::Rhai => format!("fn on_request(req, ctx) {{ {known} {}; return; }}", function.rhai),
                };
                let source = Source { path: "example".into(), text: text.as_str().into() };
                let Err(error) = engine.compile(&source, &modules) else { break };
                let missing = error.message.strip_suffix("` is not defined").and_then(|it| it.strip_prefix('`'));
                let Some(missing) = missing.filter(|missing| !known.contains(&format!(" {missing} "))) else {
                    panic!("{name}: {error}\n{text}");
                };
                known += &match language {
                    Language::Lua => format!("local {missing} = ctx.config.it "),
                    Language::Rhai => format!("let {missing} = ctx.config.it; "),
                };
            }
            compiled += 1;
        }
    }
    assert_eq!(compiled, 2 * functions().count());
}

#[test]
fn names_are_unique() {
    let mut seen = BTreeSet::new();
    for (name, _) in functions() {
        assert!(seen.insert(name.clone()), "{name} is there twice");
    }
    for name in host::KINDS.iter().map(|kind| kind.name) {
        assert!(seen.insert(name.to_owned()), "{name} is there twice");
    }
    for kind in host::KINDS {
        for property in kind.properties {
            assert!(seen.insert(format!("{}:{}", kind.name, property.name)), "{}:{}", kind.name, property.name);
        }
    }
    for module in host::MODULES {
        for constant in module.constants {
            assert!(seen.insert(format!("{}.{}", module.name, constant.name)), "{}.{}", module.name, constant.name);
        }
    }
}

#[test]
fn no_name_is_a_reserved_word_of_either_language() {
    let mut names: Vec<&str> = host::MODULES.iter().map(|module| module.name).collect();
    let mut params = Vec::new();
    for (_, function) in functions() {
        names.push(function.name);
        all_params(function.params, &mut params);
        all_params(entries(&function.returns), &mut params);
    }
    names.extend(params.iter().map(|param| param.name));
    names.extend(host::KINDS.iter().flat_map(|kind| kind.properties).map(|property| property.name));
    // JSON's null is left out: Rhai has `()` for it.
    let constants = host::MODULES.iter().flat_map(|module| module.constants);
    names.extend(constants.filter(|constant| constant_text(&constant.value).is_some()).map(|constant| constant.name));
    for name in names {
        assert!(!LUA.contains(&name) && !RHAI.contains(&name), "`{name}` is reserved");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "`{name}`");
    }
}

#[test]
fn required_parameters_come_first() {
    for (name, function) in functions() {
        let required = function.params.iter().skip_while(|param| !param.optional);
        assert!(required.clone().all(|param| param.optional), "{name}");
    }
}

#[test]
fn the_reference_shows_signatures_options_and_examples() {
    let text = reference();
    let expected = r#"
#### `limit.token_bucket(key, rule)`

Takes tokens from a bucket that holds `burst` and fills with `rate` a second, and says whether there were enough.

- `key` (string): who is counted, within the plugin's own namespace
- `rule` (map of these): the limit
  - `rate` (number): tokens that flow in each second
"#;
    assert!(text.contains(expected), "{text}");
    assert!(
        text.contains("- gives list: string\n\n```lua\nlocal tokens = req.headers:all(\"x-token\")\n```\n"),
        "{text}"
    );
    assert!(text.contains("| `on_error(err, ctx)` | When the gateway itself failed. | Nothing, or a reply. |\n"));
    assert_eq!(text, reference());
}

#[test]
fn lua_stubs_say_the_types() {
    let text = stubs_lua();
    let expected = r#"---@param url string `svc://NAME/path/{id}`, or the URL of a permitted host
---@param options? http.get.options of the call
---@return result
function http.get(url, options) end
"#;
    assert!(text.contains(expected), "{text}");
    assert!(text.contains("---@field on_response? fun(res: response, ctx: context): reply?\n"));
    assert!(text.contains(
        "\n---@class http.get.options\n---@field headers? table<string, string|number|boolean|nil|(string|number|boolean|nil)[]> request headers; a list for several of a name\n"
    ));
    assert!(!text.contains("@class http.post.options"));
    assert!(text.contains("---@class headers\n---@field [string] string?\ndo\nlocal headers = {}\n"));
}

#[test]
fn rhai_stubs_say_the_types() {
    let text = stubs_rhai();
    for expected in [
        "fn get(url: String) -> result;\n",
        "fn get(url: String, options: Map) -> result;\n",
        "fn get method(this: request) -> String;\n",
        "fn all(this: headers, name: String) -> Array;\n",
        "\nmodule json {\n",
        "// `null` is a reserved word: write `()`.\n",
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
}
