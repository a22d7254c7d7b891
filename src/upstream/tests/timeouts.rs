//! Slowness, told by the step in which it happens.

use super::*;

#[tokio::test]
async fn slowness_is_told_by_its_step() {
    let brief = Duration::from_millis(30);
    let hangs: &[Step] = &[Read(HEAD_END)];

    let target = Target::play(&[hangs]).await;
    let timeouts = Timeouts { first_byte: brief, read: brief, ..short() };
    let pool = Pool::default();
    let sent = send_within(&pool, &target, Method::GET, &mut Body::Empty, timeouts).await;
    let error = sent.unwrap_err();
    assert_eq!(text(&error, &target), "T: waiting for the response: timed out");
    assert_eq!(error.status().as_u16(), 504);
    assert_eq!(target.received(pool).await, [GET]);

    let target = Target::play(&[&[Read(HEAD_END), Write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")]]).await;
    let pool = Pool::default();
    let sent = send_within(&pool, &target, Method::GET, &mut Body::Empty, timeouts).await;
    let error = sent.unwrap().into_body().collect(5).await.unwrap_err();
    assert_eq!(text(&error, &target), "reading the response body: T: reading the response body: timed out");
    assert_eq!(error.status().as_u16(), 504);

    // A client that stops sending is not the target's fault, and only the deadline ends it.
    let target = Target::play(&[hangs]).await;
    let pool = Pool::default();
    let timeouts = Timeouts { deadline: Some(Instant::now() + 3 * brief), ..timeouts };
    let mut body = Body::Streamed(Box::new(Pieces { left: vec!["abc"], then_hangs: true }));
    let sent = send_within(&pool, &target, Method::POST, &mut body, timeouts).await;
    let error = sent.unwrap_err();
    assert_eq!(text(&error, &target), "T: sending the request: the client was too slow to send the request body");
    assert_eq!((error.status().as_u16(), error.body_consumed), (408, true));
}

#[tokio::test]
async fn a_target_that_does_not_read_is_a_write_timeout() {
    let timeouts = Timeouts { write: Duration::from_millis(30), ..short() };
    let pool = Pool::default();
    // More than any socket buffer holds.
    let mut body = Body::full(vec![b'x'; 64 << 20]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let silent = Target {
        origin: Arc::new(Origin::new("127.0.0.1", port).unwrap()),
        playing: tokio::spawn(async { Vec::new() }),
        played: watch::channel(0).1,
    };
    let sent = send_within(&pool, &silent, Method::PUT, &mut body, timeouts).await;
    let error = sent.unwrap_err();
    assert_eq!(text(&error, &silent), "T: sending the request: timed out");
    assert!(!error.body_consumed);
    assert_eq!(body.len(), Some(64 << 20));
}

#[tokio::test]
async fn a_timer_kept_from_an_earlier_exchange_tells_the_right_time() {
    let target =
        Target::play(&[&[Read(HEAD_END), Dribble(OK_HELLO), Read(HEAD_END), Write("HTTP/1.1 200 OK\r\n")]]).await;
    let pool = Pool::default();
    let long = get(&pool, &target).await;
    assert_eq!(long, "200 hello");
    let started = Instant::now();
    let brief = Timeouts { first_byte: Duration::from_millis(30), ..short() };
    let sent = send_within(&pool, &target, Method::GET, &mut Body::Empty, brief).await;
    assert_eq!(text(&sent.unwrap_err(), &target), "T: waiting for the response: timed out");
    let took = started.elapsed();
    assert!(took >= brief.first_byte && took < short().read, "{took:?}");
}

#[tokio::test]
async fn the_deadline_ends_a_body_that_never_pauses() {
    let target = Target::play(&[&[
        Read(HEAD_END),
        Write("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"),
        Flood(99_999_999_999),
    ]])
    .await;
    let timeouts = Timeouts { deadline: Some(Instant::now() + Duration::from_millis(50)), ..short() };
    let pool = Pool::default();
    let sent = send_within(&pool, &target, Method::GET, &mut Body::Empty, timeouts).await;
    let mut body = sent.unwrap().into_body();
    let error = loop {
        if let Err(error) = http_body_util::BodyExt::frame(&mut body).await.unwrap() {
            break error;
        }
    };
    assert_eq!(text(&error, &target), "reading the response body: T: reading the response body: timed out");
}

/// The body of an answer of some kinds outlasts the deadline, when streams may.
#[tokio::test]
async fn only_a_stream_by_its_kind_goes_on_behind_the_deadline() {
    for (kind, lasts) in [
        ("Content-Type: text/event-stream\r\n", true),
        ("Content-Type: Text/Event-Stream; charset=utf-8\r\n", true),
        ("Content-Type: application/grpc+proto\r\n", true),
        ("Content-Type: text/html\r\n", false),
    ] {
        // More than is read at once.
        let (begin, end) = ("Transfer-Encoding: chunked\r\n\r\n100000\r\n", "\r\n0\r\n\r\n");
        let steps =
            [Read(HEAD_END), Write("HTTP/1.1 200 OK\r\n"), Write(kind), Write(begin), Flood(0x10_0000), Write(end)];
        let target = Target::play(&[&steps]).await;
        let deadline = Instant::now() + Duration::from_millis(50);
        let timeouts = Timeouts { deadline: Some(deadline), streams_last: true, ..short() };
        let pool = Pool::default();
        let sent = send_within(&pool, &target, Method::GET, &mut Body::Empty, timeouts).await;
        tokio::time::sleep_until(deadline).await;
        let body = http_body_util::BodyExt::collect(sent.unwrap().into_body()).await;
        assert_eq!(body.is_ok(), lasts, "{kind}");
    }
}
