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

/// Tries the addresses in this order until `limit`. `failed` is told of each that failed, or was overtaken.
pub(super) async fn dial(
    addresses: &[SocketAddr],
    limit: Instant,
    mut failed: impl FnMut(SocketAddr),
) -> Result<(TcpStream, SocketAddr), Kind> {
    let mut waiting = addresses.iter().copied();
    let mut racing: Vec<BoxFuture<'static, (SocketAddr, io::Result<TcpStream>)>> = Vec::new();
    let mut running: Vec<SocketAddr> = Vec::new();
    let mut last = Kind::Unresolved(io::ErrorKind::NotFound.into());
    loop {
        if let Some(address) = waiting.next() {
            racing.push(async move { (address, TcpStream::connect(address).await) }.boxed());
            running.push(address);
        }
        if racing.is_empty() {
            return Err(last);
        }
        let wait = if waiting.len() > 0 { limit.min(Instant::now() + HEAD_START) } else { limit };
        match timeout_at(wait, select_all(&mut racing)).await {
            Ok(((address, connected), at, _)) => {
                drop(racing.swap_remove(at));
                running.retain(|other| *other != address);
                match connected {
                    Ok(stream) => {
                        running.into_iter().for_each(failed);
                        return Ok((stream, address));
                    }
                    Err(error) => {
                        failed(address);
                        last = Kind::Refused(error);
                    }
                }
            }
            Err(_) if Instant::now() >= limit => {
                running.into_iter().for_each(failed);
                return Err(Kind::Timeout);
            }
            Err(_) => {}
        }
    }
}
