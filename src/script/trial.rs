//! What scripts run against while `gatewright test` tries them: a clock, a Redis and upstreams that a test file speaks for.
//!
//! The boundary only, as [`super::outbound`] is: the harness implements it. A worker that serves has none, and pays one comparison
//! where the clock or Redis is asked.

use super::{Raise, Value};
use crate::store::RedisValue;
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use std::{rc::Rc, time::Duration};

/// One test case: what all gateways in it share.
pub trait Trial {
    /// The time of day, since 1970.
    fn now(&self) -> Duration;

    /// Sets the time of day. What the stores count by stays.
    fn set(&self, now: Duration);

    /// Moves the time of day and the stores' clock on.
    fn advance(&self, by: Duration);

    /// The same for a test that says it: what scripts gave to `every` runs whenever it is due on the way.
    fn pass(&self, by: Duration) -> LocalBoxFuture<'static, Result<Value, Raise>>;

    /// The reply that the test declared for a command.
    ///
    /// # Errors
    /// That there is none.
    fn redis(&self, words: &[Bytes]) -> Result<RedisValue, Raise>;

    /// A gateway with one script or plugin on its route. It starts with its first request.
    ///
    /// # Errors
    /// What is wrong with the options.
    fn gateway(&self, name: &str, options: &Value) -> Result<Rc<dyn Tried>, Raise>;
}

/// A gateway under test.
pub trait Tried {
    /// Sends a request through the whole life of an exchange, and gives the response as JSON.
    fn request(self: Rc<Self>, request: Value) -> LocalBoxFuture<'static, Result<Value, Raise>>;

    /// Declares what an upstream answers: the method or `*`, and a URL that may end in `*`.
    fn answer(&self, method: &str, url: &str, answer: &Value) -> Result<(), Raise>;

    /// Declares what a command of Redis gives, as JSON.
    fn redis(&self, command: &str, reply: &Value) -> Result<(), Raise>;

    /// Everything that upstreams received so far, as JSON.
    fn received(&self) -> Value;

    /// Every line logged so far, as JSON.
    fn logs(&self) -> Value;

    /// What scripts counted under a name with these labels or more, as JSON; nil: nothing.
    fn metric(&self, name: &str, labels: &Value) -> Result<Value, Raise>;

    /// What a check of the configuration and of `on_load` finds; empty: nothing.
    fn problems(self: Rc<Self>) -> LocalBoxFuture<'static, Result<Value, Raise>>;
}

/// A function of a test file that is a case, by its name: `test_…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    pub name: String,
    /// Where it begins, from 1.
    pub line: usize,
}

/// How the name of a case begins.
pub const PREFIX: &str = "test_";
