//! `run` and `dev`: the gateway until a signal ends it.

use super::ConfigFile;
use crate::{
    config::Config,
    gateway::generation::Generation,
    observe,
    run::{Gateway, Options, RunError, handed::Handed},
};
use std::{net::SocketAddr, process::ExitCode};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

pub fn run(config: &ConfigFile, dev: bool, watch_files: bool) -> anyhow::Result<ExitCode> {
    let path = config.find()?;
    // First: the log has a thread.
    let handed = Handed::from_env();
    let _log = observe::log::start(dev);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default())?;
    let result = runtime.block_on(async {
        let (drain, draining) = watch::channel(false);
        let options = Options { config: path.clone(), dev, watch: watch_files, handed };
        let gateway = Gateway::start(options, draining).await?;
        if dev {
            banner(gateway.generation(), &gateway.addresses(), &path);
        } else {
            for (address, name) in gateway.addresses() {
                tracing::info!(%address, name, config = %path.display(), "listening");
            }
        }
        gateway.run(stopped()?, drain).await
    });
    // A listener's blocked accept on this runtime must not hold up the end.
    runtime.shutdown_background();
    match result {
        Ok(()) => Ok(ExitCode::SUCCESS),
        // Its problems have been shown.
        Err(RunError::Config(_)) => Ok(ExitCode::FAILURE),
        Err(error) => Err(error.into()),
    }
}

/// Ends at the first SIGTERM or SIGINT; a second one ends the process at once.
fn stopped() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        tokio::spawn(async move {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
            std::process::exit(1);
        });
    })
}

fn banner(generation: &Generation, addresses: &[(SocketAddr, Option<String>)], path: &std::path::Path) {
    let config = &generation.config;
    println!("gatewright {}, {}", env!("CARGO_PKG_VERSION"), path.display());
    for (address, name) in addresses {
        let name = name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        println!("listening on http://{address}{name}");
    }
    if let Some(admin) = &config.admin {
        println!("administration on http://{}", admin.address);
    }
    println!("\nroutes");
    print!("{}", super::routes::table(generation));
    try_these(config);
    println!("\nSave a script or the configuration to see it reload.");
}

fn try_these(config: &Config) {
    let Some(dev) = &config.dev else { return };
    println!("\ntry");
    for command in &dev.commands {
        println!("  # {}\n  {}", command.title, command.curl);
    }
}
