//! Where a message body ends (RFC 9112 §6), and whether the connection outlives it (§9.3).
//!
//! Everything that two parties could understand differently is refused, also where the RFC allows to repair it: a target
//! that sends such a response is broken or hostile, and a wrong guess shifts every later response on the connection.

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use http::{Method, StatusCode};

use super::error::BadResponse;
use super::head::ResponseHead;
use crate::http::Body;
use crate::http1::body::BodyDecoder;
use crate::http1::chunked::ChunkedDecoder;

/// How a request announces its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestFraming {
    None,
    Length(u64),
    Chunked,
}

impl RequestFraming {
    /// The framing for this body. RFC 9110 §8.6: methods that usually carry a body say so when it is empty.
    pub fn of(method: &Method, body: &Body) -> RequestFraming {
        match body.len() {
            Some(0) if matches!(*method, Method::POST | Method::PUT | Method::PATCH) => RequestFraming::Length(0),
            Some(0) => RequestFraming::None,
            Some(length) => RequestFraming::Length(length),
            None => RequestFraming::Chunked,
        }
    }
}

/// RFC 9112 §6.3, in its order.
pub fn decoder(method: &Method, head: &ResponseHead) -> Result<BodyDecoder, BadResponse> {
    if let Some(passed) = &head.passed {
        return Ok(BodyDecoder::Length(passed.length));
    }
    let length = content_length(head)?;
    // A look at the few names costs a third of a search for one that is seldom there.
    let coded = head.headers.keys().any(|name| *name == TRANSFER_ENCODING);
    let chunked = coded && is_chunked(head)?;
    if chunked && length.is_some() {
        return Err(BadResponse::TwoLengths);
    }
    let without_body = *method == Method::HEAD
        || head.status.is_informational()
        || head.status == StatusCode::NO_CONTENT
        || head.status == StatusCode::NOT_MODIFIED;
    Ok(match length {
        _ if without_body => BodyDecoder::Length(0),
        _ if chunked => BodyDecoder::Chunked(ChunkedDecoder::default()),
        Some(length) => BodyDecoder::Length(length),
        None => BodyDecoder::UntilClose,
    })
}

/// One number of digits only, once. RFC 9110 §8.6 would let a repeated equal one pass.
fn content_length(head: &ResponseHead) -> Result<Option<u64>, BadResponse> {
    let mut values = head.headers.get_all(CONTENT_LENGTH).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let bad = || {
        let all: Vec<_> = head.headers.get_all(CONTENT_LENGTH).iter().map(text).collect();
        BadResponse::ContentLength(all.join(", "))
    };
    if values.next().is_some() {
        return Err(bad());
    }
    // `parse` alone would take "+5".
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let length = digits.and_then(|digits| digits.parse().ok());
    length.map(Some).ok_or_else(bad)
}

