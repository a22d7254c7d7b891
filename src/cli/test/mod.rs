//! `test`: runs the test files of scripts and says how each case ended.
//!
//! What a case is and how it runs is the harness' ([`crate::harness`]). No case at all is a failure: a pipeline that tests nothing should
//! not be green.

mod junit;

use super::eject::plugins_dir;
use crate::{
    gateway::generation::Watch,
    harness::{self, Failure, Suite},
    run::watch::Changes,
};
use anyhow::Context;
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

#[derive(clap::Args)]
pub struct Test {
    /// Test files, or folders of them; the plugin folder and the current one when left out
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Only cases whose file or name contains this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Write the results as JUnit XML too
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Run again whenever a file beside a test file changes
    #[arg(long)]
    watch: bool,
    /// The configuration that says where the plugin folder is
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// How one case ended, or a file that has none to run.
struct Ended {
    file: PathBuf,
    name: String,
    line: usize,
    took: Duration,
    failure: Option<Failure>,
}

pub fn test(options: &Test) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default())?;
    runtime.block_on(async {
        let mut changes = Changes::new(options.watch);
        loop {
            let files = find(options)?;
            // Before the run: what is saved while it goes on is not missed.
            changes.follow(&beside(&files, options));
            let passed = run(options, &files).await?;
            if !options.watch {
                return Ok(ExitCode::from(u8::from(!passed)));
            }
            println!("\nwaiting for changes");
            changes.settled().await;
            println!();
        }
    })
}

fn find(options: &Test) -> anyhow::Result<Vec<PathBuf>> {
    let mut paths = options.paths.clone();
    if paths.is_empty() {
        paths.push(PathBuf::from("."));
        paths.extend(outside(options)?);
    }
    let found = harness::find(&paths);
    found.map_err(|(path, error)| anyhow::anyhow!("{} can't be read: {error}", path.display()))
}

/// The plugin folder, when it is not below the current one. Without a configuration there is none to be told of.
fn outside(options: &Test) -> anyhow::Result<Option<PathBuf>> {
    let folder = match plugins_dir(options.config.as_deref()) {
        Ok(folder) => folder,
        Err(error) if options.config.is_some() => return Err(error),
        Err(_) => return Ok(None),
    };
    let below = fs::canonicalize(&folder).ok().zip(fs::canonicalize(".").ok());
    Ok(below.filter(|(folder, here)| !folder.starts_with(here)).map(|_| folder))
}

/// Test files and everything that lies beside them.
fn beside(files: &[PathBuf], options: &Test) -> Watch {
    let folder = |file: &PathBuf| match file.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut folders: Vec<PathBuf> = files.iter().map(folder).collect();
    folders.sort();
    folders.dedup();
    let entries = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().filter_map(Result::ok);
    let files = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    let plugins_dir = options.paths.iter().find(|path| path.is_dir()).cloned();
    let plugins_dir = plugins_dir.unwrap_or_else(|| PathBuf::from("plugins"));
    Watch { files, plugins_dir, plugins: Vec::new() }
}

/// Whether there was a case and all passed.
async fn run(options: &Test, files: &[PathBuf]) -> anyhow::Result<bool> {
    let started = Instant::now();
    let mut all = Vec::new();
    for file in files {
        run_file(file, options.filter.as_deref(), &mut all).await;
    }
    let failed = all.iter().filter(|ended| ended.failure.is_some()).count();
    let seconds = started.elapsed().as_secs_f64();
    match all.len() {
        0 => println!("no case found: name files `…_test.lua` or `…_test.rhai`, and functions `test_…`"),
        1 => println!("\n1 case, {failed} failed, in {seconds:.2} s"),
        count => println!("\n{count} cases, {failed} failed, in {seconds:.2} s"),
    }
    if let Some(path) = &options.junit {
        fs::write(path, junit::report(&all)).with_context(|| format!("can't write {}", path.display()))?;
    }
    Ok(failed == 0 && !all.is_empty())
}

async fn run_file(file: &Path, filter: Option<&str>, all: &mut Vec<Ended>) {
    let chosen = |name: &str| filter.is_none_or(|text| name.contains(text) || file.to_string_lossy().contains(text));
    let suite = match Suite::open(file) {
        Ok(suite) => suite,
        Err(report) if chosen("") => {
            let failure = Failure { message: "the file does not load".to_owned(), report, log: Vec::new() };
            let (file, name) = (file.to_owned(), "load".to_owned());
            let ended = Ended { file, name, line: 1, took: Duration::ZERO, failure: Some(failure) };
            say(&ended);
            all.push(ended);
            return;
        }
        Err(_) => return,
    };
    for case in suite.cases.iter().filter(|case| chosen(&case.name)) {
        let harness::Outcome { took, failure } = suite.run(case).await;
        let ended = Ended { file: file.to_owned(), name: case.name.clone(), line: case.line, took, failure };
        say(&ended);
        all.push(ended);
    }
}

fn say(ended: &Ended) {
    let word = if ended.failure.is_some() { "FAILED" } else { "ok    " };
    println!("{word} {} {} ({} ms)", ended.file.display(), ended.name, ended.took.as_millis());
    let Some(failure) = &ended.failure else { return };
    let logged = failure.log.iter().flat_map(|line| line.lines().map(|line| format!("log: {line}")));
    for line in failure.report.lines().map(str::to_owned).chain(logged) {
        println!("       {line}");
    }
}
