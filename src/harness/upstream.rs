//! A service of a gateway under test: a listener on the loopback interface that answers what the test declared.
//!
//! A real connection and not a stand-in for one: what the gateway sends, how it pools, retries and times out are its own. The tasks end
//! with the [`Upstream`].

use super::fakes::{Fakes, Reply};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use std::{io, net::Ipv4Addr, rc::Rc};
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};

pub struct Upstream {
    pub name: String,
    pub port: u16,
    task: JoinHandle<()>,
}

impl Upstream {
    /// # Errors
    /// When there is no free port.
    pub async fn start(name: &str, fakes: &Rc<Fakes>) -> io::Result<Upstream> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let task = tokio::task::spawn_local(accept(listener, Rc::from(name), fakes.clone()));
        Ok(Upstream { name: name.to_owned(), port, task })
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, name: Rc<str>, fakes: Rc<Fakes>) {
    // Dropped with this task, and the connections with it.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (name, fakes) = (name.clone(), fakes.clone());
        let service = hyper::service::service_fn(move |request| answer(name.clone(), fakes.clone(), request));
        connections.spawn_local(async move {
            // A connection that is closed on purpose ends with an error.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    name: Rc<str>,
    fakes: Rc<Fakes>,
    request: http::Request<Incoming>,
) -> Result<http::Response<Full<Bytes>>, io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let closed = || io::Error::other("closed on purpose");
    let reply = fakes.called(&head.method, &format!("svc://{name}{path}"), &head.headers, &body).ok_or_else(closed)?;
    tokio::time::sleep(reply.delay).await;
    let Reply { status, headers, body, fail: false, .. } = reply else { return Err(closed()) };
    let mut response = http::Response::new(Full::new(body));
    *response.status_mut() = http::StatusCode::from_u16(status).map_err(io::Error::other)?;
    *response.headers_mut() = headers;
    Ok(response)
}
