//! Every command and snippet of the README, run.
//!
//! Commands run in a copy of the repository's examples, with the binary under test in place of `cargo run --release --`.
//! Whole configurations are checked, scripts are loaded as route scripts. What can't be run here is named below.

use crate::support::{
    command::{self, ended, gatewright},
    gateway::{Files, Log},
    quickstart::{Quickstart, copy, environment, free_ports},
    repository,
};
use std::{fs, process::Stdio};

/// How a README starts the program.
const CARGO: &str = "cargo run --release --";
/// Runs this very test.
const OURSELVES: &str = "tests/run";

/// A fenced block.
#[derive(Debug)]
struct Block {
    language: String,
    text: String,
    line: usize,
}

fn blocks(file: &str) -> Vec<Block> {
    let text = fs::read_to_string(repository(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in text.lines().enumerate() {
        match (line.trim_start().strip_prefix("```"), open.take()) {
            (Some(language), None) => {
                open = Some(Block { language: language.trim().into(), text: String::new(), line: number + 1 })
            }
            (Some(_), Some(block)) => blocks.push(block),
            (None, Some(mut block)) => {
                block.text.push_str(line);
                block.text.push('\n');
                open = Some(block);
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{file}: a block has no end");
    blocks
}

/// The README, those of the shipped plugins, and the guide that is written by hand.
fn readmes() -> Vec<String> {
    let plugins =
        fs::read_dir(repository("plugins")).expect("the plugins").map(|entry| entry.expect("an entry").path());
    let own = plugins.map(|path| path.join("README.md")).filter(|path| path.is_file());
    let short = own.filter_map(|path| Some(path.strip_prefix(repository("")).ok()?.display().to_string()));
    ["README.md", "docs/operations.md"].map(str::to_owned).into_iter().chain(short).collect()
}

fn all(language: &str) -> Vec<(String, Block)> {
    let files = readmes().into_iter();
    let found =
        files.flat_map(|file| blocks(&file).into_iter().map(move |block| (format!("{file}:{}", block.line), block)));
    found.filter(|(_, block)| block.language == language).collect()
}

#[test]
fn every_block_is_of_a_kind_that_is_run() {
    for file in readmes() {
        for Block { language, line, .. } in blocks(&file) {
            assert!(
                ["sh", "yaml", "lua", "rhai"].contains(&language.as_str()),
                "{file}:{line}: nothing runs `{language}`"
            );
        }
    }
}

#[test]
fn every_configuration_is_fine() {
    let found = all("yaml");
    assert!(found.len() >= 5, "{}", found.len());
    for (place, block) in found {
        let files = copy();
        files.write("gateway.yaml", &block.text);
        let mut command = command::binary();
        command.current_dir(files.folder()).arg("check").envs(demanded(&block.text));
        let ended = ended(&mut command);
        assert_eq!(ended.code, 0, "{place}:\n{}{}", ended.stdout, ended.stderr);
    }
}

/// Values for `${NAME:?…}`, which a user must set.
fn demanded(text: &str) -> Vec<(String, String)> {
    let starts = text.split("${").skip(1).filter_map(|rest| rest.split('}').next());
    starts
        .filter_map(|inner| {
            Some((inner.split_once(":?")?.0.to_owned(), "a value of more than thirty-two bytes".to_owned()))
        })
        .collect()
}

#[test]
fn every_script_loads_as_a_route_script() {
    for language in ["lua", "rhai"] {
        let found = all(language);
        assert!(!found.is_empty(), "no block of {language}");
        for (place, block) in found {
            let files = Files::new();
            files.write(&format!("script.{language}"), &block.text);
            let yaml = format!(
                "services: [{{name: s, url: 'http://127.0.0.1:1', routes: [{{paths: [/], plugins: [{{script: script.{language}}}]}}]}}]"
            );
            files.write("gateway.yaml", &yaml);
            let ended = gatewright(files.folder(), &["check"]);
            assert_eq!(ended.code, 0, "{place}:\n{}", ended.stdout);
        }
    }
}

#[test]
fn every_command_works() {
    let files = copy();
    let mut ran = 0;
    let mut quickstart = None;
    for (place, block) in all("sh") {
        for line in block.text.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#')) {
            run(&place, line.trim(), &files, &mut quickstart);
            ran += 1;
        }
    }
    assert!(ran >= 5, "{ran} commands");
}

fn run(place: &str, line: &str, files: &Files, quickstart: &mut Option<Quickstart>) {
    if line == OURSELVES {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(repository(OURSELVES)).expect("tests/run").permissions().mode();
        assert_ne!(mode & 0o111, 0, "{OURSELVES} can't be executed");
        return;
    }
    if let Some(args) = line.strip_prefix(CARGO) {
        let args: Vec<&str> = args.split_whitespace().collect();
        return match args.first() {
            Some(&("dev" | "run")) => serves(place, &args, files),
            _ => {
                let ended = gatewright(files.folder(), &args);
                assert_eq!(ended.code, 0, "{place}: {line}\n{}{}", ended.stdout, ended.stderr);
            }
        };
    }
    let quickstart = quickstart.get_or_insert_with(Quickstart::start);
    let line = ["127.0.0.1:8080", "localhost:8080"]
        .iter()
        .fold(line.to_owned(), |line, own| line.replace(own, &quickstart.address().to_string()));
    let ended = ended(std::process::Command::new("sh").current_dir(files.folder()).args(["-c", &line]));
    assert_eq!(ended.code, 0, "{place}: {line}\n{}{}", ended.stdout, ended.stderr);
}

/// A command that does not end: it listens, and that is enough.
fn serves(place: &str, args: &[&str], files: &Files) {
    let mut command = command::binary();
    command.current_dir(files.folder()).args(args).envs(environment(free_ports()));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().expect("the gateway's binary");
    let log = Log::default();
    log.follow(process.stdout.take().expect("a pipe"));
    log.follow(process.stderr.take().expect("a pipe"));
    log.contains("listening");
    assert_eq!(process.try_wait().expect("its status"), None, "{place}: {args:?} ended");
    process.kill().and_then(|()| process.wait()).expect("its end");
}

/// Links of the README lead to files that are there.
#[test]
fn every_link_leads_somewhere() {
    for file in readmes() {
        let text = fs::read_to_string(repository(&file)).expect("a README");
        let folder = repository(&file).parent().expect("a folder").to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap_or(link);
            assert!(
                link.starts_with("http") || path.is_empty() || folder.join(path).exists(),
                "{file}: {link} leads nowhere"
            );
        }
    }
}

/// The references in the tree are those that the code prints.
#[test]
fn the_references_are_those_that_the_code_prints() {
    let references = [
        ("reference", "scripts.md"),
        ("lua", "gatewright.d.lua"),
        ("rhai", "gatewright.d.rhai"),
        ("config", "configuration.md"),
    ];
    for (kind, file) in references {
        let printed = gatewright(&repository("."), &["stubs", kind]);
        let stored = std::fs::read_to_string(repository(&format!("docs/{file}"))).expect("a reference");
        assert!(printed.stdout == stored, "docs/{file} is old: gatewright stubs {kind} > docs/{file}");
    }
}
