//! HTTP/1.1 on the wire: pure machines over bytes, for the server towards clients and the client towards targets.
//!
//! On this line requests get smuggled, so that everything which two parties could read differently is refused and nothing is
//! repaired (RFC 9112 §2.2, §6.3, §11.2). Where the input is split makes no difference. Nothing here reads or writes sockets.

pub mod body;
pub mod chunked;
pub mod gathered;
pub mod request;
pub mod response;

/// The first line feed at `from` or behind that ends a head, or follows no carriage return. The first two bytes are none.
///
/// Three comparisons for each byte, of which the processor does sixteen at once: less than a search for each line's end.
pub fn odd_line_feed(input: &[u8], from: usize) -> Option<usize> {
    const BLOCK: usize = 64;
    let is_odd = |(first, (second, third)): (&u8, (&u8, &u8))| {
        u8::from(*third == b'\n') & (u8::from(*second != b'\r') | u8::from(*first == b'\n'))
    };
    let mut begin = from.max(2);
    while begin < input.len() {
        let end = input.len().min(begin + BLOCK);
        let around = || input[begin - 2..].iter().zip(input[begin - 1..].iter().zip(&input[begin..end]));
        if around().fold(0, |found, each| found | is_odd(each)) != 0 {
            return around().position(|each| is_odd(each) != 0).map(|at| begin + at);
        }
        begin = end;
    }
    None
}

#[cfg(test)]
mod fuzzed;
