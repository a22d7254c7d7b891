//! One connection to Redis: commands go out in the order they were given, answers come back in the same order.
//!
//! Whoever sends appends to a buffer and waits; the connection's driver, a task of the worker, writes all that was appended in a turn of
//! the loop at once, gives out answers and ends waits that are too long. One timer serves all. It knows nothing of connecting or breakers.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::value::RedisValue;
use super::wire::Answers;

/// Timers tick in milliseconds and round up; later than that, the worker was busy.
const LATE: Duration = Duration::from_millis(3);
/// Many times what a local Redis takes for a command.
const MOMENT: Duration = Duration::from_millis(4);
const READ: usize = 16 << 10;
/// A larger buffer is given back to the system when it is empty.
const KEPT: usize = 64 << 10;

pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("no answer in time")]
    Timeout,
    #[error("{0}")]
    Broken(String),
    #[error("{code} {detail}")]
    Refused { code: String, detail: String },
}

/// The sender's end.
#[derive(Default)]
pub(super) struct Pipe {
    // Held for a few instructions and never across an await; a mutex only because the driver must be `Send`.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    out: Vec<u8>,
    /// The commands that were sent, oldest first, as long as somebody may ask for them or their answer is to come.
    sent: VecDeque<Sent>,
    /// The numbers of the first of those, and of the one whose answer comes next.
    first: u64,
    next: u64,
    driver: Option<Waker>,
    /// When the first wait would be too long, of those that the driver has not seen.
    unseen: Option<Instant>,
    /// Why there is no connection any more.
    broken: Option<String>,
}

enum Sent {
    Waits {
        until: Instant,
        was_late: bool,
        waker: Option<Waker>,
    },
    Answered(RedisValue),
    TimedOut,
    /// Nobody waits for the answer.
    Left,
}

impl Pipe {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends the one command that `write` appends.
    pub fn send(&self, timeout: Duration, write: impl FnOnce(&mut Vec<u8>)) -> Waiting<'_> {
        let until = Instant::now() + timeout;
        let mut state = self.state();
        write(&mut state.out);
        let number = state.first + state.sent.len() as u64;
        state.unseen = Some(state.unseen.map_or(until, |unseen| unseen.min(until)));
        state.sent.push_back(Sent::Waits { until, was_late: false, waker: None });
        if let Some(driver) = state.driver.take() {
            driver.wake();
        }
        Waiting { pipe: self, number }
    }

    /// Ends all waits.
    pub fn end(&self, reason: &str) {
        let mut state = self.state();
        state.broken = Some(reason.to_owned());
        for sent in &mut state.sent {
            if let Sent::Waits { waker, .. } = sent
                && let Some(waker) = waker.take()
            {
                waker.wake();
            }
        }
    }
}

impl State {
    fn sent(&mut self, number: u64) -> Option<&mut Sent> {
        self.sent.get_mut(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// Forgets the oldest that are answered and that nobody asks for.
    fn forget(&mut self) {
        while self.first < self.next && matches!(self.sent.front(), Some(Sent::Left)) {
            self.sent.pop_front();
            self.first += 1;
        }
    }

    fn answer(&mut self, value: RedisValue) -> Result<(), String> {
        let number = self.next;
        let Some(sent) = self.sent(number) else {
            return Err("an answer to nothing".into());
        };
        match sent {
            Sent::Left => {}
            sent => {
                if let Sent::Waits { waker: Some(waker), .. } = std::mem::replace(sent, Sent::Answered(value)) {
                    waker.wake();
                }
            }
        }
        self.next += 1;
        self.forget();
        Ok(())
    }

    /// Ends the waits that are too long by now; gives when the next would be. A timer that fires late says that something else held this worker:
    /// the command may not even have been written, or its answer not been read. That is not Redis' fault, which gets a moment more.
    fn expire(&mut self, now: Instant) -> Option<Instant> {
        let mut earliest: Option<Instant> = None;
        for sent in &mut self.sent {
            let Sent::Waits { until, was_late, waker } = sent else { continue };
            if *until <= now && !*was_late && now > *until + LATE {
                (*until, *was_late) = (now + MOMENT, true);
            }
            if *until > now {
                earliest = Some(earliest.map_or(*until, |earliest| earliest.min(*until)));
                continue;
            }
            if let Some(waker) = waker.take() {
                waker.wake();
            }
            *sent = Sent::TimedOut;
        }
        earliest
    }
}

/// The wait for one answer. One that is dropped leaves the answer to be thrown away.
pub(super) struct Waiting<'a> {
    pipe: &'a Pipe,
    number: u64,
}

impl Future for Waiting<'_> {
    type Output = Result<RedisValue, Failure>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.pipe.state();
        let broken = state.broken.clone();
        let Some(sent) = state.sent(self.number) else {
            return Poll::Ready(Err(Failure::Broken("the wait is over".into())));
        };
        match sent {
            Sent::Waits { waker, .. } => match broken {
                Some(reason) => Poll::Ready(Err(Failure::Broken(reason))),
                None => {
                    if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                        *waker = Some(context.waker().clone());
                    }
                    Poll::Pending
                }
            },
            Sent::Answered(value) => {
                let value = std::mem::replace(value, RedisValue::Nil);
                Poll::Ready(match value {
                    RedisValue::Error { code, detail } => Err(Failure::Refused { code, detail }),
                    value => Ok(value),
                })
            }
            Sent::TimedOut | Sent::Left => Poll::Ready(Err(Failure::Timeout)),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.pipe.state();
        if let Some(sent) = state.sent(self.number) {
            *sent = Sent::Left;
        }
        state.forget();
    }
}

