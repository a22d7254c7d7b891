//! The bytes of a message that wait for the socket: small pieces copied one behind the other, then a large one where it is.
//!
//! Both sides send so, and what goes in differs: [`crate::downstream`] and [`crate::upstream`] decide that.

use bytes::Bytes;
use std::io::IoSlice;

/// Pieces up to this size, in bytes, are copied, and gathering stops there: a copy of 8 KiB costs less than a second system call.
const COPIED: usize = 8 * 1024;

/// What was gathered, and how much of it is written.
#[derive(Debug)]
pub struct Gathered {
    /// The head, small pieces, and chunk sizes.
    pub bytes: Vec<u8>,
    /// A large piece that follows them, and what follows it.
    piece: Bytes,
    tail: &'static [u8],
    written: usize,
}

impl Gathered {
    /// Begins with a head.
    pub fn new(bytes: Vec<u8>) -> Gathered {
        Gathered { bytes, piece: Bytes::new(), tail: b"", written: 0 }
    }

    /// Adds a piece of a body and what ends it.
    pub fn add(&mut self, piece: Bytes, end: &'static [u8]) {
        if piece.len() <= COPIED {
            self.bytes.extend_from_slice(&piece);
            self.bytes.extend_from_slice(end);
        } else {
            self.piece = piece;
            self.tail = end;
        }
    }

    /// Whether all of it must be written before more is added.
    pub fn is_full(&self) -> bool {
        self.has_piece() || self.bytes.len() >= COPIED
    }

    /// Whether it ends with a large piece, so that only [`end_with`](Gathered::end_with) can change the end.
    pub fn has_piece(&self) -> bool {
        !self.piece.is_empty()
    }

    /// What stands behind the large piece.
    pub fn end_with(&mut self, tail: &'static [u8]) {
        self.tail = tail;
    }

    /// Whether nothing was added since it was cleared.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.piece.is_empty() && self.tail.is_empty()
    }

    /// Bytes that the socket has not taken.
    pub fn unwritten(&self) -> usize {
        self.bytes.len() + self.piece.len() + self.tail.len() - self.written
    }

    /// Whether some was written, and nothing is left.
    pub fn is_written(&self) -> bool {
        self.written > 0 && self.unwritten() == 0
    }

    /// What is left, for a write of several parts; how many of them there are.
    pub fn parts<'s>(&'s self, slices: &mut [IoSlice<'s>; 3]) -> usize {
        let mut skip = self.written;
        let mut count = 0;
        for part in [&self.bytes[..], &self.piece[..], self.tail] {
            let skipped = skip.min(part.len());
            skip -= skipped;
            if skipped < part.len() {
                slices[count] = IoSlice::new(&part[skipped..]);
                count += 1;
            }
        }
        count
    }

    /// What is left, when that is one part.
    pub fn only(&self) -> Option<&[u8]> {
        (self.piece.is_empty() && self.tail.is_empty()).then(|| &self.bytes[self.written..])
    }

    /// The socket took so many bytes.
    pub fn wrote(&mut self, count: usize) {
        self.written += count;
    }

    /// Begins again with the first byte.
    pub fn rewind(&mut self) {
        self.written = 0;
    }

    /// Empties it; the buffer stays.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.piece = Bytes::new();
        self.tail = b"";
        self.written = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_offered_once_wherever_writing_stopped() {
        let large = Bytes::from(vec![b'x'; COPIED + 1]);
        let mut gathered = Gathered::new(b"head ".to_vec());
        gathered.add(Bytes::from_static(b"small"), b"\r\n");
        gathered.add(large.clone(), b"\r\n");
        gathered.end_with(b"end");
        assert!(gathered.is_full() && gathered.only().is_none());
        let whole = [b"head small\r\n", &large[..], b"end"].concat();
        assert_eq!(gathered.unwritten(), whole.len());
        for step in [0, 3, 9, COPIED, 2] {
            gathered.wrote(step);
            let mut slices = [IoSlice::new(&[]); 3];
            let count = gathered.parts(&mut slices);
            let left: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
            assert_eq!(left, whole[whole.len() - gathered.unwritten()..]);
        }
        gathered.rewind();
        assert_eq!(gathered.unwritten(), whole.len());
        gathered.clear();
        assert_eq!((gathered.unwritten(), gathered.only()), (0, Some(&b""[..])));
    }
}
