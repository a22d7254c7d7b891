//! `routes` and `routes match METHOD URL`: which route a request takes, and why the others lost; and which scripts a running gateway
//! leaves out ([`held`]).

use super::held;
use crate::{
    config::{Route, Scheme, Style},
    gateway::{
        generation::{self, Generation},
        router::{Subject, Verdict},
    },
    http::NormalPath,
};
use anyhow::{Context, bail};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use std::{fmt::Write, net::SocketAddr, path::PathBuf, process::ExitCode};

#[derive(clap::Args)]
pub struct RoutesConfig {
    /// The configuration; without it $GATEWRIGHT_CONFIG, ./gateway.yaml or /etc/gatewright/gateway.yaml
    #[arg(short = 'c', long = "config", value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// The running gateway that is asked which scripts it leaves out; without it the configuration's own
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
}

#[derive(clap::Subcommand)]
pub enum RoutesCommand {
    /// Which route a request takes, and why the others do not
    Match {
        method: String,
        /// `/path?query`, or a whole URL when the host matters
        url: String,
        /// A header, such as `x-version: 2`
        #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
        headers: Vec<String>,
        /// The name of the listener that it comes in on
        #[arg(long, default_value = "")]
        listener: String,
    },
}

pub fn routes(config: &RoutesConfig, command: Option<RoutesCommand>) -> anyhow::Result<ExitCode> {
    let path = super::find(config.config.as_deref())?;
    let built = generation::build(&path, 1, false, None);
    let Some(generation) = built.generation else {
        eprintln!("{}", built.diagnostics.render(Style::Plain));
        return Ok(ExitCode::FAILURE);
    };
    match command {
        None => {
            let held = held::lines(generation.config.admin.as_ref(), config.admin);
            let mut text = table(&generation);
            if !held.is_empty() {
                let _ = writeln!(text, "left out at the moment, since they kept failing:\n  {}", held.join("\n  "));
            }
            Ok(super::print(text.as_bytes()))
        }
        Some(RoutesCommand::Match { method, url, headers, listener }) => {
            explain(&generation, &method, &url, &headers, &listener)
        }
    }
}

/// The routes in the order of the file, one a line.
pub fn table(generation: &Generation) -> String {
    let rows: Vec<[String; 4]> = generation
        .router
        .routes()
        .iter()
        .zip(&generation.chains)
        .map(|(route, chain)| {
            let plugins: Vec<&str> = chain.iter().map(|place| &*generation.places[*place].name).collect();
            [route.name.value.clone(), conditions(route), answered_by(generation, route), plugins.join(", ")]
        })
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];
    rows.iter().fold(String::new(), |mut text, [name, what, by, plugins]| {
        let line = format!("  {name:0$}  {what:1$}  {by:2$}  {plugins}", widths[0], widths[1], widths[2]);
        let _ = writeln!(text, "{}", line.trim_end());
        text
    })
}

fn answered_by(generation: &Generation, route: &Route) -> String {
    match generation.config.service_of(route) {
        Some(service) => format!("-> {}", service.name.value),
        None => "-> script".into(),
    }
}

fn conditions(route: &Route) -> String {
    let mut parts = Vec::new();
    parts.extend(route.methods.iter().map(ToString::to_string));
    parts.extend(route.hosts.iter().map(ToString::to_string));
    parts.extend(route.paths.iter().map(|path| path.value.to_string()));
    parts.extend(route.headers.iter().map(|(name, _)| format!("{name}:")));
    parts.extend(route.query.iter().map(|(name, _)| format!("?{name}")));
    parts.extend(route.listeners.iter().map(|name| format!("@{}", name.value)));
    parts.join(" ")
}

fn explain(
    generation: &Generation,
    method: &str,
    url: &str,
    headers: &[String],
    listener: &str,
) -> anyhow::Result<ExitCode> {
    let method = Method::from_bytes(method.as_bytes()).with_context(|| format!("`{method}` is not a method"))?;
    let uri: Uri = url.parse().with_context(|| format!("`{url}` is not a URL"))?;
    let target = NormalPath::parse(&uri).with_context(|| format!("`{url}` is refused with 400"))?;
    let headers = headers.iter().map(|text| header(text)).collect::<anyhow::Result<HeaderMap>>()?;
    let host = uri.host().or_else(|| headers.get("host").and_then(|h| h.to_str().ok())).unwrap_or_default();
    let host = crate::proxy::without_port(host).to_ascii_lowercase();
    let scheme = if uri.scheme_str() == Some("https") { Scheme::Https } else { Scheme::Http };
    let subject = Subject {
        listener,
        scheme,
        host: &host,
        path: target.path(),
        query: target.query().unwrap_or_default(),
        method: &method,
        headers: &headers,
    };
    let verdicts = generation.router.explain(&subject);
    let routes = generation.router.routes();
    let winner = verdicts.iter().find(|(_, verdict)| *verdict == Verdict::Wins);
    match winner {
        Some((index, _)) => {
            let route = &routes[*index];
            println!("{method} {url}: route `{}` {}", route.name.value, answered_by(generation, route));
        }
        None => println!("{method} {url}: no route matches (404)"),
    }
    for (index, verdict) in &verdicts {
        match verdict {
            Verdict::Wins => {}
            Verdict::Outranked(why) | Verdict::Differs(why) => println!("  not `{}`: {why}", routes[*index].name.value),
        }
    }
    Ok(ExitCode::from(u8::from(winner.is_none())))
}

fn header(text: &str) -> anyhow::Result<(HeaderName, HeaderValue)> {
    let Some((name, value)) = text.split_once(':') else {
        bail!("`{text}` is not a header: write `NAME: VALUE`");
    };
    Ok((name.trim().parse()?, value.trim().parse()?))
}
