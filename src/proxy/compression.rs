//! Answers compressed for clients that ask for it (RFC 9110 §12.5.3), while they stream.
//!
//! Decides by the heads alone; the configuration says for which types. Never touched: what is encoded already, parts of a
//! representation, `no-transform`, event streams and gRPC, whose messages must leave at once. What has been
//! compressed is flushed whenever the source pauses, so that a slow answer is not held back.

use crate::{
    config::{Coding, Compression},
    http::{Body, BodyError},
};
use async_compression::{
    Level,
    brotli::EncoderParams,
    tokio::write::{BrotliEncoder, GzipEncoder, ZstdEncoder},
};
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::{
    cell::RefCell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// Fields and body of the answer to a request that had these fields; `body` comes back compressed where that was asked for.
pub fn compress(
    policy: &Compression,
    method: &Method,
    request: &HeaderMap,
    status: StatusCode,
    headers: &mut HeaderMap,
    body: Body,
) -> Body {
    if !may_be_compressed(policy, status, headers, &body) {
        return body;
    }
    vary(headers);
    // After HEAD there is nothing to compress, and an invented length would be a lie.
    let Some(coding) = negotiate(policy, request).filter(|_| method != Method::HEAD) else { return body };
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    for stale in ["accept-ranges", "digest", "content-digest", "content-md5"] {
        headers.remove(stale);
    }
    headers.remove(header::CONTENT_LENGTH);
    weaken(headers);
    Body::Streamed(Box::new(Compressed::new(coding, body)))
}

fn may_be_compressed(policy: &Compression, status: StatusCode, headers: &HeaderMap, body: &Body) -> bool {
    // A 206 has ranges of the bytes that were (RFC 9110 §14.4).
    let whole = !status.is_informational()
        && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED | StatusCode::PARTIAL_CONTENT);
    let no_transform = || {
        let values = headers.get_all(header::CACHE_CONTROL).iter();
        values.filter_map(|value| value.to_str().ok()).any(|value| value.to_ascii_lowercase().contains("no-transform"))
    };
    whole
        && body.len().is_none_or(|length| length >= policy.min_length)
        && !headers.contains_key(header::CONTENT_ENCODING)
        && headers.get(header::CONTENT_TYPE).is_some_and(|value| is_listed(policy, value))
        && !no_transform()
}

fn is_listed(policy: &Compression, value: &HeaderValue) -> bool {
    let Ok(value) = value.to_str() else { return false };
    let kind = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    // Each message of these has its moment.
    if kind == "text/event-stream" || kind.starts_with("application/grpc") {
        return false;
    }
    policy.types.iter().any(|listed| match listed.strip_suffix('*') {
        Some(start) => kind.starts_with(start),
        None => kind == *listed,
    })
}

/// The coding that the client likes best; of equal ones the configuration's first. A coding that is not named is not used,
/// unless `*` is.
fn negotiate(policy: &Compression, request: &HeaderMap) -> Option<Coding> {
    let mut best: Option<(Coding, f32)> = None;
    for coding in &policy.codings {
        let quality = quality(request, coding.name());
        if quality > best.map_or(0.0, |(_, quality)| quality) {
            best = Some((*coding, quality));
        }
    }
    best.map(|(coding, _)| coding)
}

fn quality(request: &HeaderMap, name: &str) -> f32 {
    let (mut named, mut any) = (None, None);
    let values = request.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    for element in values.flat_map(|value| value.split(',')) {
        let mut parts = element.split(';').map(str::trim);
        let coding = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let weight = weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0));
        if coding.eq_ignore_ascii_case(name) || (name == "gzip" && coding.eq_ignore_ascii_case("x-gzip")) {
            named = Some(weight);
        } else if coding == "*" {
            any = Some(weight);
        }
    }
    named.or(any).unwrap_or(0.0)
}

