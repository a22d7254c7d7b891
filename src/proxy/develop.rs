//! Failures as `gatewright dev` shows them to whoever caused them: a page for browsers, text for terminals, a problem for programs.
//!
//! Everything that production keeps to its log: place, excerpt and stack of a script, addresses of targets, the routes and why each
//! is not this request's. Only [`Worker::open`](super::worker::Worker::open) leads here. SECURITY: all of it is escaped, since it
//! holds what the client sent; nothing on the page runs or loads.

use super::failure::{self, Failure};
use crate::{
    gateway::router::{Router, Subject, Verdict},
    script::{Exchange, Hook, Reply},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use std::fmt::Write;

/// Routes that are listed.
const MOST_ROUTES: usize = 50;

const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const STYLE: &str = ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;margin:3rem auto;max-width:60rem;padding:0 1rem}\
    h1{font-size:1.4rem}pre{background:#8882;border-left:4px solid #c62828;padding:1rem;overflow-x:auto;font:14px/1.45 ui-monospace,monospace}\
    th{text-align:left;font-weight:600;padding-right:1.5rem;vertical-align:top}footer{margin-top:2rem;color:GrayText}";

/// The routes of a generation, each with why it is not this request's.
pub fn lost(router: &Router, subject: &Subject<'_>) -> Vec<(String, String)> {
    let why = |(index, verdict): (usize, Verdict)| {
        let (Verdict::Outranked(why) | Verdict::Differs(why)) = verdict else { return None };
        Some((router.routes()[index].name.value.clone(), why))
    };
    router.explain(subject).into_iter().filter_map(why).take(MOST_ROUTES).collect()
}

/// The same reply with all that is known, in the form that its client reads.
pub fn explain(mut reply: Reply, failure: &Failure, exchange: &Exchange) -> Reply {
    let request = exchange.request.borrow();
    let form = Form::wanted(&request.headers);
    let report = Report::new(&reply, failure, exchange);
    let (content_type, body) = match form {
        Form::Problem => {
            reply.problem = Some(report.text);
            return reply;
        }
        Form::Text => (crate::script::reply::TEXT, report.as_text()),
        Form::Page => {
            reply.headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
            (HTML, report.as_page())
        }
    };
    reply.problem = None;
    reply.body = Bytes::from(body);
    reply.headers.insert(header::CONTENT_TYPE, content_type);
    reply.headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Page,
    Text,
    Problem,
}

impl Form {
    /// By the types that are named: browsers name HTML, programs JSON, and curl takes anything.
    fn wanted(headers: &HeaderMap) -> Form {
        let named = |what: &str| {
            let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
            values.flat_map(|value| value.split(',')).any(|kind| kind.split(';').next().unwrap_or("").contains(what))
        };
        match (named("text/html"), named("json")) {
            (true, _) => Form::Page,
            (false, true) => Form::Problem,
            (false, false) => Form::Text,
        }
    }
}

struct Report {
    title: String,
    text: String,
    facts: Vec<(&'static str, String)>,
    routes: Vec<(String, String)>,
}

impl Report {
    fn new(reply: &Reply, failure: &Failure, exchange: &Exchange) -> Report {
        let request = exchange.request.borrow();
        let account = &exchange.account;
        let mut facts = vec![
            ("request", format!("{} {}", request.method, request.target.as_str())),
            ("route", exchange.route.borrow().to_string()),
        ];
        let (text, mut routes) = (failure.to_string(), Vec::new());
        let text = match failure {
            Failure::Script(error) => {
                facts.push(("hook", error.hook.map_or("", Hook::name).to_owned()));
                failure::excerpt(error)
            }
            Failure::NoRoute { lost, .. } => {
                routes.clone_from(lost);
                text
            }
            Failure::Upstream(_) | Failure::NoTarget { .. } | Failure::BreakerOpen { .. } | Failure::Overloaded(_) => {
                let known = |name: &std::cell::RefCell<Option<std::sync::Arc<str>>>| {
                    name.borrow().as_deref().unwrap_or_default().to_owned()
                };
                facts.push(("service", known(&account.service)));
                facts.push(("target", known(&account.target)));
                facts.push(("tries", account.tries.get().to_string()));
                text
            }
            Failure::Path(_) | Failure::Head(_) | Failure::NoService(_) | Failure::NoAnswer(_) | Failure::Late => text,
        };
        facts.push(("request id", exchange.id.as_str().to_owned()));
        facts.retain(|(_, value)| !value.is_empty());
        let what = match failure {
            Failure::Script(_) => "a script failed",
            Failure::NoRoute { .. } => "no route matches",
            _ => failure.kind(),
        };
        Report { title: format!("{}: {what}", reply.status), text, facts, routes }
    }

    fn as_text(&self) -> String {
        let mut out = format!("{}\n\n{}\n\n", self.title, self.text);
        for (name, value) in &self.facts {
            let _ = writeln!(out, "{name}: {value}");
        }
        if !self.routes.is_empty() {
            out.push_str("\nThe routes, and why they are not this request's:\n");
        }
        for (route, why) in &self.routes {
            let _ = writeln!(out, "  {route}: {why}");
        }
        out.push_str("\n(Only `gatewright dev` shows this to clients.)\n");
        // SECURITY: it is shown by terminals, which a control character would steer.
        out.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
    }

    fn as_page(&self) -> String {
        let title = escaped(&self.title);
        let mut out = format!(
            "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{title}</title><style>{STYLE}</style>\n<h1>{title}</h1>\n<pre id=\"error\">{}</pre>\n<table id=\"facts\">\n",
            escaped(&self.text)
        );
        for (name, value) in &self.facts {
            let _ = writeln!(out, "<tr><th>{name}<td>{}", escaped(value));
        }
        out.push_str("</table>\n");
        if !self.routes.is_empty() {
            out.push_str("<h2>The routes, and why they are not this request's</h2>\n<table id=\"routes\">\n");
        }
        for (route, why) in &self.routes {
            let _ = writeln!(out, "<tr><th>{}<td>{}", escaped(route), escaped(why));
        }
        if !self.routes.is_empty() {
            out.push_str("</table>\n");
        }
        out.push_str("<footer>Only <code>gatewright dev</code> shows this to clients.</footer>\n</html>\n");
        out
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_get_a_page_programs_a_problem_and_terminals_text() {
        for (accept, form) in [
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Form::Page),
            ("application/json", Form::Problem),
            ("application/problem+json, text/html", Form::Page),
            ("*/*", Form::Text),
            ("text/plain;html=text/html", Form::Text),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(Form::wanted(&headers), form, "{accept}");
        }
        assert_eq!(Form::wanted(&HeaderMap::new()), Form::Text);
    }

    #[test]
    fn nothing_leaves_its_place_on_the_page() {
        assert_eq!(escaped("<a href='x' title=\"y\">&"), "&lt;a href=&#39;x&#39; title=&quot;y&quot;&gt;&amp;");
    }
}
