//! Bodies that scripts change while they stream: `on_request_chunk` and `on_response_chunk`.
//!
//! A piece is read from the source only when the one before it has gone through all hooks and on: nothing is held but
//! the piece at hand, and back-pressure reaches the source. A script that fails breaks the body off, so that a part is
//! never taken for the whole.

use super::{hooks, worker::Ready};
use crate::{
    gateway::prepared::Plugin,
    http::{Body, BodyError},
    script::{Exchange, Hook},
};
use bytes::{Bytes, BytesMut};
use futures_util::future::LocalBoxFuture;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

/// The body as these plugins' hooks let it through.
pub fn through(hook: Hook, plugins: &Rc<[Rc<Plugin>]>, ready: &Rc<Ready>, exchange: &Rc<Exchange>, body: Body) -> Body {
    if plugins.is_empty() || body.is_empty() {
        return body;
    }
    let hooks = Hooks { hook, plugins: plugins.clone(), ready: ready.clone(), exchange: exchange.clone() };
    let chunks = Chunks { source: body, hooks, call: None, cut: Bytes::new(), ended: false, done: false };
    Body::Streamed(Box::new(chunks))
}

#[derive(Clone)]
struct Hooks {
    hook: Hook,
    plugins: Rc<[Rc<Plugin>]>,
    ready: Rc<Ready>,
    exchange: Rc<Exchange>,
}

impl Hooks {
    /// A piece through all of them, one after another; at the end each may add what it had kept.
    async fn call(self, mut chunk: Bytes, end: bool) -> Result<Bytes, BodyError> {
        for plugin in self.plugins.iter() {
            if !chunk.is_empty() {
                let given = Some(chunk.clone());
                chunk = self.one(plugin, given).await?.unwrap_or(chunk);
            }
            if end && let Some(last) = self.one(plugin, None).await? {
                let mut joined = BytesMut::from(chunk);
                joined.extend_from_slice(&last);
                chunk = joined.freeze();
            }
        }
        Ok(chunk)
    }

    async fn one(&self, plugin: &Plugin, chunk: Option<Bytes>) -> Result<Option<Bytes>, BodyError> {
        let changed = hooks::run_on_chunk(&self.ready, self.hook, plugin, &self.exchange, chunk).await;
        changed.map_err(|failure| BodyError::Script(failure.to_string()))
    }
}

struct Chunks {
    source: Body,
    hooks: Hooks,
    call: Option<LocalBoxFuture<'static, Result<Bytes, BodyError>>>,
    /// The beginning of a character whose rest has not come yet.
    cut: Bytes,
    ended: bool,
    done: bool,
}

impl Chunks {
    fn begin(&mut self, chunk: Bytes) {
        self.call = Some(Box::pin(self.hooks.clone().call(chunk, self.ended)));
    }
}

impl HttpBody for Chunks {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        loop {
            if let Some(call) = &mut this.call {
                let changed = ready!(call.as_mut().poll(cx));
                this.call = None;
                this.done = this.ended || changed.is_err();
                match changed {
                    Ok(chunk) if chunk.is_empty() => {}
                    changed => return Poll::Ready(Some(changed.map(Frame::data))),
                }
            }
            if this.done {
                return Poll::Ready(None);
            }
            match ready!(Pin::new(&mut this.source).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    // Trailers speak of the body that was.
                    let Ok(data) = frame.into_data() else { continue };
                    let chunk = whole_characters(&mut this.cut, data);
                    if !chunk.is_empty() {
                        this.begin(chunk);
                    }
                }
                Some(Err(error)) => {
                    this.done = true;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    this.ended = true;
                    let rest = std::mem::take(&mut this.cut);
                    this.begin(rest);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.done
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// What was cut off before and `data`, without a character that is cut off at the end: that is kept in `cut`. Bytes that
/// are no text pass as they are.
fn whole_characters(cut: &mut Bytes, data: Bytes) -> Bytes {
    let mut chunk = data;
    if !cut.is_empty() {
        let mut joined = BytesMut::from(std::mem::take(cut));
        joined.extend_from_slice(&chunk);
        chunk = joined.freeze();
    }
    if let Err(error) = std::str::from_utf8(&chunk)
        && error.error_len().is_none()
    {
        *cut = chunk.split_off(error.valid_up_to());
    }
    chunk
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_not_cut() {
        let mut cut = Bytes::new();
        let text = "a€b😀c".as_bytes();
        let pieces: Vec<Bytes> =
            text.chunks(2).map(|piece| whole_characters(&mut cut, piece.to_vec().into())).collect();
        assert!(pieces.iter().all(|piece| std::str::from_utf8(piece).is_ok()), "{pieces:?}");
        assert_eq!((pieces.concat(), cut.len()), (text.to_vec(), 0));
        let binary = Bytes::from_static(&[0xff, 0xfe, b'a']);
        assert_eq!(whole_characters(&mut cut, binary.clone()), binary);
    }
}
