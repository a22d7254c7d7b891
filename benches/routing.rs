//! What finding a route costs: `cargo bench --bench routing`.
//!
//! The same kinds of routes, from ten to a hundred thousand of them; the program fails when the cost follows their number.
//! Plain loops: the best of many batches, since the machine's other work can only make a batch slower. The sizes take turns, so
//! that a slow stretch of the machine meets all of them. Routes with `~regex` paths are left out, as they are tried one by
//! one by design.

use gatewright::{
    config::{self, Scheme, Source},
    gateway::router::{Router, Subject},
};
use http::{HeaderMap, Method};
use std::{
    fmt::Write,
    hint::black_box,
    time::{Duration, Instant},
};

const COUNTS: [usize; 4] = [10, 1_000, 10_000, 100_000];
const BATCHES: usize = 200;
/// Different requests in a batch: few enough that they don't measure the memory's speed in place of the router's.
const REQUESTS: usize = 1_000;
/// Beyond this factor between the fewest and the most routes the cost is taken to grow with them.
const FLAT: f64 = 2.0;

fn main() {
    let kinds = [Kind::Prefix, Kind::Host, Kind::Parameters];
    let routers = COUNTS.map(router);
    let requests = COUNTS.map(|count| kinds.map(|kind| requests(count, kind)));
    let mut best = [[Duration::MAX; 3]; COUNTS.len()];
    for _ in 0..BATCHES {
        for (size, router) in routers.iter().enumerate() {
            for (best, requests) in best[size].iter_mut().zip(&requests[size]) {
                // Once to bring back what the other sizes have pushed out of the caches.
                batch(router, requests);
                *best = batch(router, requests).min(*best);
            }
        }
    }
    let costs = best.map(|of_size| of_size.map(|time| time.as_nanos() as f64 / REQUESTS as f64));
    println!("{:>9}  {:>12}  {:>12}  {:>12}", "routes", "prefix", "host", "parameters");
    for (count, [prefix, host, parameters]) in COUNTS.iter().zip(costs) {
        println!("{count:>9}  {prefix:>9.0} ns  {host:>9.0} ns  {parameters:>9.0} ns");
    }
    for (fewest, most) in costs[0].iter().zip(costs[COUNTS.len() - 1]) {
        assert!(most < FLAT * fewest, "{} routes cost {most:.0} ns, {} cost {fewest:.0} ns", COUNTS[3], COUNTS[0]);
    }
}

/// A third of the routes is found by a prefix, a third by a host, and a third by a path with parameters.
#[derive(Clone, Copy)]
enum Kind {
    Prefix,
    Host,
    Parameters,
}

impl Kind {
    /// Of the route with this number.
    fn of(number: usize) -> Kind {
        [Kind::Prefix, Kind::Host, Kind::Parameters][number % 3]
    }
}

fn router(count: usize) -> Router {
    let mut text = String::from("services:\n  - name: all\n    url: http://127.0.0.1:9000\n    routes:\n");
    for number in 0..count {
        let conditions = match Kind::of(number) {
            Kind::Prefix => format!("paths: [/team-{:04}/service-{number:06}]", number % 100),
            Kind::Host => format!("hosts: [customer-{number:06}.example.com], paths: [/api]"),
            Kind::Parameters => format!("paths: [\"/resource-{number:06}/{{id}}/items/{{item}}\"]"),
        };
        // Writing to a string can't fail.
        let _ = writeln!(text, "      - {{name: r{number:06}, {conditions}}}");
    }
    let loaded = config::load_source(&Source::new("gateway.yaml", text), None, &|_| None);
    let config = loaded.config.expect("a valid configuration");
    Router::new(config.routes)
}

/// The number of a route of this kind, and the host and path of a request for it.
type Request = (usize, String, String);

fn requests(count: usize, kind: Kind) -> Vec<Request> {
    let step = (count / 3 / REQUESTS).max(1);
    let numbers: Vec<usize> = (0..count).filter(|n| Kind::of(*n) as u8 == kind as u8).step_by(step).collect();
    let request = |number: &usize| match kind {
        Kind::Prefix => {
            (*number, "gateway.example".into(), format!("/team-{:04}/service-{number:06}/a/b", number % 100))
        }
        Kind::Host => (*number, format!("customer-{number:06}.example.com"), "/api/orders/42".into()),
        Kind::Parameters => (*number, "gateway.example".into(), format!("/resource-{number:06}/17/items/3")),
    };
    numbers.iter().cycle().take(REQUESTS).map(request).collect()
}

fn batch(router: &Router, requests: &[Request]) -> Duration {
    let headers = HeaderMap::new();
    let started = Instant::now();
    for (number, host, path) in requests {
        let subject = Subject {
            listener: "",
            scheme: Scheme::Http,
            host,
            path,
            query: "",
            method: &Method::GET,
            headers: &headers,
        };
        let found = black_box(router.find(black_box(&subject)));
        assert_eq!(found.map(|found| found.route), Some(*number));
    }
    started.elapsed()
}
