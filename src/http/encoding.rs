//! `Content-Encoding`, undone for those who need to read a body (RFC 9110 §8.4).
//!
//! Bodies that nobody reads pass through encoded. Only decoding is here: a changed body is sent unencoded, see
//! [`super::content::replaced`]. The output is bounded while it is produced, so that a small bomb stays small.

use std::io;

use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use tokio::io::{AsyncRead, AsyncReadExt};

/// No honest sender applies more codings than this, and each one multiplies the work.
const MAX_CODINGS: usize = 3;

/// How much is decoded before other exchanges get a turn.
const TURN: usize = 64 * 1024;

/// Why a body could not be decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("the content-encoding `{0}` is not supported")]
    Unknown(String),
    #[error("the body has {0} content-encodings, at most {MAX_CODINGS} are undone")]
    TooMany(usize),
    #[error("the decoded body is longer than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the body is not valid {coding}: {source}")]
    Corrupt {
        coding: &'static str,
        #[source]
        source: io::Error,
    },
}

#[derive(Clone, Copy)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// Whether a `Content-Encoding` other than `identity` is declared.
pub fn is_encoded(headers: &HeaderMap) -> bool {
    declared(headers).next().is_some()
}

/// Undoes all codings that the headers declare: gzip, deflate (in its zlib wrapper, as RFC 9110 §8.4.1.2 has it),
/// br and zstd, also one upon another. A body without any is given back as it is.
///
/// # Errors
/// A coding that is not known, more than three of them, a result of more than `limit` bytes, or corrupt input.
pub async fn decode(headers: &HeaderMap, body: Bytes, limit: usize) -> Result<Bytes, DecodeError> {
    let mut codings = Vec::new();
    for name in declared(headers) {
        codings.push(Coding::parse(name)?);
    }
    if codings.len() > MAX_CODINGS {
        return Err(DecodeError::TooMany(codings.len()));
    }
    let mut decoded = body;
    // Listed in the order they were applied (RFC 9110 §8.4). An empty body, as after HEAD, holds nothing to undo.
    for coding in codings.into_iter().rev() {
        if !decoded.is_empty() {
            decoded = undo(coding, &decoded, limit).await?;
        }
    }
    Ok(decoded)
}

fn declared(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .flat_map(|value| value.to_str().unwrap_or("?").split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("identity"))
}

impl Coding {
    fn parse(name: &str) -> Result<Coding, DecodeError> {
        match name.to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Ok(Coding::Gzip),
            "deflate" => Ok(Coding::Deflate),
            "br" => Ok(Coding::Brotli),
            "zstd" => Ok(Coding::Zstd),
            _ => Err(DecodeError::Unknown(name.to_owned())),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Coding::Gzip => "gzip",
            Coding::Deflate => "deflate",
            Coding::Brotli => "br",
            Coding::Zstd => "zstd",
        }
    }
}

async fn undo(coding: Coding, body: &[u8], limit: usize) -> Result<Bytes, DecodeError> {
    match coding {
        Coding::Gzip => {
            let mut decoder = GzipDecoder::new(body);
            // RFC 1952 §2.2: a gzip file is a series of members.
            decoder.multiple_members(true);
            read(coding, decoder, limit).await
        }
        Coding::Deflate => read(coding, ZlibDecoder::new(body), limit).await,
        Coding::Brotli => read(coding, BrotliDecoder::new(body), limit).await,
        Coding::Zstd => read(coding, ZstdDecoder::new(body), limit).await,
    }
}

async fn read(coding: Coding, mut decoder: impl AsyncRead + Unpin, limit: usize) -> Result<Bytes, DecodeError> {
    let mut decoded = BytesMut::new();
    loop {
        decoded.reserve(TURN.min(limit.saturating_add(1) - decoded.len()));
        let read = decoder.read_buf(&mut decoded).await;
        let count = read.map_err(|source| DecodeError::Corrupt { coding: coding.name(), source })?;
        if count == 0 {
            return Ok(decoded.freeze());
        }
        if decoded.len() > limit {
            return Err(DecodeError::TooLarge { limit });
        }
        tokio::task::consume_budget().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_compression::tokio::bufread::{BrotliEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};
    use http::HeaderValue;

    fn headers(value: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(value));
        headers
    }

    async fn all(mut encoder: impl AsyncRead + Unpin) -> Vec<u8> {
        let mut encoded = Vec::new();
        encoder.read_to_end(&mut encoded).await.unwrap();
        encoded
    }

    #[tokio::test]
    async fn every_coding_and_a_chain_are_undone() {
        let text = "hello ".repeat(100);
        let gzip = all(GzipEncoder::new(text.as_bytes())).await;
        let both = all(BrotliEncoder::new(&gzip[..])).await;
        for (value, encoded) in [
            ("gzip", gzip.clone()),
            ("X-GZip", gzip),
            ("deflate", all(ZlibEncoder::new(text.as_bytes())).await),
            ("br", all(BrotliEncoder::new(text.as_bytes())).await),
            ("zstd", all(ZstdEncoder::new(text.as_bytes())).await),
            ("gzip, identity, br", both),
            ("identity", text.clone().into_bytes()),
        ] {
            let decoded = decode(&headers(value), Bytes::from(encoded), 1000).await;
            assert_eq!(decoded.unwrap(), text, "{value}");
        }
    }

    #[tokio::test]
    async fn bombs_and_rubbish_are_refused() {
        let bomb = all(GzipEncoder::new(&vec![0u8; 1 << 22][..])).await;
        for (value, body, expected) in [
            ("gzip", &bomb[..], "the decoded body is longer than 1000 bytes"),
            ("compress", b"x", "the content-encoding `compress` is not supported"),
            ("br, br, br, br", b"x", "the body has 4 content-encodings, at most 3 are undone"),
            ("gzip", &bomb[..100], "the body is not valid gzip: unexpected end of file"),
        ] {
            let limit = if body.len() == 100 { 1 << 23 } else { 1000 };
            let decoded = decode(&headers(value), Bytes::copy_from_slice(body), limit).await;
            assert_eq!(decoded.unwrap_err().to_string(), expected);
        }
    }
}
