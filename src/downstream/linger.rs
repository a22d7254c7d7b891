//! Closing so that the client gets the last answer.
//!
//! A socket that is closed with bytes unread is reset, and a reset may overtake the answer that was written (RFC 9112 §9.6). So the
//! sending half is closed first, and what still comes is read and dropped for a while: nginx' `lingering_close`, with its 5
//! seconds.

use super::{client::Client, spares::READ};
use std::{
    cell::RefCell,
    future::poll_fn,
    pin::Pin,
    task::{Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

const TIME: Duration = Duration::from_secs(5);
const BYTES: usize = 1 << 20;

/// Closes the connection. With `waits` what the client still sends is read away first.
pub(super) async fn close<S: AsyncRead + AsyncWrite + Unpin>(client: &RefCell<Client<S>>, waits: bool) {
    let until = Instant::now() + TIME;
    let (mut is_shut, mut dropped) = (false, 0);
    poll_fn(|cx| {
        let client = &mut *client.borrow_mut();
        loop {
            let Some(io) = &mut client.io else { return Poll::Ready(()) };
            if !is_shut {
                match Pin::new(io).poll_shutdown(cx) {
                    Poll::Ready(Ok(())) => is_shut = true,
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Pending => return client.timer.poll(cx, until),
                }
            }
            if !waits {
                return Poll::Ready(());
            }
            dropped += client.input.len();
            client.input.clear();
            match client.poll_read(cx, READ) {
                Poll::Ready(Ok(count)) if count > 0 && dropped < BYTES => {}
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => {
                    ready!(client.timer.poll(cx, until));
                    return Poll::Ready(());
                }
            }
        }
    })
    .await;
}
