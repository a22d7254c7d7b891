//! A connection to the first of several addresses that answers.
//!
//! Happy Eyeballs (RFC 8305 §5): the next address is tried when one fails, or beside it when it says nothing for 250 ms, so that one
//! silent address costs a quarter of a second and not the whole time.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, select_all};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::error::Kind;

/// RFC 8305 §8: the recommended Connection Attempt Delay.
const HEAD_START: Duration = Duration::from_millis(250);

/// How long an address may say nothing before that counts against it, where making a connection may take `connect`.
pub(super) fn fair(connect: Duration) -> Duration {
    HEAD_START.min(connect / 2)
}

/// Whether it passes when something is closed: EMFILE, ENFILE, ENOBUFS, ENOMEM (accept(2), socket(2)).
pub fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    error.raw_os_error().is_some_and(|code| {
        let errno = Errno::from_raw_os_error(code);
        [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM].contains(&errno)
    })
}

/// Tries the addresses in this order until `limit`. `failed` is told of each that failed, and of those that said nothing for `fair`
/// until they were overtaken or the time was over: a client's deadline that ends at once says nothing about an address, and neither
/// does a shortage here.
pub(super) async fn dial(
    addresses: &[SocketAddr],
    limit: Instant,
    fair: Duration,
    mut failed: impl FnMut(SocketAddr),
) -> Result<(TcpStream, SocketAddr), Kind> {
    let mut waiting = addresses.iter().copied();
    let mut racing: Vec<BoxFuture<'static, (SocketAddr, io::Result<TcpStream>)>> = Vec::new();
    let mut running: Vec<(SocketAddr, Instant)> = Vec::new();
    let mut last = Kind::Unresolved(io::ErrorKind::NotFound.into());
    loop {
        if let Some(address) = waiting.next() {
            racing.push(async move { (address, TcpStream::connect(address).await) }.boxed());
            running.push((address, Instant::now()));
        }
        if racing.is_empty() {
            return Err(last);
        }
        let wait = if waiting.len() > 0 { limit.min(Instant::now() + HEAD_START) } else { limit };
        match timeout_at(wait, select_all(&mut racing)).await {
            Ok(((address, connected), at, _)) => {
                drop(racing.swap_remove(at));
                running.retain(|(other, _)| *other != address);
                match connected {
                    Ok(stream) => {
                        silent(&running, fair).for_each(failed);
                        return Ok((stream, address));
                    }
                    Err(error) => {
                        if !is_shortage(&error) {
                            failed(address);
                        }
                        last = Kind::Refused(error);
                    }
                }
            }
            Err(_) if Instant::now() >= limit => {
                silent(&running, fair).for_each(failed);
                return Err(Kind::Timeout);
            }
            Err(_) => {}
        }
    }
}

fn silent(running: &[(SocketAddr, Instant)], fair: Duration) -> impl Iterator<Item = SocketAddr> {
    let now = Instant::now();
    let long = move |(_, since): &&(SocketAddr, Instant)| now.saturating_duration_since(*since) >= fair;
    running.iter().filter(long).map(|(address, _)| *address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{net::TcpSocket, time::timeout};

    #[test]
    fn a_connection_that_was_reset_is_no_shortage() {
        assert!(is_shortage(&rustix::io::Errno::MFILE.into()));
        assert!(!is_shortage(&rustix::io::Errno::CONNABORTED.into()));
    }

    #[tokio::test]
    async fn a_silent_address_fails_only_after_a_fair_time() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let full = socket.listen(1).unwrap();
        let address = full.local_addr().unwrap();
        // Nobody accepts, so that the next one gets no answer once its queue is full.
        let mut queued = Vec::new();
        while let Ok(stream) = timeout(Duration::from_millis(100), TcpStream::connect(address)).await {
            queued.push(stream.unwrap());
        }
        for (millis, expected) in [(20, vec![]), (400, vec![address])] {
            let (mut failed, limit) = (Vec::new(), Instant::now() + Duration::from_millis(millis));
            let dialed = dial(&[address], limit, fair(Duration::from_secs(5)), |one| failed.push(one)).await;
            assert_eq!((dialed.unwrap_err().to_string().as_str(), failed), ("timed out", expected));
        }
    }
}
