//! One test case: its clock, its stores, its log, and the Redis that it speaks for.
//!
//! Everything is new for each case, so that none sees what another left. The clock stands still until the test, or a script that
//! sleeps, moves it.

use super::{gateway::Gateway, logs::Logs};
use crate::{
    observe::metrics::own::Own,
    script::{
        Raise, Value,
        trial::{Trial, Tried},
    },
    store::{ManualClock, RedisValue, Stores},
};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use serde_json::Value as Json;
use std::{
    cell::{Cell, RefCell},
    path::PathBuf,
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};

/// 2026-01-01T00:00:00Z: the same for every run, so that a test that passes today passes tomorrow.
const BEGIN: Duration = Duration::from_secs(1_767_225_600);

/// Of `every` in one step of the clock.
const MOST_RUNS: usize = 1000;

pub struct Case {
    /// Where the test file is.
    pub folder: PathBuf,
    pub stores: Arc<Stores>,
    pub logs: Logs,
    pub metrics: Arc<Own>,
    clock: Arc<ManualClock>,
    now: Cell<Duration>,
    redis: RefCell<Vec<(String, Json)>>,
    /// How far the clock was moved.
    elapsed: Cell<Duration>,
    gateways: RefCell<Vec<Weak<Gateway>>>,
    /// To give to gateways.
    own: Weak<Case>,
}

impl Case {
    pub fn new(folder: PathBuf, logs: Logs) -> Rc<Case> {
        logs.clear();
        let clock = Arc::new(ManualClock::default());
        Rc::new_cyclic(|own| Case {
            folder,
            stores: Arc::new(Stores::new(clock.clone())),
            logs,
            metrics: Arc::default(),
            clock,
            now: Cell::new(BEGIN),
            redis: RefCell::default(),
            elapsed: Cell::default(),
            gateways: RefCell::default(),
            own: own.clone(),
        })
    }

    /// How far the clock was moved since the case began.
    pub fn elapsed(&self) -> Duration {
        self.elapsed.get()
    }

    pub fn declare_redis(&self, command: &str, reply: Json) {
        self.redis.borrow_mut().push((command.to_owned(), reply));
    }
}

impl Trial for Case {
    fn now(&self) -> Duration {
        self.now.get()
    }

    fn set(&self, now: Duration) {
        self.now.set(now);
    }

    fn advance(&self, by: Duration) {
        self.now.set(self.now.get().saturating_add(by));
        self.clock.advance(by);
        self.elapsed.set(self.elapsed.get().saturating_add(by));
    }

    fn pass(&self, by: Duration) -> LocalBoxFuture<'static, Result<Value, Raise>> {
        let own = self.own.upgrade();
        let gateways: Vec<Rc<Gateway>> = self.gateways.borrow().iter().filter_map(Weak::upgrade).collect();
        Box::pin(async move {
            let own = own.ok_or_else(|| Raise::error("the test is over"))?;
            let end = own.elapsed.get().saturating_add(by);
            for _ in 0..=MOST_RUNS {
                let mut next: Option<(Duration, &Rc<Gateway>, usize)> = None;
                for gateway in &gateways {
                    let due = gateway.due().await.filter(|(due, _)| *due <= end);
                    if let Some((due, at)) = due.filter(|(due, _)| next.is_none_or(|(soonest, ..)| *due < soonest)) {
                        next = Some((due, gateway, at));
                    }
                }
                let Some((due, gateway, at)) = next else {
                    own.advance(end.saturating_sub(own.elapsed.get()));
                    return Ok(Value::Nil);
                };
                own.advance(due.saturating_sub(own.elapsed.get()));
                gateway.run_task(at).await?;
            }
            Err(Raise::error(format!("more than {MOST_RUNS} runs of `every` in one step are too many")))
        })
    }

    fn redis(&self, words: &[Bytes]) -> Result<RedisValue, Raise> {
        let words: Vec<_> = words.iter().map(|word| String::from_utf8_lossy(word)).collect();
        let declared = self.redis.borrow();
        match declared.iter().rev().find(|(command, _)| begins(&words, command)) {
            Some((_, reply)) => Ok(value(reply)),
            None => Err(Raise::error(format!("the test says nothing of redis `{}`", words.join(" ")))),
        }
    }

    fn gateway(&self, name: &str, options: &Value) -> Result<Rc<dyn Tried>, Raise> {
        let own = self.own.upgrade().ok_or_else(|| Raise::error("the test is over"))?;
        let gateway = Rc::new(Gateway::new(own, name, options)?);
        self.gateways.borrow_mut().push(Rc::downgrade(&gateway));
        Ok(gateway)
    }
}

/// Whether a command begins with these words; its name is the same in either case.
fn begins(words: &[std::borrow::Cow<'_, str>], declared: &str) -> bool {
    let mut words = words.iter();
    declared.split_whitespace().enumerate().all(|(index, wanted)| {
        words.next().is_some_and(|word| if index == 0 { word.eq_ignore_ascii_case(wanted) } else { word == wanted })
    })
}

fn value(reply: &Json) -> RedisValue {
    match reply {
        Json::Null => RedisValue::Nil,
        Json::Bool(bool) => RedisValue::Int(i64::from(*bool)),
        Json::Number(number) => match number.as_f64().filter(|float| float.fract() == 0.0) {
            Some(float) => RedisValue::Int(float as i64),
            None => RedisValue::Bytes(number.to_string().into()),
        },
        Json::String(text) => RedisValue::Bytes(text.clone().into()),
        Json::Array(items) => RedisValue::List(items.iter().map(value).collect()),
        // As the protocol's second version has it: names and values in turn.
        Json::Object(entries) => RedisValue::List(
            entries.iter().flat_map(|(name, item)| [RedisValue::Bytes(name.clone().into()), value(item)]).collect(),
        ),
    }
}
