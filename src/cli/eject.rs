//! `eject NAME`: a stock plugin's source with its tests, written into the plugin folder, where it takes the stock one's place.
//!
//! Nothing is overwritten: when one of the files is there already, none is written.

use crate::{
    config,
    gateway::plugins::{STOCK, stock},
    script::Language,
};
use anyhow::{Context, bail};
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Lang {
    Lua,
    Rhai,
}

impl Lang {
    pub fn language(self) -> Language {
        match self {
            Lang::Lua => Language::Lua,
            Lang::Rhai => Language::Rhai,
        }
    }
}

pub fn eject(name: &str, lang: Lang, config: Option<&Path>) -> anyhow::Result<ExitCode> {
    let language = lang.language();
    let Some(stock) = stock(name, language) else {
        let names: Vec<&str> = STOCK.iter().map(|(name, ..)| *name).collect();
        bail!("`{name}` is not a stock plugin: there are {}", names.join(", "));
    };
    let folder = plugins_dir(config)?;
    let file = |name: &str, language: Language| folder.join(format!("{name}.{}", language.extension()));
    let (path, test) = (file(name, language), file(&format!("{name}_test"), language));
    // Of the other language too: two plugins of one name are an error.
    for taken in Language::ALL.map(|other| file(name, other)).iter().chain([&test]) {
        if taken.exists() {
            bail!("{} is there already", taken.display());
        }
    }
    fs::create_dir_all(&folder).with_context(|| format!("can't make {}", folder.display()))?;
    for (path, text) in [(&path, stock.source), (&test, stock.test)] {
        fs::write(path, text).with_context(|| format!("can't write {}", path.display()))?;
    }
    println!("wrote {}: it takes the place of the stock plugin", path.display());
    println!("wrote {}: run it with `gatewright test {}`", test.display(), test.display());
    Ok(ExitCode::SUCCESS)
}

/// The folder that the configuration names; without one, `plugins` here.
pub fn plugins_dir(explicit: Option<&Path>) -> anyhow::Result<PathBuf> {
    let Ok(path) = super::find(explicit) else {
        if let Some(path) = explicit {
            bail!("{} does not exist", path.display());
        }
        return Ok(PathBuf::from("plugins"));
    };
    let loaded = config::load(&path, None, &|name| std::env::var(name).ok());
    Ok(loaded.config.map_or_else(|| path.with_file_name("plugins"), |config| config.plugins_dir.path))
}
