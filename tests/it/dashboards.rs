//! Pattern 5: one answer for each frontend, from several services called side by side.
//!
//! The scripts are the quickstart's own; only the services behind them are the test's.

use crate::support::{
    Gateway, Request, Upstream, gateway, reply, repository,
    token::{Key, ada},
    upstream::UpstreamReply,
};
use serde_json::json;
use std::{
    fs,
    time::{Duration, Instant},
};

const YAML: &str = "
services:
  - {name: users, url: '${users}/users'}
  - {name: orders, url: '${orders}/orders'}
  - {name: products, url: '${products}/products'}
routes:
  - name: mobile
    paths: [/mobile/dashboard]
    plugins:
      - {name: jwt-auth, config: &jwt {secret: '${KEY}', algorithms: [HS256]}}
      - script: mobile_dashboard.lua
  - name: web
    paths: [/web/dashboard]
    plugins:
      - {name: jwt-auth, config: *jwt}
      - script: web_dashboard.rhai
";

const USER: &str =
    r#"{"id":"42","name":"Ada","email":"ada@example.com","avatarUrl":"https://cdn/42.png","secret":"x"}"#;
const ORDERS: &str = r#"{"orders":[{"id":"1","total":19.5,"status":"paid","items":[{"sku":"a"}]},{"id":"2","total":7,"status":"open","items":[]}]}"#;
const PRODUCTS: &str = r#"{"products":[{"id":"p1","price":1820}]}"#;

/// Three services, each with its answer.
struct Services {
    users: Upstream,
    orders: Upstream,
    products: Upstream,
}

impl Services {
    fn answering(users: UpstreamReply, orders: UpstreamReply, products: UpstreamReply) -> Services {
        let start = |answer: UpstreamReply| Upstream::start(move |_| answer.clone());
        Services { users: start(users), orders: start(orders), products: start(products) }
    }

    fn gateway(&self) -> (Gateway, String) {
        let script = |name: &str| {
            fs::read_to_string(repository(&format!("examples/quickstart/scripts/{name}"))).expect("the example")
        };
        let key = Key::make("HS256");
        let gateway = gateway(YAML)
            .url("users", &self.users)
            .url("orders", &self.orders)
            .url("products", &self.products)
            .env("KEY", key.text())
            .file("mobile_dashboard.lua", &script("mobile_dashboard.lua"))
            .file("web_dashboard.rhai", &script("web_dashboard.rhai"))
            .start();
        (gateway, key.token("HS256", &ada()))
    }
}

fn good() -> [UpstreamReply; 3] {
    [USER, ORDERS, PRODUCTS].map(|text| reply(200, text).json())
}

#[test]
fn the_mobile_dashboard_is_the_small_one() {
    let [users, orders, products] = good();
    let services = Services::answering(users, orders, products);
    let (gateway, token) = services.gateway();
    let answer = gateway.send(Request::get("/mobile/dashboard").bearer(&token)).ok();
    let expected = json!({
        "user": { "name": "Ada", "avatar": "https://cdn/42.png" },
        "recentOrders": [{ "id": "1", "total": 19.5, "status": "paid" }, { "id": "2", "total": 7, "status": "open" }],
    });
    assert_eq!(answer.json(), expected);
    assert_eq!(services.users.request().target, "/users/42");
    assert_eq!(services.orders.request().target, "/orders/of/42?limit=5");
    assert_eq!(services.products.requests().len(), 0);
}

#[test]
fn the_web_dashboard_is_the_rich_one() {
    let [users, orders, products] = good();
    let services = Services::answering(users, orders, products);
    let (gateway, token) = services.gateway();
    let answer = gateway.send(Request::get("/web/dashboard").bearer(&token)).ok();
    let got = answer.json();
    assert_eq!(
        got["user"],
        json!({ "id": "42", "name": "Ada", "email": "ada@example.com", "avatar": "https://cdn/42.png" })
    );
    assert_eq!(got["orders"], serde_json::from_str::<serde_json::Value>(ORDERS).expect("JSON")["orders"]);
    assert_eq!(got["recommended"], json!([{ "id": "p1", "price": 1820 }]));
    assert_eq!(got.get("partial"), None);
}

