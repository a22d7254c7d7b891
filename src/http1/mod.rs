//! HTTP/1.1 on the wire: pure machines over bytes, for the server towards clients and the client towards targets.
//!
//! On this line requests get smuggled, so that everything which two parties could read differently is refused and nothing is
//! repaired (RFC 9112 §2.2, §6.3, §11.2). Where the input is split makes no difference. Nothing here reads or writes sockets.

pub mod body;
pub mod chunked;
pub mod gathered;
pub mod request;
pub mod response;

/// As many bytes are looked at as one.
const BLOCK: usize = 32;

/// The first line feed at `from` or behind that ends a head, or follows no carriage return. The first two bytes are none.
///
/// Three comparisons for each byte, of which the processor does sixteen at once: less than a search for each line's end.
pub fn odd_line_feed(input: &[u8], from: usize) -> Option<usize> {
    let mut begin = from.max(2);
    while begin < input.len() {
        let end = input.len().min(begin + BLOCK);
        // The last block reaches back, over what is known to hold none: one that is shorter would be gone through byte by byte.
        let begun = if end - begin < BLOCK && end >= BLOCK + 2 { end - BLOCK } else { begin };
        let block = &input[begun - 2..end];
        if has_odd(block) {
            return block.windows(3).position(|three| is_odd(three[0], three[1], three[2]) != 0).map(|at| begun + at);
        }
        begin = end;
    }
    None
}

/// Whether one is in the block, of which the first two bytes are only there to be looked back at.
fn has_odd(block: &[u8]) -> bool {
    match <&[u8; BLOCK + 2]>::try_from(block) {
        Ok(block) => (2..BLOCK + 2).fold(0, |odd, at| odd | is_odd(block[at - 2], block[at - 1], block[at])) != 0,
        Err(_) => block.windows(3).any(|three| is_odd(three[0], three[1], three[2]) != 0),
    }
}

fn is_odd(first: u8, second: u8, third: u8) -> u8 {
    u8::from(third == b'\n') & (u8::from(second != b'\r') | u8::from(first == b'\n'))
}

#[cfg(test)]
mod fuzzed;
