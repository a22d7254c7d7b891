//! What connections of one worker lend each other: buffers, maps of headers, and the date.
//!
//! A connection that waits for a request holds none of them, and one that has a request seldom allocates any. Everything here has a
//! most, so that a busy moment is not remembered for ever.

use bytes::BytesMut;
use http::HeaderMap;
use std::{
    cell::{Cell, RefCell},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// How much is read at once, and how large a buffer is when it is made.
pub(super) const READ: usize = 8 * 1024;
const MAX_SPARE: usize = 64;
/// Larger ones are given up.
const MAX_OUTPUT: usize = 32 * 1024;
const MAX_MAP: usize = 64;

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7).
const DATE_LENGTH: usize = 29;

/// Of one worker.
#[derive(Default)]
pub struct Spares {
    inputs: RefCell<Vec<BytesMut>>,
    outputs: RefCell<Vec<Vec<u8>>>,
    maps: RefCell<Vec<HeaderMap>>,
    /// The date, and the second since 1970 that it is of.
    date: Cell<(u64, [u8; DATE_LENGTH])>,
}

impl Spares {
    pub(super) fn input(&self) -> BytesMut {
        self.inputs.borrow_mut().pop().unwrap_or_default()
    }

    /// Its bytes may still be in use elsewhere: then it is made anew when it is needed again.
    pub(super) fn give_input(&self, input: BytesMut) {
        let mut spare = self.inputs.borrow_mut();
        if input.is_empty() && input.capacity() <= 2 * READ && spare.len() < MAX_SPARE {
            spare.push(input);
        }
    }

    pub(super) fn output(&self) -> Vec<u8> {
        self.outputs.borrow_mut().pop().unwrap_or_default()
    }

    pub(super) fn give_output(&self, mut output: Vec<u8>) {
        let mut spare = self.outputs.borrow_mut();
        if output.capacity() <= MAX_OUTPUT && spare.len() < MAX_SPARE {
            output.clear();
            spare.push(output);
        }
    }

    pub(super) fn map(&self) -> HeaderMap {
        self.maps.borrow_mut().pop().unwrap_or_default()
    }

    pub(super) fn give_map(&self, mut map: HeaderMap) {
        let mut spare = self.maps.borrow_mut();
        if map.capacity() <= MAX_MAP && spare.len() < MAX_SPARE {
            map.clear();
            spare.push(map);
        }
    }

    /// The time of now, written once a second.
    pub(super) fn date(&self) -> [u8; DATE_LENGTH] {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let (of, date) = self.date.get();
        if of == seconds {
            return date;
        }
        let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
        let date = text.as_bytes().try_into().unwrap_or(date);
        self.date.set((seconds, date));
        date
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_has_the_form_that_heads_want() {
        let spares = Spares::default();
        let date = spares.date();
        let text = std::str::from_utf8(&date).unwrap();
        let time = httpdate::parse_http_date(text).unwrap();
        assert!(SystemTime::now().duration_since(time).unwrap() < Duration::from_secs(60), "{text}");
        assert_eq!(spares.date().len(), date.len());
    }
}
