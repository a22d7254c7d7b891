//! What a hook costs, in both languages: `cargo bench --bench hooks`, or `-- NAME` for the lines that contain NAME, and
//! `-- NAME lua` for one language, and `-- NAME lua COUNT` for so many calls without a clock, to count instructions by.
//!
//! Plain loops over one worker's engine, without a network: the best of several batches, since the machine's other work
//! can only make a batch slower. The first line is the exchange alone, which every other line contains.

use gatewright::script::{
    Engine, Hook, Instance, Language, Modules, Program, Scope, Services, Source, State, Value,
    fixture::{self, Echo},
    host,
    limits::Limits,
    lua::LuaEngine,
    rhai::RhaiEngine,
    scope::Permissions,
};
use std::{
    hint::black_box,
    path::Path,
    rc::Rc,
    time::{Duration, Instant},
};

const SECRET: &str = "a secret of thirty-two bytes, ok";
const BATCHES: usize = 15;
const BATCH: Duration = Duration::from_millis(40);

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
    let mut words = std::env::args().skip(1).filter(|arg| !arg.starts_with('-'));
    let (filter, only) = (words.next().unwrap_or_default(), words.next());
    let count: Option<usize> = words.next().and_then(|count| count.parse().ok());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default());
    let runtime = runtime.expect("a runtime");
    let services = Rc::new(fixture::services(Rc::new(Echo)));
    if let Some(count) = count {
        for case in cases().iter().filter(|case| case.name.contains(&filter)) {
            for language in Language::ALL.into_iter().filter(|language| only.as_deref() == Some(language.extension())) {
                runtime.block_on(async {
                    let (program, state) = prepare(case, language, &services).await;
                    for _ in 0..count {
                        call(case, &*program, &state, &services).await;
                    }
                });
            }
        }
        return;
    }
    println!("{:<28} {:>9} {:>9}", "µs a call", "Lua", "Rhai");
    let alone = best(|| drop(black_box(fixture::exchange(""))));
    println!("{:<28} {alone:>9.2} {alone:>9.2}", "the exchange alone");
    for case in cases().iter().filter(|case| case.name.contains(&filter)) {
        let [lua, rhai] = Language::ALL.map(|language| match &only {
            Some(only) if only != language.extension() => f64::NAN,
            _ => runtime.block_on(measure(case, language, &services)),
        });
        println!("{:<28} {lua:>9.2} {rhai:>9.2}", case.name);
    }
}

/// The best mean of the batches, in µs.
fn best(mut run: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..BATCHES {
        let (start, mut count) = (Instant::now(), 0);
        while start.elapsed() < BATCH {
            (0..16).for_each(|_| run());
            count += 16;
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e6 / f64::from(count));
    }
    best
}

async fn measure(case: &Case, language: Language, services: &Rc<Services>) -> f64 {
    let (program, state) = prepare(case, language, services).await;
    let mut best = f64::MAX;
    for _ in 0..BATCHES {
        let (start, mut count) = (Instant::now(), 0);
        while start.elapsed() < BATCH {
            for _ in 0..16 {
                call(case, &*program, &state, services).await;
            }
            count += 16;
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e6 / f64::from(count));
    }
    best
}

async fn prepare(case: &Case, language: Language, services: &Rc<Services>) -> (Rc<dyn Program>, State) {
    let memory = Limits::default().memory;
    let engine: Box<dyn Engine> = match language {
        Language::Lua => Box::new(LuaEngine::new(memory).expect("a machine")),
        Language::Rhai => Box::new(RhaiEngine::new(memory).expect("an engine")),
    };
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

async fn call(case: &Case, program: &dyn Program, state: &State, services: &Rc<Services>) {
    let exchange = fixture::exchange(if case.hook == Hook::OnResponse { "" } else { &case.body });
    if case.hook == Hook::OnResponse {
        fixture::respond(&exchange, &case.body);
    }
    if let Some((name, value)) = &case.header {
        exchange.request.borrow_mut().headers.insert(*name, value.parse().expect("a header"));
    }
    let called = program.call(case.hook, scope(case.hook, Some(exchange), services), state).await;
    black_box(called).unwrap_or_else(|error| panic!("{}: {error}", case.name));
}

fn scope(hook: Hook, exchange: Option<Rc<gatewright::script::Exchange>>, services: &Rc<Services>) -> Rc<Scope> {
    let permissions = Permissions::default();
    let instance =
        Instance { plugin: "bench".into(), place: "route:bench".into(), permissions, limits: Limits::default() };
    Rc::new(Scope { hook, instance: Rc::new(instance), exchange, services: services.clone(), span: 0 })
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
            "header hook",
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
            ..case("rate-limit", "", "")
        },
        Case {
            hook: Hook::OnResponse,
            body: document(),
            ..case(
                "v2 transform, 1.6 KB",
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
