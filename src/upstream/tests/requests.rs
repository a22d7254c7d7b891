//! Request bodies: how they are framed, streamed, interrupted and kept for another try.

use super::*;

#[tokio::test]
async fn a_small_body_leaves_with_its_head() {
    let target = Target::play(&[&[Read("abc"), Write(OK_HELLO)]]).await;
    let pool = Pool::default();
    let mut body = Body::from("abc");
    let response = send(&pool, &target, Method::POST, &mut body).await.unwrap();
    assert_eq!(response.into_body().collect(5).await.unwrap(), "hello");
    assert_eq!(body.collect(3).await.unwrap(), "abc");
    assert_eq!(target.received(pool).await, ["POST /x HTTP/1.1\r\nhost: t\r\ncontent-length: 3\r\n\r\nabc"]);
}

#[tokio::test]
async fn a_body_of_unknown_length_is_sent_in_chunks() {
    let target = Target::play(&[&[Read("0\r\n\r\n"), Write(OK_HELLO)]]).await;
    let pool = Pool::default();
    let mut body = Body::Streamed(Box::new(Pieces { left: vec!["abc", "", "0123456789"], then_hangs: false }));
    let response = send(&pool, &target, Method::POST, &mut body).await.unwrap();
    assert_eq!(response.into_body().collect(5).await.unwrap(), "hello");
    assert_eq!(
        target.received(pool).await,
        ["POST /x HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n\
          3\r\nabc\r\na\r\n0123456789\r\n0\r\n\r\n"]
    );
}

#[tokio::test]
async fn an_early_answer_counts_and_its_connection_is_closed() {
    let early = "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig";
    for steps in [&[Read("abc\r\n"), Write(early)][..], &[Read("abc\r\n"), Write(early), Close]] {
        let target = Target::play(&[steps]).await;
        let pool = Pool::default();
        let mut body = Body::Streamed(Box::new(Pieces { left: vec!["abc"], then_hangs: true }));
        let response = send(&pool, &target, Method::POST, &mut body).await.unwrap();
        assert_eq!(response.status().as_u16(), 413);
        assert_eq!(response.into_body().collect(5).await.unwrap(), "big");
        assert_eq!(pool.idle(), 0);
        let received = target.received(pool).await;
        assert!(received[0].ends_with("3\r\nabc\r\n"), "{received:?}");
    }
}

#[tokio::test]
async fn an_unreachable_target_leaves_the_body_in_place() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let origin = Arc::new(Origin::new("127.0.0.1", port).unwrap());
    let mut body = Body::Streamed(Box::new(Pieces { left: vec!["abc"], then_hangs: false }));
    let headers = HeaderMap::new();
    let request = Request {
        origin: &origin,
        method: &Method::POST,
        target: "/",
        host: None,
        headers: &headers,
        upgrade: None,
        interim: None,
        body: &mut body,
    };
    let error = Pool::default().send(request, &short()).await.unwrap_err();
    let expected = format!("127.0.0.1:{port}: connecting: Connection refused (os error 111)");
    assert_eq!(error.to_string(), expected);
    assert!(error.may_retry(false));
    assert_eq!(body.collect(3).await.unwrap(), "abc");
}

/// A request body of zeros that counts how far it was read.
struct Zeros {
    piece: Bytes,
    left: usize,
    taken: Rc<Cell<usize>>,
}

impl HttpBody for Zeros {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let here = self.left.min(self.piece.len());
        if here == 0 {
            return Poll::Ready(None);
        }
        self.left -= here;
        self.taken.set(self.taken.get() + here);
        Poll::Ready(Some(Ok(Frame::data(self.piece.slice(..here)))))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.left as u64)
    }
}

#[tokio::test]
async fn large_bodies_stream_both_ways_at_the_pace_of_the_slower_side() {
    const SIZE: usize = 48 << 20;
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 50331648\r\n\r\n";
    let target = Target::play(&[&[
        Read(HEAD_END),
        Write(head),
        Swallow(SIZE / 2),
        Flood(SIZE / 2),
        Swallow(SIZE / 2),
        Flood(SIZE / 2),
        Read(HEAD_END),
        Write(OK_HELLO),
    ]])
    .await;
    let pool = Pool::default();
    let taken = Rc::new(Cell::new(0));
    let mut body =
        Body::Streamed(Box::new(Zeros { piece: Bytes::from(vec![0; 50_000]), left: SIZE, taken: taken.clone() }));
    let response = send(&pool, &target, Method::POST, &mut body).await.unwrap();
    assert!(taken.get() < SIZE, "the request waits for the target to read it");
    let mut body = response.into_body();
    assert_eq!(body.len(), Some(SIZE as u64));
    let (mut read, mut largest) = (0, 0);
    while let Some(frame) = http_body_util::BodyExt::frame(&mut body).await {
        let data = frame.unwrap().into_data().unwrap();
        read += data.len();
        largest = largest.max(data.len());
    }
    assert_eq!((read, taken.get()), (SIZE, SIZE));
    assert!(largest <= 128 * 1024, "a frame of {largest} bytes");
    assert_eq!(pool.idle(), 1);
    assert_eq!(get(&pool, &target).await, "200 hello");
}

#[tokio::test]
async fn a_body_that_is_gone_forbids_another_try() {
    let bad = "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n";
    let target = Target::play(&[&[Read("0\r\n\r\n"), Write(bad)]]).await;
    let mut body = Body::Streamed(Box::new(Pieces { left: vec!["abc"], then_hangs: false }));
    let sent = send(&Pool::default(), &target, Method::PUT, &mut body).await;
    let error = sent.unwrap_err();
    assert_eq!(text(&error, &target), "T: waiting for the response: the response content-length `x` is not one number");
    assert_eq!((error.body_consumed, error.may_retry(true)), (true, false));
}
