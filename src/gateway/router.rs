//! Which route a request belongs to.
//!
//! Every combination of a route's hosts and paths is an [`Entry`] with a [`Rank`] that is known when the generation is
//! built; matching collects the entries that fit and keeps the highest. Entries are indexed by host and path, so the
//! cost follows the length of the request's host and path, not the number of routes; only `~regex` paths are tried
//! one by one. Ranks never depend on other routes: adding one never changes where a request goes that it doesn't match.

mod index;

use crate::config::{HostPattern, PathPattern, Route, Scheme, Segment};
use http::{HeaderMap, Method};
use index::Hosts;
use std::{cmp::Reverse, sync::Arc};

/// What of a request decides about its route.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The listener's name; empty when it has none.
    pub listener: &'a str,
    pub scheme: Scheme,
    /// In lower case, without the port.
    pub host: &'a str,
    /// Normalised.
    pub path: &'a str,
    pub query: &'a str,
    pub method: &'a Method,
    pub headers: &'a HeaderMap,
}

/// A route that fits.
pub struct Match {
    /// Index into the configuration's routes.
    pub route: usize,
    /// How much of the path the route's own path took, in bytes.
    pub consumed: usize,
    pub params: Vec<(Arc<str>, String)>,
}

/// How well an entry fits, best last: the order of §3 of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    pub priority: i64,
    /// Exact, then longest wildcard, then none.
    pub host: usize,
    /// Exact, prefix, parameters, regex, none.
    pub path_kind: u8,
    /// Of a prefix its bytes, of parameters the literal segments.
    pub path_length: usize,
    /// Kong's order among regex paths.
    pub regex_priority: i64,
    /// Header and query conditions.
    pub conditions: usize,
    pub method: bool,
    pub order: Reverse<usize>,
}

const EXACT_HOST: usize = usize::MAX;

struct Entry {
    route: usize,
    /// Index into the route's paths; a route without any matches all of them.
    path: Option<usize>,
    /// Apart, as it is asked for only when a second entry fits: what every match reads is then one line of memory.
    rank: Box<Rank>,
    takes: Takes,
    /// Whether host and literal path decide alone. Then the route itself, which is large and lies elsewhere in memory, is not
    /// looked at: with 100,000 routes waiting for memory was most of the time.
    plain: bool,
}

/// What an entry takes from a path that matches it.
enum Takes {
    /// So many bytes from its start.
    Start(usize),
    /// All of it; the parameters, each with its segment.
    Parameters(Box<[(usize, Arc<str>)]>),
    /// What the regex captures.
    Captures,
}

pub struct Router {
    routes: Vec<Route>,
    entries: Vec<Entry>,
    hosts: Hosts,
    /// Whether any route asks for headers.
    pub reads_headers: bool,
}

impl Router {
    pub fn new(routes: Vec<Route>) -> Router {
        let reads_headers = routes.iter().any(|route| !route.headers.is_empty());
        let mut router = Router { routes, entries: Vec::new(), hosts: Hosts::default(), reads_headers };
        for index in 0..router.routes.len() {
            router.add(index);
        }
        router
    }

    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    fn add(&mut self, index: usize) {
        let route = &self.routes[index];
        let hosts: Vec<Option<&HostPattern>> =
            if route.hosts.is_empty() { vec![None] } else { route.hosts.iter().map(Some).collect() };
        for host in hosts {
            let paths = (0..route.paths.len()).map(Some).chain(route.paths.is_empty().then_some(None));
            for path in paths {
                let number = self.entries.len() as u32;
                let pattern = path.map(|path| &route.paths[path].value);
                self.entries.push(Entry {
                    route: index,
                    path,
                    rank: Box::new(rank(route, index, host, pattern)),
                    takes: takes(pattern),
                    plain: is_plain(route, pattern),
                });
                self.hosts.of(host).add(pattern, number);
            }
        }
    }

    /// The best route for a request, or none.
    pub fn find(&self, subject: &Subject<'_>) -> Option<Match> {
        let mut best: Option<&Entry> = None;
        let mut see = |number: u32| {
            let entry = &self.entries[number as usize];
            if best.is_none_or(|best| entry.rank > best.rank) && self.fits(entry, subject) {
                best = Some(entry);
            }
        };
        self.hosts.candidates(subject.host, |paths| paths.candidates(subject.path, &mut see));
        best.map(|entry| self.matched(entry, subject.path))
    }

