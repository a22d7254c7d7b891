//! Heads as clients send them, whole and in pieces, and all that is refused.

use super::*;
use proptest::prelude::*;

const LIMITS: HeadLimits = HeadLimits { bytes: 200, fields: 5 };

/// Feeds the pieces one after another; tells what was read and what was left, or why it was refused.
fn run<'i>(pieces: impl IntoIterator<Item = &'i [u8]>) -> String {
    let (mut reader, mut input) = (RequestReader::default(), BytesMut::new());
    let mut found = None;
    for piece in pieces {
        input.extend_from_slice(piece);
        if found.is_none() {
            match reader.read(&mut input, LIMITS, HeaderMap::new) {
                Ok(head) => found = head,
                Err(refusal) => return format!("{} {refusal}", refusal.status.as_u16()),
            }
        }
    }
    let Some(head) = found else { return "incomplete".to_owned() };
    let RequestHead { parts, framing, .. } = &head;
    let flags = [
        (head.keeps_alive, " kept"),
        (head.expects_continue, " expects"),
        (head.takes_trailers, " trailers"),
        (head.upgrades, " upgrades"),
    ];
    let flags: String = flags.iter().filter(|(is, _)| *is).map(|(_, text)| *text).collect();
    format!("{} {} {:?} {framing:?}{flags} rest {input:?}", parts.method, parts.uri, parts.version)
}