#[test]
fn without_a_token_nothing_is_called() {
    let [users, orders, products] = good();
    let services = Services::answering(users, orders, products);
    let (gateway, _) = services.gateway();
    for target in ["/mobile/dashboard", "/web/dashboard"] {
        gateway.get(target).problem(401);
    }
    assert_eq!(services.users.requests().len() + services.orders.requests().len(), 0);
}

#[test]
fn the_time_is_that_of_the_slowest_call() {
    let slow = Duration::from_millis(300);
    let [users, orders, products] = good().map(|answer| answer.after(slow));
    let services = Services::answering(users, orders, products);
    let (gateway, token) = services.gateway();
    for target in ["/mobile/dashboard", "/web/dashboard"] {
        let asked = Instant::now();
        gateway.send(Request::get(target).bearer(&token)).ok();
        let took = asked.elapsed();
        assert!(took >= slow && took < Duration::from_millis(550), "{target}: {took:?}");
    }
}

#[test]
fn a_failed_optional_part_is_left_out_and_said_so() {
    let [users, ..] = good();
    let services = Services::answering(users, reply(500, "oops"), reply(404, "{}").json());
    let (gateway, token) = services.gateway();
    let mobile = gateway.send(Request::get("/mobile/dashboard").bearer(&token)).ok();
    let expected = json!({ "user": { "name": "Ada", "avatar": "https://cdn/42.png" }, "recentOrders": [], "partial": ["recentOrders"] });
    assert_eq!((mobile.json(), mobile.header("cache-control")), (expected, Some("no-store")));
    let web = gateway.send(Request::get("/web/dashboard").bearer(&token)).ok();
    assert_eq!(web.json()["partial"], json!(["orders", "recommended"]));
    assert_eq!(web.header("cache-control"), Some("no-store"));
}

#[test]
fn a_failed_required_part_is_502_at_once() {
    let [_, orders, products] = good().map(|answer| answer.after(Duration::from_secs(5)));
    let services = Services::answering(reply(500, "oops"), orders, products);
    let (gateway, token) = services.gateway();
    for target in ["/mobile/dashboard", "/web/dashboard"] {
        let asked = Instant::now();
        gateway.send(Request::get(target).bearer(&token)).problem(502);
        assert!(asked.elapsed() < Duration::from_secs(1), "{target}: waited for calls that no longer matter");
    }
}

#[test]
fn a_dead_required_service_is_502() {
    let [_, orders, products] = good();
    let services = Services { users: Upstream::dead(), ..Services::answering(reply(200, ""), orders, products) };
    let (gateway, token) = services.gateway();
    gateway.send(Request::get("/mobile/dashboard").bearer(&token)).problem(502);
}

#[test]
fn a_required_part_that_misses_the_deadline_is_504() {
    let [users, orders, products] = good();
    let services = Services::answering(users.after(Duration::from_secs(10)), orders, products);
    let (gateway, token) = services.gateway();
    let asked = Instant::now();
    gateway.send(Request::get("/mobile/dashboard").bearer(&token)).problem(504);
    let took = asked.elapsed();
    assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(3), "{took:?}");
}

/// An optional part that is late must not cost the answer its deadline.
#[test]
fn an_optional_part_that_misses_the_deadline_is_left_out() {
    let [users, orders, products] = good();
    let services = Services::answering(users, orders.after(Duration::from_secs(10)), products);
    let (gateway, token) = services.gateway();
    let answer = gateway.send(Request::get("/mobile/dashboard").bearer(&token)).ok();
    assert_eq!(answer.json()["partial"], json!(["recentOrders"]));
}
