//! Our tree against another reader's: what a file says must not depend on who reads it.

use super::super::{Diagnostics, Source, expand::Expander, yaml};
use std::path::Path;

fn ours(text: &str) -> Option<serde_json::Value> {
    let mut diagnostics = Diagnostics::new();
    let mut expander = Expander { env: &|_| None, directory: Path::new(""), files: Default::default() };
    let root = yaml::parse(&Source::new("x.yaml", text), &mut expander, &mut diagnostics);
    root.filter(|_| !diagnostics.has_errors()).map(|parsed| parsed.root.to_json())
}

#[test]
fn another_reader_sees_the_same_values() {
    let texts = [
        "a: 1\nb: [x, 'y', \"z\\n\", ~, true, 1.5, -7, 0x1F, 1e3]\n",
        "block: |\n  one\n  two\nfolded: >-\n  one\n  two\n",
        "base: &b {x: 1, y: [2, 3]}\nagain: *b\n",
        "{flow: {deep: [{a: [1]}]}, empty: {}, none: [], text: 'it''s'}\n",
        "yes: no\non: off\nversion: '2.0'\nnumber: 2.0\nquoted: \"007\"\nnull: null\n",
        "- 1\n- [a, b]\n- {c: d}\n",
        include_str!("../../../examples/kong/kong.yml"),
    ];
    for text in texts {
        let theirs: serde_json::Value = serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(ours(text), Some(theirs), "{text}");
    }
}
