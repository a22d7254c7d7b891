//! One worker's connection to Redis and the breaker in front of it.
//!
//! A request uses the connection that is there or is told at once that there is none. A background task connects, proves
//! the connection with a PING (the breaker's half-open probe) and, when it is lost, connects again with back-off. It
//! counts nothing and knows no commands.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::super::StoreError;
use super::pipe::{Driver, Failure, Pipe};
use super::value::RedisValue;
use super::wire;

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

pub(super) struct Link {
    info: ConnectionInfo,
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
    connection: Option<Arc<Pipe>>,
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
        let address = info.addr().to_string();
        Ok(Link { info, address, options, state: Mutex::default(), lost: Notify::new(), found: Notify::new() })
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

    /// Sends the one command that `write` appends and waits for its answer, at most for the response timeout; fails at once when the link
    /// is down.
    pub async fn send(&self, write: impl FnOnce(&mut Vec<u8>)) -> Result<RedisValue, StoreError> {
        let (pipe, serial) = {
            let state = self.state();
            let pipe = state.connection.clone().ok_or_else(|| self.unavailable())?;
            (pipe, state.serial)
        };
        match pipe.send(self.options.response_timeout, write).await {
            Ok(value) => {
                self.state().timeouts = 0;
                Ok(value)
            }
            Err(failure) => Err(self.failed(failure, serial)),
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
                self.lose(&mut state, &reason);
            }
        }
        drop(state);
        StoreError::Failed { address: self.address.clone(), reason }
    }

    fn lose(&self, state: &mut State, reason: &str) {
        if let Some(pipe) = state.connection.take() {
            pipe.end(reason);
            self.lost.notify_one();
            tracing::warn!(redis = %self.address, %reason, "redis was lost");
        }
    }

    /// Runs for as long as the worker uses this Redis.
    pub async fn keep_connected(self: Arc<Self>) {
        let mut pause = FIRST_PAUSE;
        let mut told = false;
        loop {
            match self.connect().await {
                Ok((pipe, mut driver)) => {
                    let since = Instant::now();
                    self.up(pipe);
                    told = false;
                    tokio::select! {
                        reason = driver.run() => {
                            self.lose(&mut self.state(), &reason);
                            // Told to this very task, which knows.
                            self.lost.notified().await;
                        }
                        () = self.lost.notified() => {}
                    }
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

    async fn connect(&self) -> Result<(Arc<Pipe>, Driver), String> {
        let timeout = self.options.connect_timeout;
        let late = |_| format!("no connection within {timeout:?}");
        let (pipe, mut driver) = tokio::time::timeout(timeout, self.open()).await.map_err(late)??;
        let shaken = async {
            let greeted = tokio::time::timeout(timeout, greet(&pipe, self.info.redis_settings(), timeout));
            greeted.await.map_err(late)?.map_err(|failure| failure.to_string())?;
            tell(&pipe, self.options.response_timeout, &["PING"]).await.map_err(|failure| failure.to_string())
        };
        tokio::select! {
            reason = driver.run() => return Err(reason),
            shaken = shaken => shaken?,
        };
        Ok((pipe, driver))
    }

    async fn open(&self) -> Result<(Arc<Pipe>, Driver), String> {
        let told = |error: std::io::Error| error.to_string();
        match self.info.addr() {
            ConnectionAddr::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(told)?;
                stream.set_nodelay(true).map_err(told)?;
                Ok(Driver::new(Box::new(stream)))
            }
            ConnectionAddr::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(told)?;
                Ok(Driver::new(Box::new(stream)))
            }
            // Refused when the URL was read: the crate is built without it.
            other => Err(format!("{other}: not a kind of address that can be connected to")),
        }
    }

    fn up(&self, pipe: Arc<Pipe>) {
        let mut state = self.state();
        state.connection = Some(pipe);
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

/// Says who this is and which database it is about, as the URL has it.
async fn greet(pipe: &Pipe, settings: &RedisConnectionInfo, timeout: Duration) -> Result<(), Failure> {
    let (username, password) = (settings.username(), settings.password());
    match (settings.protocol() == ProtocolVersion::RESP2, password) {
        (false, Some(password)) => {
            tell(pipe, timeout, &["HELLO", "3", "AUTH", username.unwrap_or("default"), password]).await?;
        }
        (false, None) => {
            tell(pipe, timeout, &["HELLO", "3"]).await?;
        }
        (true, Some(password)) => {
            let answer = match username {
                Some(username) => tell(pipe, timeout, &["AUTH", username, password]).await,
                None => tell(pipe, timeout, &["AUTH", password]).await,
            };
            match (username, answer) {
                // Before Redis 6 there were no users, and one word more than it takes.
                (Some(_), Err(Failure::Refused { code, .. })) if code == "ERR" => {
                    tell(pipe, timeout, &["AUTH", password]).await?
                }
                (_, answer) => answer?,
            };
        }
        (true, None) => {}
    }
    if settings.db() != 0 {
        tell(pipe, timeout, &["SELECT", &settings.db().to_string()]).await?;
    }
    Ok(())
}

async fn tell(pipe: &Pipe, timeout: Duration, words: &[&str]) -> Result<RedisValue, Failure> {
    let write = |out: &mut Vec<u8>| {
        wire::begin(out, words.len());
        words.iter().for_each(|word| wire::word(out, word.as_bytes()));
    };
    pipe.send(timeout, write).await
}

/// Workers that lost the same Redis at the same moment must not come back at the same moment.
fn jittered(pause: Duration) -> Duration {
    let random = ahash::RandomState::new().hash_one(pause) % 1024;
    pause.mul_f64(1.0 - random as f64 / 2048.0)
}
