//! A real browser: Chromium without a window, driven through chromedriver by WebDriver's JSON over HTTP (W3C WebDriver §6).
//!
//! Of WebDriver there is only what a test needs: opening a page, and running a script in it. Both processes and the profile end with
//! the value.

use super::{Client, Request, eventually, gateway::Log};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

/// No window, no sandbox (tests may run as root), and nothing that asks the network by itself.
const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// How often the driver may find its port taken.
const TRIES: usize = 20;

pub struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
    _profile: TempDir,
}

/// Starts chromedriver. Nothing if it found no port: it takes a free one of IPv6 and then wants the same of IPv4, which another test may hold.
fn listening_driver() -> Option<(Child, SocketAddr)> {
    let mut command = Command::new("chromedriver");
    command.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut driver = command.spawn().unwrap_or_else(|error| panic!("chromedriver: {error}; `tests/run` installs it"));
    let said = Log::default();
    said.follow(driver.stdout.take().expect("a pipe"));
    let line = said.wait("chromedriver says neither a port nor that it has none", |lines| {
        lines.iter().find(|line| line.contains("successfully on port") || line.contains("port not available")).cloned()
    });
    if line.contains("port not available") {
        driver.wait().expect("it ends by itself");
        return None;
    }
    let port = line.split_whitespace().last().expect("a word").trim_end_matches('.').parse().expect("a port");
    Some((driver, SocketAddr::from(([127, 0, 0, 1], port))))
}

impl Browser {
    pub fn start() -> Browser {
        let (driver, address) = (0..TRIES).find_map(|_| listening_driver()).expect("chromedriver finds a free port");
        let profile = tempfile::tempdir().expect("a folder");
        let folder = format!("--user-data-dir={}", profile.path().display());
        let args: Vec<&str> = FLAGS.into_iter().chain([folder.as_str()]).collect();
        let wanted = json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": { "args": args } } } });
        // Filled in afterwards, so that the driver ends whatever happens.
        let mut browser = Browser { driver, address, session: String::new(), _profile: profile };
        let made = browser.tell("POST", "/session", &wanted);
        browser.session = made["sessionId"].as_str().expect("a session").to_owned();
        browser
    }

    fn tell(&self, method: &str, path: &str, body: &Value) -> Value {
        let request = Request::new(method, path).json(&body.to_string());
        let answer = Client::connect(self.address).send(&request);
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
        answer.json()["value"].clone()
    }

    fn of_session(&self, command: &str, body: &Value) -> Value {
        self.tell("POST", &format!("/session/{}/{command}", self.session), body)
    }

    /// Opens a page and waits until it is loaded, whatever its status.
    pub fn open(&self, url: &str) {
        self.of_session("url", &json!({ "url": url }));
    }

    /// Runs the body of an asynchronous function in the page, and gives what it returns.
    pub fn run(&self, script: &str) -> Value {
        self.of_session(
            "execute/sync",
            &json!({ "script": format!("return (async () => {{ {script} }})();"), "args": [] }),
        )
    }

    /// The text of the first element.
    pub fn text(&self, selector: &str) -> String {
        let selector = Value::from(selector);
        let text = self.run(&format!("return document.querySelector({selector})?.textContent ?? '(no such element)'"));
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the element's text contains this.
    pub fn shows(&self, selector: &str, text: &str) {
        eventually(&format!("{selector} shows {text}"), || self.text(selector).contains(text).then_some(()));
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends the browser when it is asked to, not when it is killed.
        if !self.session.is_empty()
            && let Ok(mut client) = Client::try_connect(self.address)
        {
            let _ = client.try_send(&Request::new("DELETE", &format!("/session/{}", self.session)));
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
