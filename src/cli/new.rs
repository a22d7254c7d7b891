//! `new script|plugin NAME`: a small, commented beginning that works as it is, with a test that passes.
//!
//! Nothing is overwritten: when one of the files is there already, none is written.

use super::eject::{Lang, plugins_dir};
use anyhow::{Context, bail};
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

#[derive(clap::Subcommand)]
pub enum New {
    /// A route script in the current folder
    Script(Named),
    /// A plugin in the plugin folder
    Plugin(Named),
}

#[derive(clap::Args)]
pub struct Named {
    /// Letters, digits, `-` and `_`
    name: String,
    #[arg(long, value_enum, default_value_t = Lang::Lua)]
    lang: Lang,
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// For each language the ending of a file's name and its text; the test beside it follows.
const SCRIPT: [(Lang, &str, &str); 4] = [
    (Lang::Lua, ".lua", include_str!("templates/script.lua")),
    (Lang::Rhai, ".rhai", include_str!("templates/script.rhai")),
    (Lang::Lua, "_test.lua", include_str!("templates/script_test.lua")),
    (Lang::Rhai, "_test.rhai", include_str!("templates/script_test.rhai")),
];
const MAIN: [(Lang, &str, &str); 4] = [
    (Lang::Lua, "main.lua", include_str!("templates/main.lua")),
    (Lang::Rhai, "main.rhai", include_str!("templates/main.rhai")),
    (Lang::Lua, "main_test.lua", include_str!("templates/main_test.lua")),
    (Lang::Rhai, "main_test.rhai", include_str!("templates/main_test.rhai")),
];

pub fn new(what: New) -> anyhow::Result<ExitCode> {
    let (New::Script(named) | New::Plugin(named)) = &what;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if named.name.is_empty() || !named.name.chars().all(plain) {
        bail!("`{}` is not a name of letters, digits, `-` and `_`", named.name);
    }
    let files = match &what {
        New::Script(named) => script(named),
        New::Plugin(named) => plugin(named)?,
    };
    if let Some((taken, _)) = files.iter().find(|(path, _)| path.exists()) {
        bail!("{} is there already", taken.display());
    }
    for (path, template) in &files {
        write(path, &template.replace("NAME", &named.name))?;
        println!("wrote {}", path.display());
    }
    let (name, extension) = (&named.name, named.lang.language().extension());
    let (entry, tests) = match &what {
        New::Script(_) => (format!("script: {name}.{extension}"), format!("{name}_test.{extension}")),
        New::Plugin(_) => {
            (format!("name: {name}, config: {{value: hello}}"), files[0].0.with_file_name("").display().to_string())
        }
    };
    println!("\ntest it:    gatewright test {tests}");
    println!("use it:     plugins: [{{{entry}}}]   on a route");
    println!("or try it:  gatewright dev   with this gateway.yaml, which needs no service:\n");
    println!("routes: [{{name: {name}, paths: [/], plugins: [{{{entry}}}], reply: {{body: \"hi\\n\"}}}}]");
    Ok(ExitCode::SUCCESS)
}

fn script(named: &Named) -> Vec<(PathBuf, &'static str)> {
    let of_language = SCRIPT.into_iter().filter(|(lang, ..)| *lang == named.lang);
    of_language.map(|(_, ending, text)| (PathBuf::from(format!("{}{ending}", named.name)), text)).collect()
}

fn plugin(named: &Named) -> anyhow::Result<Vec<(PathBuf, &'static str)>> {
    let folder = plugins_dir(named.config.as_deref())?.join(&named.name);
    let main = MAIN.into_iter().filter(|(lang, ..)| *lang == named.lang);
    let mut files: Vec<_> = main.map(|(_, file, text)| (folder.join(file), text)).collect();
    files.push((folder.join("plugin.toml"), include_str!("templates/plugin.toml")));
    files.push((folder.join("README.md"), include_str!("templates/README.md")));
    Ok(files)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("can't make {}", folder.display()))?;
    }
    fs::write(path, text).with_context(|| format!("can't write {}", path.display()))
}