fn vary(headers: &mut HeaderMap) {
    let said = headers.get_all(header::VARY).iter().filter_map(|value| value.to_str().ok());
    let mut fields = said.flat_map(|value| value.split(',')).map(str::trim);
    if !fields.any(|field| field == "*" || field.eq_ignore_ascii_case("accept-encoding")) {
        headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
}

/// The bytes are others than those that a strong validator spoke of (RFC 9110 §8.8.1), as in nginx.
fn weaken(headers: &mut HeaderMap) {
    let Some(tag) = headers.get(header::ETAG).map(HeaderValue::as_bytes).filter(|tag| !tag.starts_with(b"W/")) else {
        return;
    };
    match HeaderValue::from_bytes(&[b"W/", tag].concat()) {
        Ok(weak) => headers.insert(header::ETAG, weak),
        Err(_) => headers.remove(header::ETAG),
    };
}

/// A body that is compressed as it comes.
struct Compressed {
    source: Body,
    encoder: Pin<Box<dyn AsyncWrite>>,
    out: Output,
    /// Whether the encoder may hold bytes back.
    holds: bool,
    done: bool,
}

/// Where the encoder writes to; never full.
#[derive(Clone, Default)]
struct Output(Rc<RefCell<BytesMut>>);

/// Enough for a piece: more is not waited for.
const PIECE: usize = 16 * 1024;

impl Compressed {
    fn new(coding: Coding, source: Body) -> Compressed {
        let out = Output::default();
        let encoder: Pin<Box<dyn AsyncWrite>> = match coding {
            // The levels at which the coder keeps up with a network: nginx has gzip at 1 to 6 in practice, brotli's own
            // default of 11 is for files. A window of 512 KiB bounds what one answer holds.
            Coding::Gzip => Box::pin(GzipEncoder::with_quality(out.clone(), Level::Precise(5))),
            Coding::Zstd => Box::pin(ZstdEncoder::with_quality(out.clone(), Level::Precise(3))),
            Coding::Brotli => {
                let parameters = EncoderParams::default().quality(Level::Precise(4)).window_size(19);
                Box::pin(BrotliEncoder::with_params(out.clone(), parameters))
            }
        };
        Compressed { source, encoder, out, holds: false, done: false }
    }

    fn piece(&mut self) -> Option<Bytes> {
        let mut out = self.out.0.borrow_mut();
        (!out.is_empty()).then(|| out.split().freeze())
    }
}

/// Runs a write to [`Output`], which is always ready.
fn at_once(written: Option<io::Result<()>>) -> Result<(), BodyError> {
    let stuck = || Err(io::ErrorKind::WouldBlock.into());
    written.unwrap_or_else(stuck).map_err(|error| BodyError::Upstream(Box::new(error)))
}

impl HttpBody for Compressed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        while !this.done && this.out.0.borrow().len() < PIECE {
            match Pin::new(&mut this.source).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else { continue };
                    at_once(this.encoder.write_all(&data).now_or_never())?;
                    this.holds = true;
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => {
                    at_once(this.encoder.shutdown().now_or_never())?;
                    this.done = true;
                }
                Poll::Pending => {
                    if std::mem::take(&mut this.holds) {
                        at_once(this.encoder.flush().now_or_never())?;
                    }
                    return match this.piece() {
                        Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
                        None => Poll::Pending,
                    };
                }
            }
        }
        Poll::Ready(this.piece().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.done && self.out.0.borrow().is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl AsyncWrite for Output {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(accepted: &str) -> &'static str {
        let policy = Compression {
            codings: vec![Coding::Zstd, Coding::Brotli, Coding::Gzip],
            min_length: 0,
            types: vec!["text/*".to_owned()],
        };
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_str(accepted).expect("a value"));
        negotiate(&policy, &headers).map_or("none", Coding::name)
    }

    #[test]
    fn the_client_chooses_by_weight_and_the_gateway_among_equals() {
        for (accepted, expected) in [
            ("", "none"),
            ("gzip", "gzip"),
            ("gzip, deflate, br, zstd", "zstd"),
            ("gzip;q=1.0, br;q=0.5", "gzip"),
            ("br;q=0, *", "zstd"),
            ("zstd;q=0, *;q=0.3", "br"),
            ("identity", "none"),
            ("gzip;q=0", "none"),
            ("GZIP", "gzip"),
            ("x-gzip", "gzip"),
            ("gzip;q=nonsense", "none"),
        ] {
            assert_eq!(chosen(accepted), expected, "{accepted}");
        }
    }
}
