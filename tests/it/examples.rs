//! Everything in `examples/`: each is run as it stands, in both languages, against a real service.
//!
//! An example is a folder with a `gateway.yaml` whose host `lua.localhost` is answered by its Lua script and `rhai.localhost`
//! by its Rhai script. A [`Case`] is one request and what must come of it; both languages get the same cases.

mod answers;
mod cases;
mod documents;
mod guards;
mod requests;
mod settings;
mod streams;

use crate::support::{
    Answer, Client, Gateway, PATIENCE, Request, Upstream, gateway, redis::redis, reply, repository, token::Key,
    upstream::UpstreamReply, wire::Received,
};
use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::TcpStream,
    sync::{Mutex, mpsc},
    thread,
};

/// A folder and what is asked of it.
struct Example {
    folder: &'static str,
    service: fn(&Received) -> UpstreamReply,
    cases: Vec<Case>,
}

/// One request, what the client must get, and what the service must have got.
struct Case {
    fact: &'static str,
    request: Request,
    host: Option<&'static str>,
    status: u16,
    checks: Vec<Check>,
}

type Check = Box<dyn Fn(&Seen) + Sync>;

/// What came of a case's request.
struct Seen<'a> {
    answer: &'a Answer,
    received: &'a [Received],
    gateway: &'a Gateway,
    fact: String,
}

impl Seen<'_> {
    /// The only request that the service got.
    fn received(&self) -> &Received {
        match self.received {
            [one] => one,
            other => panic!("{}: the service got {} requests: {}", self.fact, other.len(), self.answer.text()),
        }
    }
}

fn case(fact: &'static str, request: Request) -> Case {
    Case { fact, request, host: None, status: 200, checks: Vec::new() }
}

impl Case {
    fn status(mut self, status: u16) -> Case {
        self.status = status;
        self
    }

    /// In front of `lua.localhost` and `rhai.localhost`.
    fn subdomain(mut self, label: &'static str) -> Case {
        self.host = Some(label);
        self
    }

    fn check(mut self, check: impl Fn(&Seen) + Sync + 'static) -> Case {
        self.checks.push(Box::new(check));
        self
    }

    fn header(self, name: &'static str, value: &'static str) -> Case {
        self.check(move |seen| assert_eq!(seen.answer.header(name), Some(value), "{}: {name}", seen.fact))
    }

    fn without(self, name: &'static str) -> Case {
        self.check(move |seen| assert_eq!(seen.answer.header(name), None, "{}: {name}", seen.fact))
    }

    /// The body holds this text.
    fn says(self, text: &'static str) -> Case {
        self.check(move |seen| {
            assert!(seen.answer.text().contains(text), "{}: {text}\n{}", seen.fact, seen.answer.text())
        })
    }

    fn json(self, value: serde_json::Value) -> Case {
        self.check(move |seen| assert_eq!(seen.answer.json(), value, "{}", seen.fact))
    }

    /// The service got one request, for this path and query.
    fn forwarded(self, target: &'static str) -> Case {
        self.check(move |seen| assert_eq!(seen.received().target, target, "{}", seen.fact))
    }

    fn forwarded_header(self, name: &'static str, value: Option<&'static str>) -> Case {
        self.check(move |seen| assert_eq!(seen.received().header(name), value, "{}: {name}", seen.fact))
    }

    /// The service got nothing.
    fn kept_back(self) -> Case {
        self.check(|seen| assert_eq!(seen.received.len(), 0, "{}: {:?}", seen.fact, seen.received))
    }
}

/// The names of the folders in `examples/` that a gateway can be started from.
fn folders() -> BTreeSet<String> {
    let entries = fs::read_dir(repository("examples")).expect("the examples");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let with_gateway = paths.filter(|path| path.join("gateway.yaml").is_file());
    with_gateway.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect()
}

/// The example's own files, on a free port, in front of that service.
fn running(folder: &str, service: &Upstream, key: &Key, redis: &str) -> Gateway {
    let folder = repository("examples").join(folder);
    let read = |path: &std::path::Path| fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut given = gateway(&read(&folder.join("gateway.yaml")))
        .url("BACKEND", service)
        .env("ECHO_LISTEN", "127.0.0.1:0")
        .env("JWT_SECRET", key.text())
        .env("WEBHOOK_SECRET", cases::SECRET)
        .env("MAINTENANCE_PASS", cases::SECRET)
        .env("SIGNING_SECRET", cases::SECRET)
        .env("CHALLENGE_SECRET", cases::SECRET)
        .env("REDIS_URL", redis);
    let mut languages = BTreeSet::new();
    for entry in fs::read_dir(&folder).expect("the example") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if let Some((_, extension @ ("lua" | "rhai"))) = name.rsplit_once('.') {
            languages.insert(extension.to_owned());
            given = given.file(&name, &read(&path));
        }
    }
    assert_eq!(languages.len(), 2, "{}: {languages:?}", folder.display());
    given.start()
}

