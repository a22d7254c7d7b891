//! The chunked coding (RFC 9112 §7.1), read strictly and written plainly.
//!
//! A pure machine over bytes: where the input is split makes no difference. Extensions are checked, counted and dropped
//! (§7.1.1), trailers are checked, counted and kept (§7.1.2). Bare line feeds, spaces around sizes and oversized numbers are refused,
//! since parsers that disagree about them are how a response gets split in two.

use std::io::Write;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

/// How many bytes of extensions and trailers a body may carry, all chunks together; hyper's limit.
const MAX_OVERHEAD: usize = 16 * 1024;

/// How many trailer fields a body may carry.
const MAX_TRAILERS: usize = 64;

/// What [`ChunkedDecoder::decode`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes of the body; never empty.
    Data(Bytes),
    /// All input was used, more is needed.
    More,
    /// The body is over; what is left in the buffer is not part of it.
    End,
}

/// Why a chunked body is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadChunk {
    #[error("malformed chunk size, at byte {0:#04x}")]
    Size(u8),
    #[error("the chunk size does not fit into 64 bits")]
    SizeOverflow,
    #[error("malformed chunk extension, at byte {0:#04x}")]
    Extension(u8),
    #[error("a chunk does not end in cr lf, but in byte {0:#04x}")]
    DataEnd(u8),
    #[error("malformed trailer, at byte {0:#04x}")]
    Trailer(u8),
    #[error("malformed trailers, or more than {MAX_TRAILERS}")]
    Trailers,
    #[error("more than {MAX_OVERHEAD} bytes of chunk extensions and trailers")]
    Overhead,
}

#[derive(Debug, Default)]
pub struct ChunkedDecoder {
    state: State,
    /// The trailer section, as it came.
    trailers: Vec<u8>,
    overhead: usize,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// Before the first digit of a size.
    #[default]
    SizeStart,
    Size(u64),
    /// White space after a size, which must lead to a `;`.
    SizeSpace(u64),
    Extension(u64),
    SizeLineFeed(u64),
    Data(u64),
    DataReturn,
    DataLineFeed,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLineFeed,
    EndLineFeed,
    End,
}

impl ChunkedDecoder {
    /// Takes as much from the front of `input` as belongs to one piece.
    pub fn decode(&mut self, input: &mut BytesMut) -> Result<Piece, BadChunk> {
        let mut used = 0;
        while used < input.len() || matches!(self.state, State::End) {
            match self.state {
                State::End => {
                    input.advance(used);
                    return Ok(Piece::End);
                }
                State::Data(left) => {
                    input.advance(used);
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                    let left = left - here as u64;
                    self.state = if left == 0 { State::DataReturn } else { State::Data(left) };
                    return Ok(Piece::Data(input.split_to(here).freeze()));
                }
                state => {
                    self.state = self.step(state, input[used])?;
                    if matches!(self.state, State::TrailerName | State::TrailerValue | State::TrailerLineFeed)
                        || matches!(state, State::TrailerLineFeed)
                    {
                        self.trailers.push(input[used]);
                    }
                }
            }
            used += 1;
        }
        input.clear();
        Ok(Piece::More)
    }