#[test]
fn heads_are_read() {
    for (head, expected) in [
        ("GET / HTTP/1.1\r\n\r\nabc", "GET / HTTP/1.1 None kept rest b\"abc\""),
        ("\r\nGET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1 None kept rest b\"\""),
        ("GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.0 None rest b\"\""),
        ("GET / HTTP/1.0\r\nConnection: x, Keep-Alive\r\n\r\n", "GET / HTTP/1.0 None kept rest b\"\""),
        ("GET / HTTP/1.1\r\nConnection: Close\r\n\r\n", "GET / HTTP/1.1 None rest b\"\""),
        ("OPTIONS * HTTP/1.1\r\n\r\n", "OPTIONS * HTTP/1.1 None kept rest b\"\""),
        ("GET http://a/b?c HTTP/1.1\r\n\r\n", "GET http://a/b?c HTTP/1.1 None kept rest b\"\""),
        ("PUT / HTTP/1.1\r\ncontent-length: 03\r\n\r\n", "PUT / HTTP/1.1 Length(3) kept rest b\"\""),
        ("PUT / HTTP/1.1\r\ntransfer-encoding: Chunked\r\n\r\n", "PUT / HTTP/1.1 Chunked kept rest b\"\""),
        (
            "PUT / HTTP/1.1\r\nExpect: 100-Continue\r\nTE: gzip, trailers\r\nUpgrade: x\r\nContent-Length: 1\r\n\r\n",
            "PUT / HTTP/1.1 Length(1) kept expects trailers upgrades rest b\"\"",
        ),
        ("PUT / HTTP/1.0\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n", "PUT / HTTP/1.0 Length(1) rest b\"\""),
        ("GET / HTTP/1.1\r\nA: b\r\n", "incomplete"),
        ("\r", "incomplete"),
        ("", "incomplete"),
    ] {
        assert_eq!(run([head.as_bytes()]), expected, "{head:?}");
    }
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let line = "GET / HTTP/1.1\r\n";
    for (head, expected) in [
        ("GET / HTTP/1.1\n\n".to_owned(), "400 a line of the request head does not end in cr lf"),
        (format!("{line}A: b\n\r\n"), "400 a line of the request head does not end in cr lf"),
        (format!("{line}A: b\r\n\n"), "400 a line of the request head does not end in cr lf"),
        ("\r\n\r\nGET / HTTP/1.1\r\n\r\n".to_owned(), "400 the request line is malformed"),
        ("\rGET / HTTP/1.1\r\n\r\n".to_owned(), "400 the request line is malformed"),
        ("\nGET / HTTP/1.1\r\n\r\n".to_owned(), "400 the request line is malformed"),
        (" GET / HTTP/1.1\r\n\r\n".to_owned(), "400 the request line is malformed"),
        ("\x16\x03\x01".to_owned(), "400 the request line is malformed"),
        ("GET  / HTTP/1.1\r\n\r\n".to_owned(), "400 the request line is malformed"),
        ("GET /\r\n\r\n".to_owned(), "400 the request line is malformed"),
        ("GET / HTTP/1.1 \r\n\r\n".to_owned(), "400 the request line is malformed"),
        ("GET / http/1.1\r\n\r\n".to_owned(), "400 the request line is malformed"),
        ("GE(T / HTTP/1.1\r\n\r\n".to_owned(), "400 the request line is malformed"),
        ("GET / HTTP/1.2\r\n\r\n".to_owned(), "505 the version of http is neither 1.0 nor 1.1"),
        ("PRI * HTTP/2.0\r\n\r\n".to_owned(), "505 the version of http is neither 1.0 nor 1.1"),
        ("GET /#a HTTP/1.1\r\n\r\n".to_owned(), "400 the request target has a fragment"),
        ("GET /a b HTTP/1.1\r\n\r\n".to_owned(), "400 the request line is malformed"),
        (format!("{line}A: b\r\n c\r\n\r\n"), "400 a header name is malformed"),
        (format!("{line} A: b\r\n\r\n"), "400 a header name is malformed"),
        (format!("{line}A : b\r\n\r\n"), "400 a header name is malformed"),
        (format!("{line}A\r\n\r\n"), "400 a header name is malformed"),
        (format!("{line}: b\r\n\r\n"), "400 a header name is malformed"),
        (format!("{line}A: b\0c\r\n\r\n"), "400 a header value is malformed"),
        (format!("{line}A: b\rc\r\n\r\n"), "400 a header value is malformed"),
        (format!("{line}Content-Length: +5\r\n\r\n"), "400 the content-length is not one number"),
        (format!("{line}Content-Length: 5,5\r\n\r\n"), "400 the content-length is not one number"),
        (format!("{line}Content-Length: 0x5\r\n\r\n"), "400 the content-length is not one number"),
        (format!("{line}Content-Length: \r\n\r\n"), "400 the content-length is not one number"),
        (format!("{line}Content-Length: 18446744073709551616\r\n\r\n"), "400 the content-length is not one number"),
        (format!("{line}Content-Length: 5\r\nContent-Length: 5\r\n\r\n"), "400 the content-length is not one number"),
        (
            format!("{line}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
            "400 both content-length and transfer-encoding",
        ),
        (format!("{line}Transfer-Encoding: gzip, chunked\r\n\r\n"), "501 the transfer-encoding is not `chunked` alone"),
        (format!("{line}Transfer-Encoding: gzip\r\n\r\n"), "400 the transfer-encoding does not end in `chunked`"),
        (
            format!("{line}Transfer-Encoding: chunked, gzip\r\n\r\n"),
            "400 the transfer-encoding does not end in `chunked`",
        ),
        (
            format!("{line}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
            "501 the transfer-encoding is not `chunked` alone",
        ),
        ("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(), "400 transfer-encoding in http/1.0"),
        (format!("{line}{}\r\n", "A: b\r\n".repeat(6)), "431 the request has too many header fields"),
        (format!("{line}A: {}", "b".repeat(200)), "431 the request head is too large"),
        (format!("GET /{}", "b".repeat(200)), "414 the request line is too long"),
    ] {
        assert_eq!(run([head.as_bytes()]), expected, "{head:?}");
    }
}

proptest! {
    #[test]
    fn splitting_the_input_changes_nothing(
        fields in prop::collection::vec(("[A-Za-z-]{1,8}", "[ -~]{0,20}"), 0..4),
        damage in prop::option::of((0usize..200, any::<u8>())),
        splits in prop::collection::vec(0usize..250, 0..6),
    ) {
        let mut input = b"\r\nPOST /a?b HTTP/1.1\r\n".to_vec();
        for (name, value) in &fields {
            input.extend(format!("{name}: {value}\r\n").bytes());
        }
        input.extend(b"\r\nrest");
        if let Some((at, byte)) = damage {
            let at = at % input.len();
            input[at] = byte;
        }
        let whole = run([&input[..]]);
        // Refusals of one byte come before those of the whole head: which of them is told may differ, that one is told may not.
        let kind = |text: &str| text.get(..3).map(|start| start.parse::<u16>().is_ok()).filter(|refused| *refused).map_or(text.to_owned(), |_| "refused".to_owned());
        prop_assert_eq!(kind(&run(input.chunks(1))), kind(&whole));
        let mut at: Vec<_> = splits.iter().map(|at| at % (input.len() + 1)).collect();
        at.extend([0, input.len()]);
        at.sort_unstable();
        prop_assert_eq!(kind(&run(at.windows(2).map(|ends| &input[ends[0]..ends[1]]))), kind(&whole));
    }

    #[test]
    fn any_bytes_are_taken_without_panic(input in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = run(input.chunks(7));
    }
}
