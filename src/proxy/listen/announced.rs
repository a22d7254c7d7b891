//! The PROXY protocol, versions 1 and 2: what a balancer says about the client before its bytes.
//!
//! By HAProxy's specification (proxy-protocol.txt): read to the last byte of the header and no further, so that TLS or HTTP begin
//! where they should. Parsing is ppp's; whom to believe is decided by the caller.

use ppp::{HeaderResult, v1, v2};
use std::{io, net::SocketAddr};
use tokio::{io::AsyncReadExt, net::TcpStream};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// §2.1: the longest line of version 1.
const MAX_LINE: usize = 107;
/// Addresses take 36 bytes at most for TCP; the rest is for extensions, which are read away.
const MAX_BINARY: usize = 4096;

/// Reads the header; none when it speaks of no other client (health checks of the balancer itself).
///
/// # Errors
/// `InvalidData` when there is no header, or none that is valid.
pub async fn read(stream: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    let mut header = vec![0; SIGNATURE.len()];
    // The shortest line, `PROXY UNKNOWN`, is longer too.
    stream.read_exact(&mut header).await?;
    match header == SIGNATURE {
        true => read_binary(stream, &mut header).await?,
        false if header.starts_with(b"PROXY ") => read_line(stream, &mut header).await?,
        false => return Err(invalid("there is no PROXY header")),
    }
    match HeaderResult::parse(&header) {
        HeaderResult::V1(Ok(header)) => Ok(match header.addresses {
            v1::Addresses::Tcp4(a) => Some((a.source_address, a.source_port).into()),
            v1::Addresses::Tcp6(a) => Some((a.source_address, a.source_port).into()),
            v1::Addresses::Unknown => None,
        }),
        HeaderResult::V2(Ok(header)) => Ok(match (header.command, header.addresses) {
            (v2::Command::Proxy, v2::Addresses::IPv4(a)) => Some((a.source_address, a.source_port).into()),
            (v2::Command::Proxy, v2::Addresses::IPv6(a)) => Some((a.source_address, a.source_port).into()),
            _ => None,
        }),
        HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => Err(invalid("the PROXY header is not valid")),
    }
}

async fn read_binary(stream: &mut TcpStream, header: &mut Vec<u8>) -> io::Result<()> {
    let mut fixed = [0; 4];
    stream.read_exact(&mut fixed).await?;
    header.extend(fixed);
    let length = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    if length > MAX_BINARY {
        return Err(invalid("the PROXY header is too long"));
    }
    let at = header.len();
    header.resize(at + length, 0);
    stream.read_exact(&mut header[at..]).await.map(drop)
}

async fn read_line(stream: &mut TcpStream, header: &mut Vec<u8>) -> io::Result<()> {
    let mut ahead = [0; MAX_LINE];
    while !header.ends_with(b"\r\n") {
        let left = MAX_LINE - header.len();
        if left == 0 {
            return Err(invalid("the PROXY header is too long"));
        }
        // Looked at first, so that nothing behind the line is taken.
        let there = stream.peek(&mut ahead[..left]).await?;
        if there == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let take = memchr::memchr(b'\n', &ahead[..there]).map_or(there, |end| end + 1);
        let at = header.len();
        header.resize(at + take, 0);
        stream.read_exact(&mut header[at..]).await?;
    }
    Ok(())
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