    /// The trailer fields of a body that has ended.
    ///
    /// # Errors
    /// There are more of them than a head may have fields.
    pub fn take_trailers(&mut self) -> Result<Option<HeaderMap>, BadChunk> {
        if self.trailers.is_empty() {
            return Ok(None);
        }
        let mut section = std::mem::take(&mut self.trailers);
        section.extend_from_slice(b"\r\n");
        let mut lines = [httparse::EMPTY_HEADER; MAX_TRAILERS];
        let parsed = httparse::parse_headers(&section, &mut lines).map_err(|_| BadChunk::Trailers)?;
        let httparse::Status::Complete((_, lines)) = parsed else { return Err(BadChunk::Trailers) };
        let mut fields = HeaderMap::with_capacity(lines.len());
        for line in lines {
            let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| BadChunk::Trailers)?;
            fields.append(name, HeaderValue::from_bytes(line.value).map_err(|_| BadChunk::Trailers)?);
        }
        Ok(Some(fields))
    }

    /// The state after one byte of framing.
    fn step(&mut self, state: State, byte: u8) -> Result<State, BadChunk> {
        Ok(match (state, byte) {
            (State::SizeStart, _) => State::Size(digit(byte).ok_or(BadChunk::Size(byte))?),
            (State::Size(size), b'\r') => State::SizeLineFeed(size),
            (State::Size(size), b';') => State::Extension(size),
            (State::Size(size), b' ' | b'\t') => State::SizeSpace(size),
            (State::Size(size), _) => {
                let digit = digit(byte).ok_or(BadChunk::Size(byte))?;
                // Counted, so that leading zeros cannot go on for ever.
                self.count()?;
                let size = size.checked_mul(16).ok_or(BadChunk::SizeOverflow)?;
                State::Size(size | digit)
            }
            // §7.1.1 has "bad" white space before a `;` only; Apache once padded sizes, nobody does now.
            (State::SizeSpace(size), b';') => State::Extension(size),
            (State::SizeSpace(size), b' ' | b'\t') => {
                self.count()?;
                State::SizeSpace(size)
            }
            (State::SizeSpace(_), _) => return Err(BadChunk::Size(byte)),
            (State::Extension(size), b'\r') => State::SizeLineFeed(size),
            (State::Extension(size), b'\t' | 0x20..=0x7e | 0x80..) => {
                self.count()?;
                State::Extension(size)
            }
            (State::Extension(_), _) => return Err(BadChunk::Extension(byte)),
            (State::SizeLineFeed(0), b'\n') => State::TrailerStart,
            (State::SizeLineFeed(size), b'\n') => State::Data(size),
            (State::SizeLineFeed(_), _) => return Err(BadChunk::Size(byte)),
            (State::DataReturn, b'\r') => State::DataLineFeed,
            (State::DataLineFeed, b'\n') => State::SizeStart,
            (State::DataReturn | State::DataLineFeed, _) => return Err(BadChunk::DataEnd(byte)),
            (State::TrailerStart, b'\r') => State::EndLineFeed,
            (State::TrailerName, b':') => {
                self.count()?;
                State::TrailerValue
            }
            (State::TrailerStart | State::TrailerName, _) if is_token(byte) => {
                self.count()?;
                State::TrailerName
            }
            (State::TrailerStart | State::TrailerName, _) => return Err(BadChunk::Trailer(byte)),
            (State::TrailerValue, b'\r') => State::TrailerLineFeed,
            (State::TrailerValue, b'\t' | 0x20..=0x7e | 0x80..) => {
                self.count()?;
                State::TrailerValue
            }
            (State::TrailerLineFeed, b'\n') => State::TrailerStart,
            (State::TrailerValue | State::TrailerLineFeed, _) => {
                return Err(BadChunk::Trailer(byte));
            }
            (State::EndLineFeed, b'\n') => State::End,
            (State::EndLineFeed, _) => return Err(BadChunk::Trailer(byte)),
            (State::Data(_) | State::End, _) => state,
        })
    }

    fn count(&mut self) -> Result<(), BadChunk> {
        self.overhead += 1;
        if self.overhead > MAX_OVERHEAD {
            return Err(BadChunk::Overhead);
        }
        Ok(())
    }
}

