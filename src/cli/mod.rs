//! The command line: one file a command, each a function from arguments to an exit code.
//!
//! 0 is fine, 1 is findings or a failed start, 2 is wrong usage. `anyhow` is used here and nowhere else.

mod capabilities;
mod check;
mod eject;
mod hash_password;
mod held;
mod new;
mod routes;
mod run;
mod stubs;
mod test;

use clap::{CommandFactory, Parser, Subcommand};
use std::{path::PathBuf, process::ExitCode};

#[derive(Parser)]
#[command(name = "gatewright", version, about = "The API gateway whose policies are scripts")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Which configuration file to use.
#[derive(clap::Args, Clone)]
pub struct ConfigFile {
    /// The configuration; without it $GATEWRIGHT_CONFIG, ./gateway.yaml or /etc/gatewright/gateway.yaml
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    config: Option<PathBuf>,
    #[arg(value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway; it reloads when files change
    Run {
        #[command(flatten)]
        config: ConfigFile,
        /// Reload only on SIGHUP and by the admin API
        #[arg(long)]
        no_watch: bool,
    },
    /// Run the gateway for development: readable output, script errors shown to clients
    Dev {
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Check the configuration and load every script, without serving
    Check {
        #[command(flatten)]
        config: ConfigFile,
        #[arg(long, value_enum, default_value_t = check::Format::Human)]
        format: check::Format,
    },
    /// List the routes, or say which one a request would take
    Routes {
        #[command(flatten)]
        config: routes::RoutesConfig,
        #[command(subcommand)]
        command: Option<routes::RoutesCommand>,
    },
    /// Run the test files of scripts, `…_test.lua` and `…_test.rhai`
    Test(test::Test),
    /// Write the beginning of a script or plugin
    New {
        #[command(subcommand)]
        what: new::New,
    },
    /// Write a stock plugin's source into the plugin folder, to be changed
    Eject {
        /// The plugin's name
        name: String,
        #[arg(long, value_enum, default_value_t = eject::Lang::Lua)]
        lang: eject::Lang,
        #[arg(short = 'c', long = "config", value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Read a password and print it as it may stand in a configuration
    HashPassword {
        #[arg(long, default_value_t = i64::from(crate::crypto::password::ITERATIONS))]
        iterations: i64,
    },
    /// Print definitions for editors, or the reference of everything scripts can call
    Stubs {
        #[arg(value_enum)]
        kind: stubs::Stubs,
    },
    /// Print completions for a shell
    Completions {
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the version
    Version,
}

pub fn main() -> ExitCode {
    crate::memory::give_back_soon();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            // Asking for help is not an error.
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let result = match cli.command {
        Command::Run { config, no_watch } => run::run(&config, false, !no_watch),
        Command::Dev { config } => run::run(&config, true, true),
        Command::Check { config, format } => check::check(&config, format),
        Command::Routes { config, command } => routes::routes(&config, command),
        Command::Test(options) => test::test(&options),
        Command::New { what } => new::new(what),
        Command::Eject { name, lang, config } => eject::eject(&name, lang, config.as_deref()),
        Command::HashPassword { iterations } => hash_password::hash_password(iterations),
        Command::Stubs { kind } => stubs::stubs(kind),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "gatewright", &mut text);
            Ok(print(&text))
        }
        Command::Version => {
            println!("gatewright {}", env!("CARGO_PKG_VERSION"));
            Ok(ExitCode::SUCCESS)
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("gatewright: {error:#}");
        ExitCode::FAILURE
    })
}

/// A reader that has seen enough, such as `head`, is no error.
fn print(text: &[u8]) -> ExitCode {
    let _ = std::io::Write::write_all(&mut std::io::stdout(), text);
    ExitCode::SUCCESS
}

impl ConfigFile {
    fn find(&self) -> anyhow::Result<PathBuf> {
        find(self.config.as_deref().or(self.file.as_deref()))
    }
}

fn find(explicit: Option<&std::path::Path>) -> anyhow::Result<PathBuf> {
    Ok(crate::config::find(explicit, &|name| std::env::var(name).ok())?)
}
