//! What a hook costs, in both languages, by Criterion: `cargo bench --bench hooks`, or `-- NAME` for the cases that contain NAME.
//! With `REDIS_URL` the limiter is measured against that Redis too.
//!
//! One worker's engine without a network. Each case holds making an exchange, which is the first case alone.
//! `-- NAME lua COUNT` makes so many calls without a clock, to count instructions by. At the end stands what was promised, and what it is:
//! the best of the samples, since whatever else the machine does only adds.

use criterion::{BenchmarkId, Criterion};
use gatewright::script::{
    Engine, Hook, Instance, Language, Modules, Program, Scope, Services, Source, State, Value,
    fixture::{self, Echo},
    host,
    limits::Limits,
    lua::LuaEngine,
    rhai::RhaiEngine,
    scope::Permissions,
};
use gatewright::store::{Stores, SystemClock, WorkerStore};
use std::{
    cell::RefCell, collections::BTreeMap, hint::black_box, path::Path, rc::Rc, sync::Arc, time::Duration, time::Instant,
};
use tokio::runtime::LocalRuntime;

const HEADER_HOOK: &str = "header hook";
const LIMITER: &str = "rate-limit";
const SECRET: &str = "a secret of thirty-two bytes, ok";
const TRANSFORM: &str = "v2 transform, 1.6 KB";
const ALONE: &str = "the exchange alone";
/// Scripts on one route.
const SCRIPTS: [usize; 3] = [1, 5, 20];
/// Microseconds that a case may add to an exchange.
const PROMISED: [(&str, Language, f64); 3] =
    [(HEADER_HOOK, Language::Lua, 3.0), (HEADER_HOOK, Language::Rhai, 6.0), (TRANSFORM, Language::Lua, 15.0)];

struct NoModules;

impl Modules for NoModules {
    fn find(&self, _: Language, _: &str) -> Option<Source> {
        None
    }
}