/// Runs the cases in one language on a service and a gateway of their own.
fn run(example: &Example, language: &str, key: &Key) -> usize {
    let service = Upstream::start(example.service);
    let gateway = running(example.folder, &service, key, "");
    for case in &example.cases {
        let before = service.requests().len();
        let host = case.host.map_or(String::new(), |label| format!("{label}."));
        let request = case.request.clone().header("host", format!("{host}{language}.localhost"));
        let answer = Client::connect(gateway.address()).send(&request);
        let fact = format!("{} ({language}): {}", example.folder, case.fact);
        assert_eq!(answer.status, case.status, "{fact}: {}", answer.text());
        let received = &service.requests()[before..];
        let seen = Seen { answer: &answer, received, gateway: &gateway, fact };
        case.checks.iter().for_each(|check| check(&seen));
    }
    example.cases.len()
}

#[test]
fn every_example_does_what_it_says_in_both_languages() {
    let key = Key::make("HS256");
    let examples = cases::examples(&key);
    let mut covered: BTreeSet<String> = examples.iter().map(|example| example.folder.to_owned()).collect();
    // They have tests of their own.
    covered.extend(["client-certificates", "openapi", "quickstart"].map(str::to_owned));
    covered.extend(settings::SETTINGS.map(str::to_owned));
    assert_eq!(covered, folders(), "an example without a case, or a case without an example");
    let mut ran = 0;
    for example in &examples {
        assert!(example.cases.len() > 1, "{}: too few cases", example.folder);
        let key = &key;
        ran += thread::scope(|scope| {
            let runs = ["lua", "rhai"].map(|language| scope.spawn(move || run(example, language, key)));
            runs.map(|run| run.join().expect("the cases above hold")).iter().sum::<usize>()
        });
    }
    assert_eq!(ran, cases::COUNT * 2, "cases were added or lost: write down how many there are");
}

#[test]
fn flags_are_switched_in_redis() {
    let redis = redis();
    let reply = command(&redis.url(), &["HSET", "flags", "new-cart", "100", "fast-search", "0", "broken", "yes"]);
    assert_eq!(reply, ":3\r\n");
    let service = Upstream::json("{}");
    let gateway = running("feature-flags", &service, &Key::make("HS256"), &redis.url());
    for language in ["lua", "rhai"] {
        gateway.send(Request::get("/").header("host", format!("{language}.localhost"))).ok();
        let received = service.requests().pop().expect("a request");
        assert_eq!(received.header("x-features"), Some("new-cart"), "{language}");
    }
}

/// One command, and the bytes of a short reply.
fn command(url: &str, words: &[&str]) -> String {
    let address = url.trim_start_matches("redis://").trim_end_matches("/0");
    let mut stream = TcpStream::connect(address).expect("a connection to Redis");
    let words: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    write!(stream, "*{}\r\n{words}", words.matches('$').count()).expect("a command");
    let mut reply = [0; 64];
    let length = stream.read(&mut reply).expect("a reply");
    String::from_utf8_lossy(&reply[..length]).into_owned()
}

#[test]
fn a_key_that_is_at_work_is_not_worked_on_twice() {
    for language in ["lua", "rhai"] {
        let (arrived, arrivals) = mpsc::channel();
        let (go_on, wait) = mpsc::channel();
        let wait = Mutex::new(wait);
        let service = Upstream::start(move |_| {
            arrived.send(()).expect("the test");
            wait.lock().expect("one at a time").recv_timeout(PATIENCE).expect("a word");
            reply(201, "made")
        });
        let gateway = running("idempotency-keys", &service, &Key::make("HS256"), "");
        let order =
            Request::post("/", "tea").header("idempotency-key", "k").header("host", format!("{language}.localhost"));
        thread::scope(|scope| {
            let first = scope.spawn(|| gateway.send(order.clone()));
            arrivals.recv_timeout(PATIENCE).expect("the first request");
            gateway.send(order.clone()).problem(409);
            go_on.send(()).expect("the service");
            assert_eq!(first.join().expect("an answer").text(), "made", "{language}");
        });
        let again = gateway.send(order.clone());
        assert_eq!((again.status, again.text().as_str()), (201, "made"), "{language}");
        assert_eq!(service.requests().len(), 1, "{language}");
    }
}

#[test]
fn the_list_of_examples_is_complete() {
    let text = fs::read_to_string(repository("examples/README.md")).expect("the list");
    let links =
        text.lines().filter_map(|line| line.strip_prefix("| [")?.split_once(']')).map(|(name, _)| name.to_owned());
    assert_eq!(links.collect::<BTreeSet<_>>(), folders());
}
