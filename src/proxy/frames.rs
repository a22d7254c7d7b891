//! Where the frames of a WebSocket end (RFC 6455 §5.2), so that one can be put between two of what passes.
//!
//! It reads the heads of frames and counts off the rest: nothing of messages, extensions or text. A control frame may stand
//! between any two frames, those of one message included (§5.4).

/// Two bytes, up to eight more of length, four of mask.
const MAX_HEAD: usize = 14;
const CLOSE: u8 = 8;

/// Follows one direction of a WebSocket.
#[derive(Debug, Default)]
pub struct Follower {
    head: [u8; MAX_HEAD],
    /// Bytes of `head` that are here.
    have: usize,
    /// Bytes of the frame that are still to come, once its head is here.
    left: u64,
    closed: bool,
}

impl Follower {
    /// Follows up to the end of a frame, at most; gives how many of the bytes that were.
    pub fn one(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while self.left == 0 && at < bytes.len() {
            self.head[self.have] = bytes[at];
            self.have += 1;
            at += 1;
            if self.have < self.head_length() {
                continue;
            }
            self.left = self.length();
            self.closed |= self.head[0] & 0x0f == CLOSE;
            if self.left == 0 {
                self.have = 0;
                return at;
            }
        }
        let rest = (bytes.len() - at) as u64;
        let taken = self.left.min(rest);
        self.left -= taken;
        if self.left == 0 && taken > 0 {
            self.have = 0;
        }
        at + taken as usize
    }

    pub fn all(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = &bytes[self.one(bytes)..];
        }
    }

    /// Whether the next byte begins a frame.
    pub fn is_between(&self) -> bool {
        self.have == 0
    }

    /// Whether a close frame has begun: no other may follow it (§5.5.1).
    pub fn has_closed(&self) -> bool {
        self.closed
    }

    fn head_length(&self) -> usize {
        if self.have < 2 {
            return 2;
        }
        let masked = if self.head[1] & 0x80 == 0 { 0 } else { 4 };
        let more = match self.head[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + more + masked
    }

    fn length(&self) -> u64 {
        match self.head[1] & 0x7f {
            126 => u64::from(u16::from_be_bytes([self.head[2], self.head[3]])),
            127 => {
                let mut length = [0; 8];
                length.copy_from_slice(&self.head[2..10]);
                u64::from_be_bytes(length)
            }
            short => u64::from(short),
        }
    }
}

/// 1001, "going away" (§7.4.1), as a server sends it.
pub const GOING_AWAY: [u8; 4] = [0x80 | CLOSE, 2, 0x03, 0xe9];

/// The same as a client sends it (§5.3).
pub fn going_away_masked(mask: [u8; 4]) -> [u8; 8] {
    let [first, length, high, low] = GOING_AWAY;
    [first, 0x80 | length, mask[0], mask[1], mask[2], mask[3], high ^ mask[0], low ^ mask[1]]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, length: &[u8], masked: bool, payload: usize) -> Vec<u8> {
        let mut frame = vec![first, length[0] | if masked { 0x80 } else { 0 }];
        frame.extend(&length[1..]);
        frame.extend(if masked { &[9, 8, 7, 6][..] } else { &[] });
        frame.extend(vec![0x88; payload]);
        frame
    }

    fn frames() -> Vec<Vec<u8>> {
        vec![
            frame(0x81, &[0], false, 0),
            frame(0x81, &[5], true, 5),
            frame(0x01, &[125], false, 125),
            frame(0x80, &[126, 0, 126], true, 126),
            frame(0x82, &[127, 0, 0, 0, 0, 0, 1, 0, 0], false, 65_536),
            frame(0x89, &[0], true, 0),
        ]
    }

    #[test]
    fn frames_end_where_they_end_however_they_come() {
        let whole = frames().concat();
        for piece in [1, 2, 3, 7, 100, whole.len()] {
            let (mut follower, mut ends, mut at) = (Follower::default(), Vec::new(), 0);
            for mut bytes in whole.chunks(piece) {
                while !bytes.is_empty() {
                    let count = follower.one(bytes);
                    at += count;
                    bytes = &bytes[count..];
                    if follower.is_between() {
                        ends.push(at);
                    }
                }
            }
            let mut sum = 0;
            let expected: Vec<usize> = frames().iter().map(|frame| (sum += frame.len(), sum).1).collect();
            assert_eq!(ends, expected, "in pieces of {piece}");
            assert!(!follower.has_closed());
        }
    }

    #[test]
    fn a_close_is_seen_and_made() {
        for close in [GOING_AWAY.to_vec(), going_away_masked([1, 2, 3, 4]).to_vec(), vec![0x88, 0]] {
            let mut follower = Follower::default();
            follower.all(&[frame(0x81, &[3], false, 3), close].concat());
            assert!(follower.has_closed() && follower.is_between());
        }
        assert_eq!(going_away_masked([1, 2, 3, 4]), [0x88, 0x82, 1, 2, 3, 4, 0x03 ^ 1, 0xe9 ^ 2]);
    }

    /// No length overflows anything.
    #[test]
    fn the_longest_frame_is_followed() {
        let mut follower = Follower::default();
        follower.all(&frame(0x82, &[127, 255, 255, 255, 255, 255, 255, 255, 255], true, 100));
        assert!(!follower.is_between());
        assert_eq!(follower.one(&[0; 1000]), 1000);
    }
}