fn digit(byte: u8) -> Option<u64> {
    char::from(byte).to_digit(16).map(u64::from)
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What stands between the bytes of a chunk and the next size.
pub const CHUNK_END: &[u8] = b"\r\n";
/// The last chunk, without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
/// Both of these.
pub const CHUNK_END_AND_LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";

/// Writes the last chunk with trailer fields.
pub fn write_trailers(out: &mut Vec<u8>, fields: &HeaderMap) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in fields {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes the line that stands before a chunk of `size` bytes. A chunk of 0 bytes would end the body: never ask for one.
pub fn write_size(out: &mut Vec<u8>, size: usize) {
    debug_assert!(size > 0);
    // Writing to a Vec does not fail.
    let _ = write!(out, "{size:x}\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Feeds the pieces one after another; gives the body and what was left, or the error.
    fn run<'i>(pieces: impl IntoIterator<Item = &'i [u8]>) -> Result<(Vec<u8>, String), BadChunk> {
        let mut decoder = ChunkedDecoder::default();
        let (mut input, mut body) = (BytesMut::new(), Vec::new());
        let mut state = "more";
        for piece in pieces {
            input.extend_from_slice(piece);
            loop {
                match decoder.decode(&mut input)? {
                    Piece::Data(data) => body.extend_from_slice(&data),
                    Piece::More => break,
                    Piece::End => {
                        state = "end";
                        break;
                    }
                }
            }
        }
        let rest = String::from_utf8_lossy(&input);
        Ok((body, format!("{state}{rest}")))
    }

    #[test]
    fn bodies_are_decoded_to_their_end_and_not_further() {
        for (input, body, end) in [
            ("0\r\n\r\n", "", "end"),
            ("3\r\nabc\r\n0\r\n\r\nHTTP/1.1", "abc", "endHTTP/1.1"),
            ("A;x=\"y\"\r\n0123456789\r\n00\r\nETag: x\r\nB:\r\n\r\n", "0123456789", "end"),
            ("1 \t;x\r\na\r\n1\r\nb\r\n", "ab", "more"),
            ("ff", "", "more"),
        ] {
            let decoded = run([input.as_bytes()]).unwrap();
            assert_eq!(decoded, (body.into(), end.to_owned()), "{input}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for (input, expected) in [
            ("\r\n", "malformed chunk size, at byte 0x0d"),
            (" 1\r\n", "malformed chunk size, at byte 0x20"),
            ("+1\r\n", "malformed chunk size, at byte 0x2b"),
            ("0x1\r\n", "malformed chunk size, at byte 0x78"),
            ("1\n", "malformed chunk size, at byte 0x0a"),
            ("1\rX", "malformed chunk size, at byte 0x58"),
            ("1 \r\n", "malformed chunk size, at byte 0x0d"),
            ("1;a\nb", "malformed chunk extension, at byte 0x0a"),
            ("1\r\nabc", "a chunk does not end in cr lf, but in byte 0x62"),
            ("1\r\na\n", "a chunk does not end in cr lf, but in byte 0x0a"),
            ("0\r\n fold", "malformed trailer, at byte 0x20"),
            ("0\r\na\r\n", "malformed trailer, at byte 0x0d"),
            ("0\r\na b", "malformed trailer, at byte 0x20"),
            ("0\r\na: b\n", "malformed trailer, at byte 0x0a"),
            ("0\r\n\rx", "malformed trailer, at byte 0x78"),
            ("10000000000000000\r\n", "the chunk size does not fit into 64 bits"),
        ] {
            let error = run([input.as_bytes()]).unwrap_err();
            assert_eq!(error.to_string(), expected, "{input:?}");
        }
        for start in ["0\r\nx:", "1;", "1 ", "0"] {
            let filler = if start == "0" { "0" } else { " " };
            let endless = format!("{start}{}", filler.repeat(MAX_OVERHEAD + 2));
            assert_eq!(run([endless.as_bytes()]), Err(BadChunk::Overhead));
        }
    }

    proptest! {
        #[test]
        fn splitting_the_input_changes_nothing(
            chunks in prop::collection::vec((1usize..40, "(;[a-z=]{0,5})?"), 0..5),
            damage in prop::option::of((0usize..200, any::<u8>())),
            splits in prop::collection::vec(0usize..250, 0..6),
        ) {
            let mut input = Vec::new();
            for (size, extension) in &chunks {
                input.extend(format!("{size:X}{extension}\r\n{}\r\n", "x".repeat(*size)).bytes());
            }
            input.extend(b"0\r\nA: b\r\n\r\nrest");
            if let Some((at, byte)) = damage {
                let at = at % input.len();
                input[at] = byte;
            }
            let whole = run([&input[..]]);
            prop_assert_eq!(&run(input.chunks(1)), &whole);
            let mut at: Vec<_> = splits.iter().map(|at| at % (input.len() + 1)).collect();
            at.extend([0, input.len()]);
            at.sort_unstable();
            prop_assert_eq!(&run(at.windows(2).map(|ends| &input[ends[0]..ends[1]])), &whole);
        }

        #[test]
        fn any_bytes_are_taken_without_panic(input in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = run(input.chunks(7));
        }
    }
}
