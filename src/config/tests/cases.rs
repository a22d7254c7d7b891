//! Every class of mistake, as it is shown.

use super::super::{Source, Style, load, load_source};
use super::{env, load_text, run_cases};

#[test]
fn mistakes_are_shown_in_place() {
    let count = run_cases("mistakes.txt", |yaml| load_text(yaml).diagnostics.render(Style::Plain));
    assert!(count >= 60, "{count} cases ran");
}

/// SECURITY: whatever goes wrong, what `${…}` gave is not in the message.
#[test]
fn expanded_values_are_never_shown() {
    let count = run_cases("secrets.txt", |yaml| {
        let loaded = load_text(yaml);
        let shown = loaded.diagnostics.render(Style::Plain);
        let json = loaded.diagnostics.to_json().to_string();
        let configs = |c: super::super::Config| c.plugins.into_iter().map(|p| p.config).collect::<Vec<_>>();
        let admin = loaded.config.as_ref().and_then(|c| c.admin.clone());
        let debug = format!("{admin:?} {:?}", loaded.config.map(configs));
        for text in [&shown, &json, &debug] {
            assert!(!text.contains("hunter2"), "{text}");
        }
        shown
    });
    assert!(count >= 8, "{count} cases ran");
}

#[test]
fn diagnostics_are_one_json_array() {
    let json = load_text("services:\n- name: a\n  ur: x\n").diagnostics.to_json();
    assert_eq!(
        json.to_string(),
        r#"[{"severity":"error","message":"unknown key `ur` in a service","file":"gateway.yaml","line":3,"column":3,"length":2,"source":"  ur: x","help":"did you mean `url`?","fix":"url"}]"#
    );
}

#[test]
fn a_file_that_is_not_there_or_no_text_is_reported() {
    let folder = tempfile::tempdir().expect("a folder");
    let shown = |name: &str| {
        let loaded = load(&folder.path().join(name), None, &env);
        let text = loaded.diagnostics.render(Style::Plain);
        text.replace(&folder.path().display().to_string(), "DIR")
    };
    std::fs::write(folder.path().join("latin1.yaml"), b"listen: x\nredis: caf\xe9\n").expect("a file");
    assert_eq!(
        shown("missing.yaml"),
        "error: cannot read the configuration: no such file or directory\n--> DIR/missing.yaml"
    );
    assert_eq!(shown(""), "error: cannot read the configuration: it is a folder\n--> DIR/");
    assert_eq!(
        shown("latin1.yaml"),
        "error: the file is not UTF-8 text
 --> DIR/latin1.yaml:2:11
  |
2 | redis: caf\u{fffd}
  |           ^
  |
  = help: save it as UTF-8"
    );
}

#[test]
fn aliases_cannot_multiply() {
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..10 {
        let previous = format!("*a{},", level - 1).repeat(10);
        bomb.push_str(&format!("a{level}: &a{level} [{previous}]\n"));
    }
    let shown = load_text(&bomb).diagnostics.render(Style::Plain);
    let first = shown.lines().next();
    assert_eq!(first, Some("error: aliases multiply this file beyond reason"));
}

#[test]
fn deep_nesting_is_refused_not_recursed_into() {
    for open in ["[", "{a: ", "- "] {
        let shown = load_text(&open.repeat(100_000)).diagnostics.render(Style::Plain);
        assert!(shown.starts_with("error: "), "{open}: {shown:.200}");
    }
}

#[test]
fn no_text_whatever_panics() {
    let whole = "listen: [{address: 127.0.0.1:1, name: a}]\nservices:\n- name: s\n  targets: [{url: http://h, weight: 2}]\n  \
                 routes: [{paths: [/a, '~/b'], headers: {x: [a]}, plugins: [{name: p, config: {k: \"${SECRET}\"}}]}]\n";
    for end in 0..whole.len() {
        for tail in ["", "\"", "]", "${", "\u{e9}", "\t", "&a *a"] {
            let text = format!("{}{tail}", &whole[..end]);
            let loaded = load_source(&Source::new("x", text), None, &env);
            loaded.diagnostics.render(Style::Plain);
        }
    }
}
