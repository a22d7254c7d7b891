//! One worker's connection to Redis and the breaker in front of it.
//!
//! A request uses the connection that is there or is told at once that there is none. A background task connects, proves
//! the connection with a PING (the breaker's half-open probe) and, when it is lost, connects again with back-off. It
//! counts nothing and knows no commands.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, Cmd, IntoConnectionInfo, Value};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::super::StoreError;

/// How long Redis may take, and when it is given up on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedisOptions {
    /// For one attempt to connect, in the background. Default 250 ms.
    pub connect_timeout: Duration,
    /// For one command, and so the most that a slow Redis adds to a request. Default 20 ms.
    pub response_timeout: Duration,
    /// So many timeouts in a row open the breaker; a broken connection opens it at once. Default 3.
    pub trip_after: u32,
}

impl Default for RedisOptions {
    fn default() -> Self {
        RedisOptions {
            connect_timeout: Duration::from_millis(250),
            response_timeout: Duration::from_millis(20),
            trip_after: 3,
        }
    }
}

/// Between attempts to connect: from the first to the last of these, doubling, each cut by up to half at random.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// A connection that held this long resets the back-off. One that passes its PING and then fails again does not: a Redis
/// that is slow under load would otherwise cost its timeouts anew every few milliseconds.
const SETTLED: Duration = Duration::from_secs(5);
/// Timers tick in milliseconds and round up; later than that, the worker was busy.
const LATE: Duration = Duration::from_millis(3);
/// Many times what a local Redis takes for a command.
const MOMENT: Duration = Duration::from_millis(4);
/// Commands handed over to the connection's task before senders wait for it.
const QUEUE: usize = 512;

pub(super) struct Link {
    client: redis::Client,
    address: String,
    options: RedisOptions,
    state: Mutex<State>,
    /// Told once for each connection that was lost.
    lost: Notify,
    /// Told when there is a connection.
    found: Notify,
}

#[derive(Default)]
struct State {
    connection: Option<MultiplexedConnection>,
    /// Tells answers of this connection from late ones of an earlier.
    serial: u64,
    timeouts: u32,
}

impl Link {
    /// `url` is not connected to yet: that is for [`Link::keep_connected`].
    pub fn new(url: &str, options: RedisOptions) -> Result<Self, StoreError> {
        // SECURITY: the crate's reasons never quote the URL, which may hold a password; ours must not either.
        let invalid = |error: redis::RedisError| StoreError::Url {
            reason: match error.to_string().split_once("- ") {
                Some((reason, _kind)) => reason.trim().to_lowercase(),
                None => error.category().to_owned(),
            },
        };
        let info = url.into_connection_info().map_err(invalid)?;
        let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let address = info.addr().to_string();
        let client = redis::Client::open(info).map_err(invalid)?;
        Ok(Link { client, address, options, state: Mutex::default(), lost: Notify::new(), found: Notify::new() })
    }

    pub fn is_up(&self) -> bool {
        self.state().connection.is_some()
    }

    /// Waits for the connection, at most for the time of one attempt.
    pub async fn first_attempt(&self) {
        let mut found = std::pin::pin!(self.found.notified());
        found.as_mut().enable();
        if !self.is_up() {
            let _ = tokio::time::timeout(self.options.connect_timeout, found).await;
        }
    }

    pub fn unavailable(&self) -> StoreError {
        StoreError::Unavailable { address: self.address.clone() }
    }

    /// Sends one command and waits for its answer, at most for the response timeout; fails at once when the link is down.
    pub async fn send(&self, command: &Cmd) -> Result<Value, StoreError> {
        let (mut connection, serial) = {
            let state = self.state();
            let connection = state.connection.clone().ok_or_else(|| self.unavailable())?;
            (connection, state.serial)
        };
        match self.answer(&mut connection, command).await {
            Ok(value) => {
                self.state().timeouts = 0;
                Ok(value)
            }
            Err(failure) => Err(self.failed(failure, serial)),
        }
    }

