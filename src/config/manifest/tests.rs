//! Manifests, and uses held against them, as cases.

use super::super::tests::{load_text, run_cases};
use super::super::{Diagnostics, Source, Style};
use super::Manifest;

const LIMITER: &str = r#"
name = "limiter"
version = "1.0.0"
kind = "traffic"
description = "Limits."

[permissions]
hosts = ["API.example.com", "*.example.org", "h:8443"]
env = ["HOME"]
redis = ["limiter:"]
headers = ["X-Limit-*", "vary"]

[config]
limit = { type = "integer", default = 100, min = 1, max = 1000000, description = "requests in a window" }
window = { type = "duration", default = "60s", min = "1s", max = "1h" }
by = { type = "string", default = "ip", one_of = ["ip", "route", "identity"] }
secret = { type = "string", required = true, secret = true, description = "signs the cookie", min = 8 }
algorithms = { type = "list", items = { type = "string", one_of = ["HS256", "HS512"] }, min = 1 }
headers = { type = "map", items = "string" }
dry_run = { type = "boolean", default = false }
share = { type = "number", default = 0.5, max = 1 }
body = { type = "size" }
extra = { type = "any" }
redirect = { type = "map", fields = { url = { type = "string", required = true }, after = { type = "duration", default = 1500 } } }
prefix = { type = "string", pattern = "^[a-z]+$" }
"#;

fn manifest(text: &str) -> (Manifest, String) {
    let mut diagnostics = Diagnostics::new();
    let source = Source::new("plugins/limiter/plugin.toml", text);
    let manifest = Manifest::parse(&source, "limiter", &mut diagnostics);
    (manifest, diagnostics.render(Style::Plain))
}

/// Checks a plugin's config as `gateway.yaml` gives it; the JSON, then the mistakes.
fn used(config: &str) -> String {
    let (manifest, problems) = manifest(LIMITER);
    assert_eq!(problems, "");
    let indented = config.replace('\n', "\n    ");
    let mut loaded = load_text(&format!("plugins:\n- name: limiter\n  config:\n    {indented}"));
    let plugins = loaded.config.expect("a configuration").plugins;
    let json = manifest.check(&plugins[0].config, &mut loaded.diagnostics);
    format!("{json}\n{}", loaded.diagnostics.render(Style::Plain))
}

#[test]
fn a_manifest_is_decoded() {
    let (manifest, problems) = manifest(LIMITER);
    assert_eq!(problems, "");
    assert_eq!((manifest.name.as_str(), manifest.kind.as_str()), ("limiter", "traffic"));
    assert_eq!(manifest.version.as_deref(), Some("1.0.0"));
    assert_eq!(
        format!("{:?}", manifest.permissions),
        r#"Permissions { hosts: ["api.example.com", "*.example.org", "h:8443"], env: ["HOME"], redis: ["limiter:"], redis_scripts: false, headers: Some(["x-limit-*", "vary"]) }"#
    );
    let names: Vec<_> = manifest.config.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "limit",
            "window",
            "by",
            "secret",
            "algorithms",
            "headers",
            "dry_run",
            "share",
            "body",
            "extra",
            "redirect",
            "prefix"
        ]
    );
    let window = &manifest.config["window"];
    assert_eq!((window.default.clone(), window.min, window.max), (Some(60.into()), Some(1.0), Some(3600.0)));
}

#[test]
fn mistakes_in_manifests_are_shown_in_place() {
    let count = run_cases("manifests.txt", |text| manifest(text).1);
    assert!(count >= 10, "{count} cases ran");
}

#[test]
fn a_plugins_config_is_checked_and_completed() {
    let count = run_cases("plugin_config.txt", used);
    assert!(count >= 12, "{count} cases ran");
}

#[test]
fn a_header_comment_is_pointed_into() {
    let text = "--!strict\n--[[ plugin.toml\nkind = \"auth\"\nlevl = 3\n]]\nreturn {}\n";
    let mut diagnostics = Diagnostics::new();
    let source = Source::new("plugins/key.lua", text);
    let manifest = Manifest::of_script(&source, "key", &mut diagnostics);
    assert_eq!(manifest.kind.as_str(), "auth");
    assert_eq!(
        diagnostics.render(Style::Plain),
        "error: unknown key `levl` in a plugin manifest\n --> plugins/key.lua:4:1\n  |\n4 | levl = 3\n  | ^^^^"
    );
}

#[test]
fn a_script_without_a_manifest_takes_any_config() {
    let mut diagnostics = Diagnostics::new();
    let source = Source::new("plugins/x.lua", "return {}");
    let manifest = Manifest::of_script(&source, "x", &mut diagnostics);
    let loaded = load_text("plugins: [{name: x, config: {a: [1, {b: 5s}]}}]");
    let plugins = loaded.config.expect("a configuration").plugins;
    let json = manifest.check(&plugins[0].config, &mut diagnostics);
    assert_eq!((json.to_string(), diagnostics.is_empty()), (r#"{"a":[1,{"b":"5s"}]}"#.to_owned(), true));
}
