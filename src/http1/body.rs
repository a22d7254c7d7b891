//! Takes a message's body out of the bytes that follow its head (RFC 9112 §6).
//!
//! How it is framed was decided by whoever read the head; this only follows it, for requests and responses alike.

use super::chunked::{BadChunk, ChunkedDecoder, Piece};
use crate::http::trailers;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;

/// Takes the body of a message from the bytes that follow its head.
#[derive(Debug)]
pub enum BodyDecoder {
    /// So many bytes are still to come.
    Length(u64),
    Chunked(ChunkedDecoder),
    /// All bytes until the other end closes; such a connection is never used again.
    UntilClose,
}

/// What a read of the body gave.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded {
    /// All bytes of the body that were at hand; may be empty.
    pub data: Bytes,
    pub ended: bool,
    /// Fields that came behind a chunked body, policed.
    pub trailers: Option<Box<HeaderMap>>,
}

impl BodyDecoder {
    /// Takes what there is of the body from the front of `input`. Small chunks are joined into one piece.
    pub fn decode(&mut self, input: &mut BytesMut) -> Result<Decoded, BadChunk> {
        match self {
            BodyDecoder::Length(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= here as u64;
                Ok(Decoded { data: input.split_to(here).freeze(), ended: *left == 0, trailers: None })
            }
            BodyDecoder::Chunked(decoder) => decode_chunks(decoder, input),
            BodyDecoder::UntilClose => Ok(Decoded { data: input.split().freeze(), ended: false, trailers: None }),
        }
    }

    /// The number of bytes still to come, when it is known.
    pub fn left(&self) -> Option<u64> {
        match self {
            BodyDecoder::Length(left) => Some(*left),
            BodyDecoder::Chunked(_) | BodyDecoder::UntilClose => None,
        }
    }
}

fn decode_chunks(decoder: &mut ChunkedDecoder, input: &mut BytesMut) -> Result<Decoded, BadChunk> {
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    let ended = loop {
        match decoder.decode(input)? {
            Piece::Data(data) if first.is_empty() => first = data,
            Piece::Data(data) => {
                if joined.is_empty() {
                    joined.extend_from_slice(&first);
                }
                joined.extend_from_slice(&data);
            }
            Piece::More => break false,
            Piece::End => break true,
        }
    };
    let data = if joined.is_empty() { first } else { joined.freeze() };
    let mut trailers = if ended { decoder.take_trailers()? } else { None };
    if let Some(fields) = &mut trailers {
        trailers::police(fields);
    }
    Ok(Decoded { data, ended, trailers: trailers.filter(|fields| !fields.is_empty()).map(Box::new) })
}