    async fn answer(&self, connection: &mut MultiplexedConnection, command: &Cmd) -> Result<Value, Failure> {
        let mut answer = std::pin::pin!(connection.send_packed_command(command));
        let timeout = self.options.response_timeout;
        let since = Instant::now();
        let mut result = tokio::time::timeout(timeout, answer.as_mut()).await;
        // A timer that fires late says that something else held this worker: the command may not even have been written,
        // or its answer not been read. That is not Redis' fault, which gets a moment more.
        if result.is_err() && since.elapsed() > timeout + LATE {
            result = tokio::time::timeout(MOMENT, answer).await;
        }
        let result = result.map_err(|_| Failure::Timeout)?;
        match result {
            Ok(Value::ServerError(error)) => Err(Failure::Refused {
                code: error.code().to_owned(),
                detail: error.details().unwrap_or_default().to_owned(),
            }),
            Ok(value) => Ok(value),
            Err(error) => match error.code() {
                Some(code) => Err(Failure::Refused {
                    code: code.to_owned(),
                    detail: error.detail().unwrap_or_default().to_owned(),
                }),
                None => Err(Failure::Broken(error.to_string())),
            },
        }
    }

    /// Counts a failure of the connection `serial` and gives it up when it is broken or too often late.
    fn failed(&self, failure: Failure, serial: u64) -> StoreError {
        let reason = match failure {
            // An answer like any other, as far as the connection goes.
            Failure::Refused { code, detail } => {
                self.state().timeouts = 0;
                return StoreError::Refused { code, detail };
            }
            Failure::Timeout => format!("no answer within {:?}", self.options.response_timeout),
            Failure::Broken(ref reason) => reason.clone(),
        };
        let mut state = self.state();
        if state.serial == serial && state.connection.is_some() {
            state.timeouts += 1;
            if matches!(failure, Failure::Broken(_)) || state.timeouts >= self.options.trip_after {
                state.connection = None;
                self.lost.notify_one();
                tracing::warn!(redis = %self.address, %reason, "redis was lost");
            }
        }
        StoreError::Failed { address: self.address.clone(), reason }
    }

    /// Runs for as long as the worker uses this Redis.
    pub async fn keep_connected(self: Arc<Self>) {
        let mut pause = FIRST_PAUSE;
        let mut told = false;
        loop {
            match self.connect().await {
                Ok(connection) => {
                    let since = Instant::now();
                    self.up(connection);
                    told = false;
                    self.lost.notified().await;
                    if since.elapsed() >= SETTLED {
                        pause = FIRST_PAUSE;
                        continue;
                    }
                }
                Err(reason) if !told => {
                    tracing::warn!(redis = %self.address, %reason, "redis is not available, trying on");
                    told = true;
                }
                Err(_) => {}
            }
            tokio::time::sleep(jittered(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn connect(&self) -> Result<MultiplexedConnection, String> {
        let timeout = self.options.connect_timeout;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(timeout))
            // Ours, in `answer`, knows what this worker was doing meanwhile.
            .set_response_timeout(None)
            .set_pipeline_buffer_size(QUEUE);
        let connection = self.client.get_multiplexed_async_connection_with_config(&config);
        let mut connection = connection.await.map_err(|error| error.to_string())?;
        match self.answer(&mut connection, &redis::cmd("PING")).await {
            Ok(_) => Ok(connection),
            Err(failure) => Err(failure.to_string()),
        }
    }

    fn up(&self, connection: MultiplexedConnection) {
        let mut state = self.state();
        state.connection = Some(connection);
        state.serial += 1;
        state.timeouts = 0;
        drop(state);
        self.found.notify_waiters();
        tracing::info!(redis = %self.address, "redis is connected");
    }

    // Held for a few instructions and never across an await; a mutex only because the background task must be `Send`.
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("no answer in time")]
    Timeout,
    #[error("{0}")]
    Broken(String),
    #[error("{code} {detail}")]
    Refused { code: String, detail: String },
}

/// Workers that lost the same Redis at the same moment must not come back at the same moment.
fn jittered(pause: Duration) -> Duration {
    let random = ahash::RandomState::new().hash_one(pause) % 1024;
    pause.mul_f64(1.0 - random as f64 / 2048.0)
}