    fn pattern(&self, entry: &Entry) -> Option<&PathPattern> {
        entry.path.map(|path| &self.routes[entry.route].paths[path].value)
    }

    /// Everything but host and literal path, which the index has decided.
    fn fits(&self, entry: &Entry, subject: &Subject<'_>) -> bool {
        if entry.plain {
            return true;
        }
        let path_fits = match self.pattern(entry) {
            Some(PathPattern::Regex { regex, .. }) => regex.is_match(subject.path),
            None | Some(PathPattern::Exact(_) | PathPattern::Prefix(_) | PathPattern::Template(_)) => true,
        };
        path_fits && unmet(&self.routes[entry.route], subject).is_none()
    }

    fn matched(&self, entry: &Entry, path: &str) -> Match {
        let (consumed, params) = match &entry.takes {
            Takes::Start(bytes) => (*bytes, Vec::new()),
            Takes::Parameters(parameters) => (path.len(), values(parameters, path)),
            Takes::Captures => self.captured(entry, path),
        };
        Match { route: entry.route, consumed, params }
    }

    fn captured(&self, entry: &Entry, path: &str) -> (usize, Vec<(Arc<str>, String)>) {
        let Some(PathPattern::Regex { regex, .. }) = self.pattern(entry) else { return Default::default() };
        let Some(captures) = regex.captures(path) else { return Default::default() };
        let named = regex.capture_names().flatten();
        let params = named.filter_map(|n| captures.name(n).map(|m| (Arc::from(n), decode(m.as_str()))));
        (captures.get(0).map_or(0, |whole| whole.end()), params.collect())
    }

    /// For `routes match`: what each route says to a request, the winner first, then by how near they came.
    pub fn explain(&self, subject: &Subject<'_>) -> Vec<(usize, Verdict)> {
        let winner = self.find(subject).map(|found| found.route);
        let mut all: Vec<(usize, Verdict)> = (0..self.routes.len())
            .map(|index| {
                let verdict = if winner == Some(index) { Verdict::Wins } else { self.verdict(index, winner, subject) };
                (index, verdict)
            })
            .collect();
        all.sort_by_key(|(_, verdict)| std::mem::discriminant(verdict) != std::mem::discriminant(&Verdict::Wins));
        all
    }

    fn verdict(&self, index: usize, winner: Option<usize>, subject: &Subject<'_>) -> Verdict {
        let route = &self.routes[index];
        if !route.hosts.is_empty() && !route.hosts.iter().any(|host| host.matches(subject.host)) {
            return Verdict::Differs(match subject.host {
                "" => "it asks for a host, and none is given".into(),
                host => format!("its hosts do not include `{host}`"),
            });
        }
        let fitting: Vec<&Entry> =
            self.entries.iter().filter(|e| e.route == index && path_fits(self.pattern(e), subject.path)).collect();
        if fitting.is_empty() {
            return Verdict::Differs(format!("its paths do not match `{}`", subject.path));
        }
        if let Some(why) = unmet(route, subject) {
            return Verdict::Differs(why);
        }
        let best_of = |route: usize| {
            self.entries
                .iter()
                .filter(|e| e.route == route && path_fits(self.pattern(e), subject.path))
                .map(|e| *e.rank)
                .max()
        };
        match (winner.and_then(best_of), fitting.iter().map(|e| *e.rank).max()) {
            (Some(best), Some(own)) => Verdict::Outranked(outranked(&best, &own)),
            _ => Verdict::Differs("it does not match".into()),
        }
    }
}

/// Why a route was or was not chosen.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Wins,
    /// It matches too, but the winner ranks higher.
    Outranked(String),
    Differs(String),
}

fn outranked(best: &Rank, own: &Rank) -> String {
    let why = if best.priority != own.priority {
        "a higher priority"
    } else if best.host != own.host {
        "a more exact host"
    } else if best.path_kind != own.path_kind {
        "a more exact kind of path"
    } else if best.path_length != own.path_length {
        "a longer path"
    } else if best.regex_priority != own.regex_priority {
        "a higher `regex_priority`"
    } else if best.conditions != own.conditions {
        "more header and query conditions"
    } else if best.method != own.method {
        "a method condition"
    } else {
        "an earlier place in the file"
    };
    format!("it matches too, but the winner has {why}")
}