/// A script in both languages and what its hook is called with.
struct Case {
    name: &'static str,
    lua: Script,
    rhai: Script,
    config: String,
    hook: Hook,
    header: Option<(&'static str, String)>,
    body: String,
}

enum Script {
    Text(&'static str),
    /// A stock script, by its file.
    File(&'static str),
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default());
    let runtime = runtime.expect("a runtime");
    let services = Rc::new(fixture::services(Rc::new(Echo)));
    let words: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    if let [name, language, count] = &words[..] {
        let count = count.parse().expect("a number of calls");
        runtime.block_on(only_call(name, language, count, &services));
        return;
    }
    let mut criterion = Criterion::default().configure_from_args();
    let best = Best::default();
    criterion.bench_function(ALONE, |bench| {
        bench.iter_custom(|count| {
            let start = Instant::now();
            for _ in 0..count {
                black_box(fixture::exchange(""));
            }
            best.keep(ALONE, "", start.elapsed(), count)
        });
    });
    for case in cases() {
        measure(&mut criterion, &runtime, case.name, &[&case], &services, &best);
    }
    let header = cases().into_iter().find(|case| case.name == HEADER_HOOK).expect("the case");
    for count in SCRIPTS {
        measure(&mut criterion, &runtime, &on_a_route(count), &vec![&header; count], &services, &best);
    }
    if let Ok(url) = std::env::var("REDIS_URL") {
        let limiter = cases().into_iter().find(|case| case.name == LIMITER).expect("the case");
        let services = Rc::new(runtime.block_on(with_redis(&url)));
        measure(&mut criterion, &runtime, "rate-limit, Redis", &[&limiter], &services, &best);
    }
    criterion.final_summary();
    best.print();
}

fn on_a_route(count: usize) -> String {
    format!("{count} scripts on a route")
}

/// The least time of one call, in microseconds, by case and language.
#[derive(Default)]
struct Best(RefCell<BTreeMap<(String, &'static str), f64>>);

impl Best {
    fn keep(&self, case: &str, language: &'static str, took: Duration, count: u64) -> Duration {
        let each = took.as_secs_f64() * 1e6 / count.max(1) as f64;
        let mut all = self.0.borrow_mut();
        let least = all.entry((case.to_owned(), language)).or_insert(each);
        *least = least.min(each);
        took
    }

    /// What a case adds to the exchange; none when a filter left it out.
    fn adds(&self, case: &str, language: Language) -> Option<f64> {
        let all = self.0.borrow();
        let alone = all.get(&(ALONE.to_owned(), ""))?;
        Some(all.get(&(case.to_owned(), language.extension()))? - alone)
    }

    fn print(&self) {
        let word = |is: f64, most: f64| if is <= most { "kept" } else { "MISSED" };
        for (case, language, most) in PROMISED {
            if let Some(is) = self.adds(case, language) {
                println!("{case}, {}: {is:.2} µs of {most:.0} ({})", language.extension(), word(is, most));
            }
        }
        for language in Language::ALL {
            let (one, most) = (self.adds(&on_a_route(1), language), SCRIPTS[2] as f64);
            if let (Some(one), Some(all)) = (one, self.adds(&on_a_route(SCRIPTS[2]), language)) {
                let times = all / one;
                println!(
                    "20 scripts, {}: {times:.1} times one, of {most:.0} ({})",
                    language.extension(),
                    word(times, most)
                );
            }
        }
    }
}

async fn only_call(name: &str, language: &str, count: usize, services: &Rc<Services>) {
    for case in cases().iter().filter(|case| case.name.contains(name)) {
        for language in Language::ALL.into_iter().filter(|each| each.extension() == language) {
            let (program, state) = prepare(case, &*engine(language), language, services).await;
            for _ in 0..count {
                call(case, &[(program.clone(), state.clone())], services).await;
            }
        }
    }
}

async fn with_redis(url: &str) -> Services {
    let stores = Arc::new(Stores::new(Arc::new(SystemClock::new())));
    let store = WorkerStore::connect(Some(url), stores).expect("a URL of Redis");
    if let Some(redis) = store.redis() {
        redis.first_attempt().await;
    }
    Services { store, ..fixture::services(Rc::new(Echo)) }
}

/// One after the other on one exchange, as a route's scripts run.
fn measure(
    criterion: &mut Criterion,
    runtime: &LocalRuntime,
    name: &str,
    scripts: &[&Case],
    services: &Rc<Services>,
    best: &Best,
) {
    let mut group = criterion.benchmark_group(name);
    for language in Language::ALL {
        let prepared = runtime.block_on(async {
            // A worker has one engine for the scripts of all its routes.
            let engine = engine(language);
            let mut prepared = Vec::new();
            for case in scripts {
                prepared.push(prepare(case, &*engine, language, services).await);
            }
            prepared
        });
        group.bench_function(BenchmarkId::from_parameter(language.extension()), |bench| {
            bench.iter_custom(|count| {
                runtime.block_on(async {
                    let start = Instant::now();
                    for _ in 0..count {
                        call(scripts[0], &prepared, services).await;
                    }
                    best.keep(name, language.extension(), start.elapsed(), count)
                })
            });
        });
    }
    group.finish();
}

fn engine(language: Language) -> Box<dyn Engine> {
    let memory = Limits::default().memory;
    match language {
        Language::Lua => Box::new(LuaEngine::new(memory).expect("a machine")),
        Language::Rhai => Box::new(RhaiEngine::new(memory).expect("an engine")),
    }
}

async fn prepare(
    case: &Case,
    engine: &dyn Engine,
    language: Language,
    services: &Rc<Services>,
) -> (Rc<dyn Program>, State) {
    let modules: Rc<dyn Modules> = Rc::new(NoModules);
    let script = if language == Language::Lua { &case.lua } else { &case.rhai };
    let source = match script {
        Script::Text(text) => Source { path: "bench".into(), text: (*text).into() },
        Script::File(path) => {
            let root = Path::new(env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(root.join(path)).expect("a stock script");
            Source { path: path.into(), text: text.into() }
        }
    };
    let program = engine.compile(&source, &modules).unwrap_or_else(|error| panic!("{}: {error}", case.name));
    let state = program.load(scope(Hook::OnLoad, None, services), &case.config).await;
    let state = state.unwrap_or_else(|error| panic!("{}: {error}", case.name));
    (program, state)
}

async fn call(case: &Case, scripts: &[(Rc<dyn Program>, State)], services: &Rc<Services>) {
    let exchange = fixture::exchange(if case.hook == Hook::OnResponse { "" } else { &case.body });
    if case.hook == Hook::OnResponse {
        fixture::respond(&exchange, &case.body);
    }
    if let Some((name, value)) = &case.header {
        exchange.request.borrow_mut().headers.insert(*name, value.parse().expect("a header"));
    }
    for (program, state) in scripts {
        let called = program.call(case.hook, scope(case.hook, Some(exchange.clone()), services), state).await;
        black_box(called).unwrap_or_else(|error| panic!("{}: {error}", case.name));
    }
}

fn scope(hook: Hook, exchange: Option<Rc<gatewright::script::Exchange>>, services: &Rc<Services>) -> Rc<Scope> {
    let permissions = Permissions::default();
    let instance = Instance {
        plugin: "bench".into(),
        place: "route:bench".into(),
        permissions,
        limits: Limits::default(),
        documents: Default::default(),
    };
    Rc::new(Scope {
        hook,
        instance: Rc::new(instance),
        exchange,
        services: services.clone(),
        span: 0,
        used: Default::default(),
    })
}

/// 1.6 KB, as a backend's list of orders looks.
fn document() -> String {
    let order = |n: usize| {
        format!(
            r#"{{"id":{n},"customer":"Ada Lovelace","total":{n}.95,"paid":{},"tags":["new","eu"],"address":{{"street":"12 St James's Square","city":"London","country":null}}}}"#,
            n.is_multiple_of(2)
        )
    };
    let orders: Vec<String> = (100..110).map(order).collect();
    format!(r#"{{"userId":"42","emailAddress":"ada@example.com","orders":[{}]}}"#, orders.join(","))
}

fn token(services: &Rc<Services>) -> String {
    let by = Value::Map(vec![("algorithm".into(), "HS256".into()), ("secret".into(), SECRET.into())]);
    let claims = r#"{"sub":"42","email":"ada@example.com","iat":1700000000,"exp":99999999999}"#;
    let claims = Value::Json(claims.as_bytes().to_vec().into());
    let scope = scope(Hook::OnLoad, None, services);
    let token = fixture::run(&scope, &host::jwt::MODULE, "sign", [claims, by]).expect("a token");
    token.as_str().unwrap_or_default().to_owned()
}

fn cases() -> Vec<Case> {
    let services = Rc::new(fixture::services(Rc::new(Echo)));
    let case = |name, lua, rhai| Case {
        name,
        lua: Script::Text(lua),
        rhai: Script::Text(rhai),
        config: "{}".into(),
        hook: Hook::OnRequest,
        header: None,
        body: String::new(),
    };
    vec![
        case("empty hook", "return { on_request = function(req, ctx) end }", "fn on_request(req, ctx) { }"),
        case(
            HEADER_HOOK,
            r#"return { on_request = function(req, ctx)
              if not req.headers["accept"] then return reply.error(406, "say what you accept") end
              req.headers["x-user-id"] = "7"
            end }"#,
            r#"fn on_request(req, ctx) {
              if req.headers["accept"] == () { return reply::error(406, "say what you accept"); }
              req.headers["x-user-id"] = "7";
            }"#,
        ),
        Case {
            lua: Script::File("scripts/jwt-auth.lua"),
            rhai: Script::File("scripts/jwt-auth.rhai"),
            config: format!(
                r#"{{"secret":"{SECRET}","algorithms":["HS256"],"leeway":0,"require_exp":false,"headers":{{"sub":"X-User-ID","email":"X-User-Email"}}}}"#
            ),
            header: Some(("authorization", format!("Bearer {}", token(&services)))),
            ..case("jwt-auth", "", "")
        },
        Case {
            lua: Script::File("scripts/rate-limit.lua"),
            rhai: Script::File("scripts/rate-limit.rhai"),
            config: r#"{"limit":1000000000,"window":60,"by":"ip","on_store_error":"local"}"#.into(),
            ..case(LIMITER, "", "")
        },
        Case {
            hook: Hook::OnResponse,
            body: document(),
            ..case(
                TRANSFORM,
                r#"return { on_response = function(res, ctx)
                  local old = res:json()
                  res:set_json({ id = old.userId, email = old.emailAddress, orders = old.orders,
                    metadata = { source = "legacy-transform", version = "2.0" } })
                end }"#,
                r#"fn on_response(res, ctx) {
                  let old = res.json();
                  res.set_json(#{ id: old.userId, email: old.emailAddress, orders: old.orders,
                    metadata: #{ source: "legacy-transform", version: "2.0" } });
                }"#,
            )
        },
        Case {
            body: document(),
            ..case(
                "decode 1.6 KB",
                "return { on_request = function(req, ctx) local it = req:json() end }",
                "fn on_request(req, ctx) { let it = req.json(); }",
            )
        },
        Case {
            body: document(),
            ..case(
                "recode 1.6 KB",
                "return { on_request = function(req, ctx) local it = json.encode(req:json()) end }",
                "fn on_request(req, ctx) { let it = json::encode(req.json()); }",
            )
        },
        Case {
            hook: Hook::OnRequest,
            ..case(
                "20 header reads",
                r#"return { on_request = function(req, ctx) for i = 1, 20 do local a = req.headers["accept"] end end }"#,
                r#"fn on_request(req, ctx) { for i in 0..20 { let a = req.headers["accept"]; } }"#,
            )
        },
    ]
}
