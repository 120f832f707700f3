//! One HTTP/1.1 connection: requests are written as they are, answers read by
//! their Content-Length. It refuses chunked answers and what is too long.

use std::net::SocketAddr;

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const ANSWER_BYTES_MAX: usize = 1024 * 1024;
const EXAMPLE_BYTES_MAX: usize = 400;

pub struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

pub struct Answer<'a> {
    pub status: u16,
    head: &'a [u8],
    pub body: &'a [u8],
}

impl Answer<'_> {
    pub fn header(&self, name: &str) -> Option<&str> {
        let value = header(self.head, name.as_bytes())?;
        std::str::from_utf8(value).ok()
    }

    /// Cut to what fits into a message.
    pub fn text(&self) -> String {
        let body = &self.body[..self.body.len().min(EXAMPLE_BYTES_MAX)];
        format!("{} {}", self.status, String::from_utf8_lossy(body))
    }
}

impl Wire {
    pub async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("{address} does not take our connection"))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(64 * 1024),
        })
    }

    pub async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let mut searched = 0;
        let head_end = loop {
            self.read_some().await?;
            let from = searched;
            searched = self.buffer.len().saturating_sub(3);
            if let Some(found) = find_head_end(&self.buffer[from..]) {
                break from + found;
            }
        };
        let head = &self.buffer[..head_end];
        let status = std::str::from_utf8(head.get(9..12).unwrap_or_default())?;
        let status: u16 = status.parse().context("an answer has no status")?;
        let length = match header(head, b"content-length") {
            Some(length) => std::str::from_utf8(length)?.parse()?,
            None if header(head, b"transfer-encoding").is_some() => {
                bail!("a chunked answer is not understood")
            }
            None => 0_usize,
        };
        let body_start = head_end + 4;
        while self.buffer.len() < body_start + length {
            self.read_some().await?;
        }
        Ok(Answer {
            status,
            head: &self.buffer[..head_end],
            body: &self.buffer[body_start..body_start + length],
        })
    }

    async fn read_some(&mut self) -> anyhow::Result<()> {
        let read = self.stream.read_buf(&mut self.buffer).await?;
        anyhow::ensure!(read > 0, "the server closed the connection");
        let short = self.buffer.len() < ANSWER_BYTES_MAX;
        anyhow::ensure!(short, "an answer is too long");
        Ok(())
    }
}

/// Writes a request; `token` and `body` are left out where they are empty. A write asks
/// for the short answer.
pub fn request(out: &mut Vec<u8>, method: &str, path: &[&str], token: &str, body: &str) {
    let prefer = match method {
        "GET" => "",
        _ => "Prefer: return=minimal\r\n",
    };
    write(out, (method, path), token, prefer, body);
}

/// Writes the request of a write: with a method, a path, a token and a body.
pub type WriteRequest = fn(&mut Vec<u8>, &str, &[&str], &str, &str);

/// The same, but a write asks for the full answer.
pub fn request_whole(out: &mut Vec<u8>, method: &str, path: &[&str], token: &str, body: &str) {
    write(out, (method, path), token, "", body);
}

fn write(
    out: &mut Vec<u8>,
    (method, path): (&str, &[&str]),
    token: &str,
    prefer: &str,
    body: &str,
) {
    out.extend_from_slice(method.as_bytes());
    out.push(b' ');
    for part in path {
        out.extend_from_slice(part.as_bytes());
    }
    out.extend_from_slice(b" HTTP/1.1\r\nHost: bench\r\n");
    if !token.is_empty() {
        out.extend_from_slice(b"Authorization: Bearer ");
        out.extend_from_slice(token.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(prefer.as_bytes());
    if !body.is_empty() {
        out.extend_from_slice(b"Content-Type: application/json\r\nContent-Length: ");
        out.extend_from_slice(body.len().to_string().as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body.as_bytes());
}

fn find_head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n")
}

fn header<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    head.split(|byte| *byte == b'\n').find_map(|line| {
        let value = line.get(name.len()..)?;
        let named = line[..name.len()].eq_ignore_ascii_case(name) && value.starts_with(b":");
        named.then(|| value[1..].trim_ascii())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_carries_what_it_is_given() {
        let mut out = Vec::new();
        request(&mut out, "POST", &["/v1/", "posts"], "abc", "{}");
        assert_eq!(
            String::from_utf8_lossy(&out),
            "POST /v1/posts HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer abc\r\n\
             Prefer: return=minimal\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
        );
    }

    #[test]
    fn headers_are_found_whatever_their_case() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nevent-position: 3:1-7";
        assert_eq!(header(head, b"content-length"), Some(b"12".as_slice()));
        assert_eq!(header(head, b"event-position"), Some(b"3:1-7".as_slice()));
        assert_eq!(header(head, b"etag"), None);
    }
}
