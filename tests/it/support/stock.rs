//! A service behind one stock plugin, in each language that the plugin is written in.
//!
//! Lua's is the one inside the binary; Rhai's is put into the plugin folder, where it takes the other's place.

use super::{Gateway, Upstream, command, gateway, repository};

/// One language's gateway with the plugin on its only route, `/`, and the service behind it.
pub struct Behind {
    pub language: &'static str,
    pub gateway: Gateway,
    pub upstream: Upstream,
}

/// `config`: as in `config:`, in braces. `upstream` makes each language's service.
pub fn behind(plugin: &str, config: &str, upstream: impl Fn() -> Upstream) -> [Behind; 2] {
    ["lua", "rhai"].map(|language| {
        let upstream = upstream();
        let yaml = format!(
            "services: [{{name: s, url: '${{s}}', routes: [{{name: r, paths: [/], plugins: [{{name: {plugin}, config: {config}}}]}}]}}]"
        );
        let mut given = gateway(&yaml).url("s", &upstream);
        if language == "rhai" {
            let path = repository(&format!("scripts/{plugin}.rhai"));
            let source = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            given = given.file(&format!("plugins/{plugin}.rhai"), &source);
        }
        Behind { language, gateway: given.start(), upstream }
    })
}

/// What `check` says about a use of a stock plugin that can't work.
pub fn refused(plugin_use: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let yaml = format!(
        "services: [{{name: s, url: 'http://127.0.0.1:1', routes: [{{name: r, paths: [/], plugins: [{plugin_use}]}}]}}]"
    );
    std::fs::write(folder.path().join("gateway.yaml"), yaml).expect("a file");
    let ended = command::gatewright(folder.path(), &["check"]);
    assert_eq!(ended.code, 1, "{}", ended.stdout);
    ended.stdout
}
