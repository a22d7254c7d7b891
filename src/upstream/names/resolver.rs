//! Who is asked for addresses: the system (getaddrinfo), or DNS servers by a stub resolver of our own (RFC 1035).
//!
//! The stub asks for A and AAAA side by side, over UDP and, when an answer is cut short, over TCP (RFC 7766). It keeps nothing and
//! follows nothing: servers that are given must resolve recursively, as every `resolv.conf` expects of its own.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// For one server; glibc waits 5 s, but has one try less to make.
const PATIENCE: Duration = Duration::from_secs(2);
const A: u16 = 1;
const AAAA: u16 = 28;

#[derive(Clone, Debug, Default)]
pub enum Resolver {
    #[default]
    System,
    Servers(Arc<[SocketAddr]>),
}

impl Resolver {
    pub fn of(servers: &[SocketAddr]) -> Resolver {
        if servers.is_empty() { Resolver::System } else { Resolver::Servers(servers.into()) }
    }

    /// All addresses of a name, in any order.
    pub async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        match self {
            Resolver::System => Ok(tokio::net::lookup_host((host, 0)).await?.map(|found| found.ip()).collect()),
            // RFC 6761 §6.3: never asked for.
            Resolver::Servers(_) if host == "localhost" => {
                Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
            }
            Resolver::Servers(servers) => {
                let mut last = io::ErrorKind::NotFound.into();
                for server in servers.iter() {
                    match both(*server, host).await {
                        Ok(found) => return Ok(found),
                        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(error),
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
        }
    }
}

/// The addresses of both families. Servers that fail for AAAA alone are still around.
async fn both(server: SocketAddr, host: &str) -> io::Result<Vec<IpAddr>> {
    let (four, six) = futures_util::join!(ask(server, host, A), ask(server, host, AAAA));
    let mut found = four?;
    found.extend(six.unwrap_or_default());
    Ok(found)
}

async fn ask(server: SocketAddr, host: &str, kind: u16) -> io::Result<Vec<IpAddr>> {
    let id = random_id()?;
    let question = question(id, host, kind)?;
    let answer = timeout(PATIENCE, over_udp(server, &question)).await;
    let late = || io::Error::new(io::ErrorKind::TimedOut, format!("{server} does not answer"));
    let answer = answer.map_err(|_| late())??;
    match read(&answer, &question)? {
        Answer::Found(found) => Ok(found),
        Answer::Cut => {
            let answer = timeout(PATIENCE, over_tcp(server, &question)).await.map_err(|_| late())??;
            match read(&answer, &question)? {
                Answer::Found(found) => Ok(found),
                Answer::Cut => Err(malformed()),
            }
        }
    }
}

async fn over_udp(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    // SECURITY: a port of its own for each question, and connected, so that only the server's own address is heard (RFC 5452 §9.2).
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut answer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut answer).await?;
        if belongs(&answer[..length], question) {
            answer.truncate(length);
            return Ok(answer);
        }
    }
}

async fn over_tcp(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.len()).map_err(|_| malformed())?;
    stream.write_all(&[&length.to_be_bytes()[..], question].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    if belongs(&answer, question) { Ok(answer) } else { Err(malformed()) }
}

fn random_id() -> io::Result<u16> {
    let mut bytes = [0; 2];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(u16::from_be_bytes(bytes))
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the DNS server's answer is malformed")
}

/// RFC 1035 §4.1: a header with one question, recursion desired.
fn question(id: u16, host: &str, kind: u16) -> io::Result<Vec<u8>> {
    let bad = || io::Error::new(io::ErrorKind::NotFound, "it is not a name that DNS can hold");
    let mut bytes = id.to_be_bytes().to_vec();
    bytes.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in host.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length)).ok_or_else(bad)?;
        bytes.push(length);
        bytes.extend(label.as_bytes());
    }
    if bytes.len() > 12 + 254 {
        return Err(bad());
    }
    bytes.push(0);
    bytes.extend(kind.to_be_bytes());
    bytes.extend(1_u16.to_be_bytes());
    Ok(bytes)
}

/// Whether it is an answer to that question: the same id, and the question repeated.
fn belongs(answer: &[u8], question: &[u8]) -> bool {
    let repeated = answer.get(12..question.len());
    answer.get(..2) == question.get(..2)
        && answer.get(2).is_some_and(|flags| flags & 0x80 != 0)
        && repeated.is_some_and(|repeated| repeated.eq_ignore_ascii_case(&question[12..]))
}

enum Answer {
    Found(Vec<IpAddr>),
    /// It did not fit.
    Cut,
}

/// Collects every address of the answer section: those at the end of a chain of CNAMEs stand there as well.
fn read(answer: &[u8], question: &[u8]) -> io::Result<Answer> {
    let number = |at: usize| Some(u16::from_be_bytes([*answer.get(at)?, *answer.get(at + 1)?]));
    if answer.get(2).is_some_and(|flags| flags & 0x02 != 0) {
        return Ok(Answer::Cut);
    }
    match answer.get(3).map(|flags| flags & 0x0F) {
        Some(0) => {}
        Some(3) => return Err(io::Error::new(io::ErrorKind::NotFound, "there is no such name")),
        Some(code) => return Err(io::Error::other(format!("the DNS server answers with code {code}"))),
        None => return Err(malformed()),
    }
    let mut found = Vec::new();
    let mut at = question.len();
    for _ in 0..number(6).unwrap_or(0) {
        at = after_name(answer, at).ok_or_else(malformed)?;
        let (kind, length) = number(at).zip(number(at + 8)).ok_or_else(malformed)?;
        let data = answer.get(at + 10..at + 10 + usize::from(length)).ok_or_else(malformed)?;
        match kind {
            A => found.extend(<[u8; 4]>::try_from(data).map(IpAddr::from)),
            AAAA => found.extend(<[u8; 16]>::try_from(data).map(IpAddr::from)),
            _ => {}
        }
        at += 10 + usize::from(length);
    }
    Ok(Answer::Found(found))
}

/// Where a name ends: at its empty label, or at a pointer (RFC 1035 §4.1.4), which is not followed.
fn after_name(answer: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *answer.get(at)? {
            0 => return Some(at + 1),
            length if length & 0xC0 == 0xC0 => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}