/// §6.1: no `TE` was sent, so the only coding a target may apply is `chunked`, and only in HTTP/1.1.
fn is_chunked(head: &ResponseHead) -> Result<bool, BadResponse> {
    let mut values = head.headers.get_all(TRANSFER_ENCODING).iter();
    let Some(value) = values.next() else {
        return Ok(false);
    };
    let chunked = value.as_bytes().eq_ignore_ascii_case(b"chunked");
    if !chunked || values.next().is_some() || head.minor_version == 0 {
        let all: Vec<_> = head.headers.get_all(TRANSFER_ENCODING).iter().map(text).collect();
        return Err(BadResponse::TransferEncoding(all.join(", ")));
    }
    Ok(true)
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// §9.3: whether the target keeps the connection open after this response.
pub fn keeps_alive(head: &ResponseHead) -> bool {
    let mut kept = head.minor_version == 1;
    if head.passed.is_some() {
        return kept;
    }
    for value in head.headers.get_all(CONNECTION) {
        for option in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if option.eq_ignore_ascii_case(b"close") {
                return false;
            }
            kept |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::head::HeadReader;
    use bytes::BytesMut;

    fn framing(method: &str, head: &str) -> String {
        let mut input = BytesMut::from(head.replace('\n', "\r\n").as_bytes());
        let head = HeadReader::default().read(&mut input).unwrap().unwrap();
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let kept = if keeps_alive(&head) { "keep" } else { "close" };
        match decoder(&method, &head) {
            Ok(BodyDecoder::Length(length)) => format!("{length} {kept}"),
            Ok(BodyDecoder::Chunked(_)) => format!("chunked {kept}"),
            Ok(BodyDecoder::UntilClose) => format!("until close {kept}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_end_of_a_body_is_known() {
        for (method, head, expected) in [
            ("GET", "HTTP/1.1 200 OK\nContent-Length: 5\n\n", "5 keep"),
            ("GET", "HTTP/1.1 200 OK\nContent-Length: 5\nConnection: x, Close\n\n", "5 close"),
            ("GET", "HTTP/1.0 200 OK\nContent-Length: 5\n\n", "5 close"),
            ("GET", "HTTP/1.0 200 OK\nContent-Length: 5\nConnection: Keep-Alive\n\n", "5 keep"),
            ("GET", "HTTP/1.1 200 OK\nTransfer-Encoding: Chunked\n\n", "chunked keep"),
            ("GET", "HTTP/1.1 200 OK\n\n", "until close keep"),
            ("HEAD", "HTTP/1.1 200 OK\nContent-Length: 5\n\n", "0 keep"),
            ("HEAD", "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n", "0 keep"),
            ("GET", "HTTP/1.1 204 OK\nContent-Length: 5\n\n", "0 keep"),
            ("GET", "HTTP/1.1 304 OK\nContent-Length: 5\n\n", "0 keep"),
            ("GET", "HTTP/1.1 100 OK\n\n", "0 keep"),
        ] {
            assert_eq!(framing(method, head), expected, "{method} {head}");
        }
    }

    #[test]
    fn doubtful_framing_is_refused() {
        for (headers, expected) in [
            ("Content-Length: 5\nContent-Length: 5", "the response content-length `5, 5` is not one number"),
            ("Content-Length: 5, 5", "the response content-length `5, 5` is not one number"),
            ("Content-Length: +5", "the response content-length `+5` is not one number"),
            ("Content-Length: -5", "the response content-length `-5` is not one number"),
            ("Content-Length: 0x5", "the response content-length `0x5` is not one number"),
            ("Content-Length:", "the response content-length `` is not one number"),
            (
                "Content-Length: 18446744073709551616",
                "the response content-length `18446744073709551616` is not one number",
            ),
            (
                "Content-Length: 5\nTransfer-Encoding: chunked",
                "the response has both content-length and transfer-encoding",
            ),
            (
                "Transfer-Encoding: gzip, chunked",
                "the response transfer-encoding `gzip, chunked` is not `chunked` alone in http/1.1",
            ),
            (
                "Transfer-Encoding: chunked\nTransfer-Encoding: chunked",
                "the response transfer-encoding `chunked, chunked` is not `chunked` alone in http/1.1",
            ),
            (
                "Transfer-Encoding: identity",
                "the response transfer-encoding `identity` is not `chunked` alone in http/1.1",
            ),
        ] {
            let head = format!("HTTP/1.1 200 OK\n{headers}\n\n");
            assert_eq!(framing("GET", &head), expected);
            assert_eq!(framing("HEAD", &head), expected);
        }
        assert_eq!(
            framing("GET", "HTTP/1.0 200 OK\nTransfer-Encoding: chunked\n\n"),
            "the response transfer-encoding `chunked` is not `chunked` alone in http/1.1"
        );
    }

    #[test]
    fn requests_announce_their_bodies() {
        assert_eq!(RequestFraming::of(&Method::GET, &Body::Empty), RequestFraming::None);
        assert_eq!(RequestFraming::of(&Method::POST, &Body::Empty), RequestFraming::Length(0));
        assert_eq!(RequestFraming::of(&Method::GET, &Body::from("abc")), RequestFraming::Length(3));
    }
}
