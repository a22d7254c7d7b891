//! The checks of `fuzz/`, on inputs that are made up here: good ones, the same damaged, and noise.

#[path = "../../fuzz/checks.rs"]
mod checks;

use proptest::{collection::vec, prelude::*, sample::select};

const HEADS: &[&str] = &[
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "\r\nGET http://a?b HTTP/1.0\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "POST /a?b=c HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nX: \t y \r\n\r\nabc",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n0\r\n\r\n",
];
const OF_HEADS: &[&str] = &[
    "\r",
    "\n",
    "\r\n",
    " ",
    "\t",
    ":",
    "\0",
    "\u{b}",
    "\u{7f}",
    "é",
    "#",
    "HTTP/1.0",
    "HTTP/1.2",
    "Content-Length: 3\r\n",
    "Content-Length: +3\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "\r\n x",
    ",",
    "X:\r\n",
];
const BODIES: &[&str] = &[
    "0\r\n\r\n",
    "3\r\nabc\r\n0\r\n\r\nrest",
    "000000000000000000000a;x\r\n0123456789\r\n0\r\n\r\n",
    "00a;x=\"y\"\r\n0123456789\r\n1 ;z\r\n!\r\n0;e\r\n\r\n",
    "1\r\nx\r\n0\r\nA: b\r\nC-D:\te \r\n\r\nGET / HTTP/1.1\r\n",
];
const OF_BODIES: &[&str] =
    &["\r", "\n", "\r\n", " ", ";", "0", "f", "-1", "0x", "+", "ffffffffffffffff", "\0", ":", "é", "0\r\n", "\r\n\r\n"];
const PATHS: &[&str] =
    &["/", "/a/b?c", "/a/./b/.", "/%41%2d%c3%a9/~", "/a;b=c/{d}?e=%2f#f", "http://a/b", "*", "/é", "/?\u{9c}"];
const OF_PATHS: &[&str] = &[
    "/", ".", "..", "%2e", "%2E", ";", "%3b", "%2f", "%5C", "\\", "%00", "%", "?", "#", "//", "\n", "%c0%ae", "é",
    "%25",
];

/// A good one in which some places were overwritten by pieces or bytes, or left out.
fn damaged(good: &'static [&'static str], pieces: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => select(pieces).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..3),
    ];
    (select(good), vec((any::<prop::sample::Index>(), 0usize..4, piece), 0..4)).prop_map(|(good, damages)| {
        let mut input = good.as_bytes().to_vec();
        for (at, over, piece) in damages {
            let at = at.index(input.len() + 1);
            let end = (at + over).min(input.len());
            input.splice(at..end, piece);
        }
        input
    })
}

#[test]
fn what_is_good_is_accepted_however_it_is_sliced() {
    for seed in 0..=255 {
        let check =
            |check: fn(&[u8]) -> bool, text: &str| assert!(check(&[&[seed], text.as_bytes()].concat()), "{text:?}");
        HEADS.iter().for_each(|head| check(checks::request_head, head));
        BODIES.iter().for_each(|body| check(checks::chunked_body, body));
    }
    PATHS.iter().for_each(|path| assert!(checks::path(path.as_bytes()), "{path}"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn damaged_heads_are_read_in_one_way(seed: u8, head in damaged(HEADS, OF_HEADS)) {
        checks::request_head(&[&[seed], &head[..]].concat());
    }

    #[test]
    fn damaged_bodies_are_read_in_one_way(seed: u8, body in damaged(BODIES, OF_BODIES)) {
        checks::chunked_body(&[&[seed], &body[..]].concat());
    }

    #[test]
    fn damaged_paths_have_one_meaning(path in damaged(PATHS, OF_PATHS)) {
        checks::path(&path);
    }

    #[test]
    fn noise_is_read_in_one_way(noise in vec(any::<u8>(), 0..64)) {
        checks::request_head(&noise);
        checks::chunked_body(&noise);
        checks::path(&noise);
    }
}
