//! When a connection is used again, and when it must not be.

use super::*;

#[tokio::test]
async fn a_connection_that_may_hold_more_is_closed() {
    for first in [
        // The body of a 204, a second response, and bytes after the last chunk.
        "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nHTTP/",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    ] {
        let target = Target::play(&[&[Read(HEAD_END), Write(first)], &[Read(HEAD_END), Write(OK_HELLO)]]).await;
        let pool = Pool::default();
        let status = &first[9..12];
        assert_eq!(get(&pool, &target).await, format!("{status} "));
        assert_eq!(pool.idle(), 0, "{first}");
        assert_eq!(get(&pool, &target).await, "200 hello");
        assert_eq!(target.received(pool).await, [GET, GET]);
    }
}

#[tokio::test]
async fn bytes_that_come_while_a_connection_rests_condemn_it() {
    let target = Target::play(&[
        &[Read(HEAD_END), Write(OK_HELLO), Write("HTTP/1.1 200 OK\r\n"), Write("\r\n"), Close],
        &[Read(HEAD_END), Write(OK_HELLO)],
    ])
    .await;
    let pool = Pool::default();
    // Read in pieces, so that the poison is not yet there when the response ends.
    assert_eq!(get(&pool, &target).await, "200 hello");
    until(|| {
        pool.sweep(false);
        pool.idle() == 0
    })
    .await;
    assert_eq!(get(&pool, &target).await, "200 hello");
    assert_eq!(target.received(pool).await, [GET, GET]);
}

#[tokio::test]
async fn a_stale_connection_costs_a_second_try_only_when_that_is_harmless() {
    let closes_on_second: &[Step] = &[Read(HEAD_END), Write(OK_HELLO), Read(HEAD_END), Close];
    let answers: &[Step] = &[Read(HEAD_END), Write(OK_HELLO)];
    let answers_post: &[Step] = &[Read("abc"), Write(OK_HELLO)];

    let target = Target::play(&[closes_on_second, answers]).await;
    let pool = Pool::default();
    assert_eq!(get(&pool, &target).await, "200 hello");
    assert_eq!(get(&pool, &target).await, "200 hello");
    assert_eq!(target.received(pool).await, [[GET, GET].concat(), GET.to_owned()]);

    // Once a byte of a POST has left, nobody knows what became of it.
    let target = Target::play(&[closes_on_second]).await;
    let pool = Pool::default();
    assert_eq!(get(&pool, &target).await, "200 hello");
    let mut body = Body::Empty;
    let error = send(&pool, &target, Method::POST, &mut body).await.unwrap_err();
    assert_eq!(text(&error, &target), "T: waiting for the response: the connection was closed");
    assert!(!error.may_retry(false));

    // A connection that was closed while it rested is never used.
    let target = Target::play(&[&[Read(HEAD_END), Write(OK_HELLO), Close], answers_post]).await;
    let pool = Pool::default();
    assert_eq!(get(&pool, &target).await, "200 hello");
    until(|| pool.idle_and_quiet() == 0).await;
    assert_eq!(pool.idle(), 1);
    let mut body = Body::from("abc");
    let response = send(&pool, &target, Method::POST, &mut body).await.unwrap();
    assert_eq!(response.into_body().collect(5).await.unwrap(), "hello");
}

#[tokio::test]
async fn dropping_an_exchange_closes_its_connection() {
    let target = Target::play(&[&[Read(HEAD_END), Write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")]]).await;
    let pool = Pool::default();
    let response = send(&pool, &target, Method::GET, &mut Body::Empty).await.unwrap();
    drop(response);
    assert_eq!(pool.idle(), 0);
    // Ends only when the connection does, although the pool is still here.
    assert_eq!(target.playing.await.unwrap(), [GET]);

    let target = Target::play(&[&[Read(HEAD_END)]]).await;
    {
        let mut body = Body::Empty;
        let mut sending = std::pin::pin!(send(&pool, &target, Method::GET, &mut body));
        std::future::poll_fn(|cx| {
            assert!(sending.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
    }
    target.playing.await.unwrap();
    assert_eq!(pool.idle(), 0);
}

#[tokio::test]
async fn connections_that_are_old_are_closed_and_the_older_half_when_descriptors_run_out() {
    let answers: &[Step] = &[Read(HEAD_END), Write(OK_HELLO)];
    let target = Target::play(&[answers, answers, answers]).await;
    let pool = Pool::new(Duration::ZERO);
    let (mut one, mut two, mut three) = (Body::Empty, Body::Empty, Body::Empty);
    let (one, two, three) = tokio::join!(
        send(&pool, &target, Method::GET, &mut one),
        send(&pool, &target, Method::GET, &mut two),
        send(&pool, &target, Method::GET, &mut three),
    );
    assert_eq!((one.is_ok(), two.is_ok(), three.is_ok(), pool.idle()), (true, true, true, 3));
    assert_eq!((pool.shed(), pool.idle()), (true, 1));
    assert!(pool.take(&target.origin, Instant::now()).is_none());
    assert_eq!((pool.shed(), pool.idle()), (false, 0));
    assert_eq!(target.playing.await.unwrap(), [GET, GET, GET]);
}