/// The connection's end.
pub(super) struct Driver {
    pipe: Arc<Pipe>,
    stream: Box<dyn Stream>,
    sending: Vec<u8>,
    is_sent_to: usize,
    /// What was read of an answer that is not complete.
    held: Vec<u8>,
    chunk: Box<[u8; READ]>,
    answers: Answers,
    timer: Pin<Box<Sleep>>,
    /// When the timer fires, if it is to.
    armed: Option<Instant>,
}

impl Driver {
    pub fn new(stream: Box<dyn Stream>) -> (Arc<Pipe>, Driver) {
        let pipe = Arc::new(Pipe::default());
        let driver = Driver {
            pipe: pipe.clone(),
            stream,
            sending: Vec::new(),
            is_sent_to: 0,
            held: Vec::new(),
            chunk: Box::new([0; READ]),
            answers: Answers::default(),
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            armed: None,
        };
        (pipe, driver)
    }

    /// Runs until the connection breaks, and says why. It may be dropped and run again.
    pub async fn run(&mut self) -> String {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<String> {
        {
            let mut state = self.pipe.state();
            if !state.driver.as_ref().is_some_and(|driver| driver.will_wake(context.waker())) {
                state.driver = Some(context.waker().clone());
            }
        }
        if let Err(reason) = self.write(context).and_then(|()| self.read(context)) {
            return Poll::Ready(reason);
        }
        self.watch(context);
        Poll::Pending
    }

    fn write(&mut self, context: &mut Context<'_>) -> Result<(), String> {
        loop {
            if self.is_sent_to == self.sending.len() {
                self.sending.clear();
                self.is_sent_to = 0;
                if self.sending.capacity() > KEPT {
                    self.sending = Vec::new();
                }
                std::mem::swap(&mut self.sending, &mut self.pipe.state().out);
                if self.sending.is_empty() {
                    return Ok(());
                }
            }
            let rest = &self.sending[self.is_sent_to..];
            match Pin::new(&mut self.stream).poll_write(context, rest) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(0)) => return Err("it takes no more bytes".into()),
                Poll::Ready(Ok(count)) => self.is_sent_to += count,
                Poll::Ready(Err(error)) => return Err(error.to_string()),
            }
        }
    }

    fn read(&mut self, context: &mut Context<'_>) -> Result<(), String> {
        loop {
            let mut buffer = ReadBuf::new(&mut self.chunk[..]);
            match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Err(error)) => return Err(error.to_string()),
                Poll::Ready(Ok(())) => {}
            }
            let read = buffer.filled();
            if read.is_empty() {
                return Err("it closed the connection".into());
            }
            let mut at = 0;
            if self.held.is_empty() {
                give_out(&self.pipe, &mut self.answers, read, &mut at)?;
                self.held.extend_from_slice(&read[at..]);
            } else {
                self.held.extend_from_slice(read);
                give_out(&self.pipe, &mut self.answers, &self.held, &mut at)?;
                self.held.drain(..at);
                if self.held.is_empty() && self.held.capacity() > KEPT {
                    self.held = Vec::new();
                }
            }
        }
    }

    /// Ends waits that are too long. The timer goes on for an answer that has come: it is set anew when it fires, not for each command.
    fn watch(&mut self, context: &mut Context<'_>) {
        let unseen = self.pipe.state().unseen.take();
        if let Some(until) = unseen.filter(|until| self.armed.is_none_or(|armed| *until < armed)) {
            self.arm(until);
        }
        while self.armed.is_some() && self.timer.as_mut().poll(context).is_ready() {
            self.armed = None;
            let earliest = self.pipe.state().expire(Instant::now());
            if let Some(earliest) = earliest {
                self.arm(earliest);
            }
        }
    }

    fn arm(&mut self, at: Instant) {
        self.timer.as_mut().reset(at);
        self.armed = Some(at);
    }
}

fn give_out(pipe: &Pipe, answers: &mut Answers, input: &[u8], at: &mut usize) -> Result<(), String> {
    while let Some(value) = answers.next(input, at).map_err(|malformed| malformed.to_string())? {
        pipe.state().answer(value)?;
    }
    Ok(())
}
