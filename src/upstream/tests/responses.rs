//! Responses of every kind, and what is made of those that are none.

use super::*;

#[tokio::test]
async fn every_framing_is_read_and_its_connection_used_again() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                   5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nTrailer: x\r\n\r\n";
    let target = Target::play(&[&[
        Read(HEAD_END),
        Write(OK_HELLO),
        Read(HEAD_END),
        Dribble(OK_HELLO),
        Read(HEAD_END),
        Write(chunked),
        Read(HEAD_END),
        Dribble(chunked),
        Read(HEAD_END),
        Write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        Read(HEAD_END),
        Write("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
        Read(HEAD_END),
        Write("HTTP/1.1 204 No Content\r\n\r\n"),
        Read(HEAD_END),
        Write("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"),
        Write(OK_HELLO),
    ]])
    .await;
    let pool = Pool::default();
    assert_eq!(get(&pool, &target).await, "200 hello");
    assert_eq!(get(&pool, &target).await, "200 hello");
    assert_eq!(get(&pool, &target).await, "200 hello!");
    assert_eq!(get(&pool, &target).await, "200 hello!");
    assert_eq!(exchange(&pool, &target, Method::HEAD).await, "200 ");
    assert_eq!(get(&pool, &target).await, "304 ");
    assert_eq!(get(&pool, &target).await, "204 ");
    assert_eq!(get(&pool, &target).await, "200 hello");
    assert_eq!(pool.idle(), 1);
    let head = GET.replace("GET", "HEAD");
    assert_eq!(target.received(pool).await, [[GET, GET, GET, GET, &head, GET, GET, GET].concat()]);
}

#[tokio::test]
async fn a_body_without_length_ends_with_the_connection() {
    let target = Target::play(&[&[Read(HEAD_END), Write("HTTP/1.1 200 OK\r\n\r\nhel"), Write("lo"), Close]]).await;
    let pool = Pool::default();
    assert_eq!(get(&pool, &target).await, "200 hello");
    assert_eq!(pool.idle(), 0);
}

#[tokio::test]
async fn a_response_that_breaks_off_or_makes_no_sense_is_an_error() {
    let waiting = "T: waiting for the response: ";
    let reading = "200 reading the response body: T: reading the response body: ";
    for (response, expected) in [
        ("", format!("{waiting}the connection was closed")),
        ("HTTP/1.1 200 OK\r\nA: ", format!("{waiting}the connection was closed")),
        ("220 smtp.example ESMTP\r\n", format!("{waiting}the response is not http/1.x")),
        ("HTTP/1.1 101 Switching\r\n\r\n", format!("{waiting}the response switches protocols unasked")),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            format!("{waiting}the response has both content-length and transfer-encoding"),
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", format!("{reading}the connection was closed")),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            format!("{reading}the connection was closed"),
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            format!("{waiting}malformed chunk size, at byte 0x7a"),
        ),
    ] {
        let target = Target::play(&[&[Read(HEAD_END), Write(response), Close]]).await;
        let pool = Pool::default();
        assert_eq!(get(&pool, &target).await, expected, "{response}");
        assert_eq!(pool.idle(), 0);
    }
}

#[tokio::test]
async fn endless_interim_responses_are_refused() {
    let three: &str = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 102 Wait\r\n\r\n";
    let mut steps = vec![Read(HEAD_END)];
    steps.extend(vec![Write(three); 6]);
    let target = Target::play(&[&steps]).await;
    let expected = "T: waiting for the response: more than 16 interim responses";
    assert_eq!(get(&Pool::default(), &target).await, expected);
}

#[tokio::test]
async fn a_reset_is_told() {
    let target = Target::play(&[&[Read(HEAD_END), Reset]]).await;
    assert_eq!(
        get(&Pool::default(), &target).await,
        "T: waiting for the response: Connection reset by peer (os error 104)"
    );
}

#[test]
fn any_answer_is_taken_without_panic_and_leaves_no_bytes_behind() {
    use proptest::prelude::*;

    let parts = prop::sample::select(vec![
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 100 Continue\r\n",
        "HTTP/1.1 204 No Content\r\n",
        "HTTP/1.0 200\r\n",
        "Content-Length: 3\r\n",
        "Content-Length: 0\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Connection: keep-alive\r\n",
        "\r\n",
        "abc",
        "3\r\nabc\r\n",
        "0\r\n\r\n",
        "\n",
        "\0",
    ]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) };
    proptest!(config, |(rest in prop::collection::vec(parts, 0..8))| {
        runtime.block_on(async {
            let mut steps = vec![Read(HEAD_END), Write("HTTP/1.1 200 OK\r\n")];
            steps.extend(rest.iter().map(|part| Write(part)));
            steps.push(Close);
            let target = Target::play(&[&steps]).await;
            let pool = Pool::default();
            let told = get(&pool, &target).await;
            if told.starts_with("200 ") && pool.idle() == 1 {
                prop_assert!(["200 ", "200 abc", "200 abcabc"].contains(&&*told), "{}", told);
            }
            Ok(())
        })?;
    });
}