fn rank(route: &Route, index: usize, host: Option<&HostPattern>, path: Option<&PathPattern>) -> Rank {
    let (path_kind, path_length) = match path {
        Some(PathPattern::Exact(path)) => (4, path.len()),
        Some(PathPattern::Prefix(prefix)) => (3, prefix.len()),
        Some(PathPattern::Template(segments)) => {
            (2, segments.iter().filter(|segment| matches!(segment, Segment::Literal(_))).count())
        }
        Some(PathPattern::Regex { .. }) => (1, 0),
        None => (0, 0),
    };
    let host = match host {
        None => 0,
        Some(HostPattern::Exact(_)) => EXACT_HOST,
        Some(HostPattern::Suffix(fixed) | HostPattern::Prefix(fixed)) => fixed.len(),
    };
    Rank {
        priority: route.priority,
        host,
        path_kind,
        path_length,
        regex_priority: if path_kind == 1 { route.regex_priority } else { 0 },
        conditions: route.headers.len() + route.query.len(),
        method: !route.methods.is_empty(),
        order: Reverse(index),
    }
}

fn takes(path: Option<&PathPattern>) -> Takes {
    match path {
        None => Takes::Start(0),
        Some(PathPattern::Exact(path)) => Takes::Start(path.len()),
        Some(PathPattern::Prefix(prefix)) => Takes::Start(prefix.trim_end_matches('/').len()),
        Some(PathPattern::Template(segments)) => {
            let named = segments.iter().enumerate().filter_map(|(at, segment)| match segment {
                Segment::Parameter(name) => Some((at, Arc::from(name.as_str()))),
                Segment::Literal(_) => None,
            });
            Takes::Parameters(named.collect())
        }
        Some(PathPattern::Regex { .. }) => Takes::Captures,
    }
}

fn values(parameters: &[(usize, Arc<str>)], path: &str) -> Vec<(Arc<str>, String)> {
    let mut left = parameters.iter().peekable();
    let mut values = Vec::with_capacity(parameters.len());
    for (at, text) in path.split('/').skip(1).enumerate() {
        if let Some((_, name)) = left.next_if(|(segment, _)| *segment == at) {
            values.push((name.clone(), decode(text)));
        }
    }
    values
}

fn is_plain(route: &Route, path: Option<&PathPattern>) -> bool {
    !matches!(path, Some(PathPattern::Regex { .. }))
        && route.listeners.is_empty()
        && [Scheme::Http, Scheme::Https].iter().all(|scheme| route.protocols.contains(scheme))
        && route.methods.is_empty()
        && route.headers.is_empty()
        && route.query.is_empty()
}

/// The first condition beside host and path that a request does not meet.
fn unmet(route: &Route, subject: &Subject<'_>) -> Option<String> {
    if !route.listeners.is_empty() && !route.listeners.iter().any(|name| *name.value == *subject.listener) {
        return Some(format!("its listeners do not include `{}`", subject.listener));
    }
    if !route.protocols.contains(&subject.scheme) {
        return Some(format!("it does not answer over {}", subject.scheme.as_str()));
    }
    if !route.methods.is_empty() && !route.methods.contains(subject.method) {
        return Some(format!("its methods do not include {}", subject.method));
    }
    for (name, values) in &route.headers {
        let sent = subject.headers.get_all(name);
        let met = sent.iter().filter_map(|v| v.to_str().ok()).any(|v| values.iter().any(|m| m.matches_header(v)));
        if !met {
            return Some(format!("its condition on the header `{name}` is not met"));
        }
    }
    if !route.query.is_empty() {
        let sent: Vec<_> = crate::http::query::pairs(subject.query).collect();
        for (name, values) in &route.query {
            let met = sent.iter().any(|(n, v)| *n == *name && values.iter().any(|m| m.matches_query(v)));
            if !met {
                return Some(format!("its condition on the query parameter `{name}` is not met"));
            }
        }
    }
    None
}

pub fn path_fits(pattern: Option<&PathPattern>, path: &str) -> bool {
    let Some(pattern) = pattern else { return true };
    match pattern {
        PathPattern::Exact(exact) => exact == path,
        PathPattern::Prefix(prefix) => crate::http::path::strip_prefix(prefix, path).is_some(),
        PathPattern::Template(segments) => {
            path.split('/').skip(1).count() == segments.len()
                && segments.iter().zip(path.split('/').skip(1)).all(|(segment, text)| match segment {
                    Segment::Literal(literal) => literal == text,
                    Segment::Parameter(_) => !text.is_empty(),
                })
        }
        PathPattern::Regex { regex, .. } => regex.is_match(path),
    }
}

fn decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests;
