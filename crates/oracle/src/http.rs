//! Plain GETs over one connection that is kept. It refuses TLS, redirects and
//! everything else that a browser does.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::Value;

const ANSWER_SECONDS_MAX: u64 = 30;
const CONNECT_TRIES: usize = 2;

pub struct Http {
    /// `host:port`
    host: String,
    stream: Option<BufReader<TcpStream>>,
    /// Lines of every request.
    headers: String,
}

pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Null where there is no JSON.
    pub body: Value,
}

impl Http {
    /// `headers`: lines that every request has, each with its end.
    pub fn new(url: &str, headers: &str) -> io::Result<Self> {
        let host = url
            .strip_prefix("http://")
            .map(|rest| rest.trim_end_matches('/'));
        let wrong = || io::Error::new(io::ErrorKind::InvalidInput, "not an http:// address");
        Ok(Self {
            host: host.ok_or_else(wrong)?.to_owned(),
            stream: None,
            headers: headers.to_owned(),
        })
    }

    /// A connection that was kept may have been closed meanwhile: then again.
    pub fn get(&mut self, path: &str, token: Option<&str>) -> io::Result<Answer> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.get_once(path, token) {
                Err(_) if tries < CONNECT_TRIES => self.stream = None,
                answer => return answer,
            }
        }
    }

    fn get_once(&mut self, path: &str, token: Option<&str>) -> io::Result<Answer> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(&self.host)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(Duration::from_secs(ANSWER_SECONDS_MAX)))?;
                BufReader::new(stream)
            }
        };
        let host = &self.host;
        let mut request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n");
        request.push_str(&self.headers);
        if let Some(token) = token {
            request.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        request.push_str("\r\n");
        stream.get_mut().write_all(request.as_bytes())?;
        let answer = read(&mut stream)?;
        if answer
            .headers
            .get("connection")
            .is_none_or(|c| c != "close")
        {
            self.stream = Some(stream);
        }
        Ok(answer)
    }
}

fn read(stream: &mut impl BufRead) -> io::Result<Answer> {
    let broken = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let first = line(stream)?;
    let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| broken("an answer without a status"))?;
    let mut headers = BTreeMap::new();
    loop {
        let line = line(stream)?;
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    let mut body = Vec::new();
    if headers
        .get("transfer-encoding")
        .is_some_and(|how| how == "chunked")
    {
        loop {
            let size = usize::from_str_radix(line(stream)?.trim(), 16);
            let size = size.map_err(|_| broken("a chunk without a size"))?;
            let start = body.len();
            body.resize(start + size, 0);
            stream.read_exact(&mut body[start..])?;
            line(stream)?;
            if size == 0 {
                break;
            }
        }
    } else {
        let length = headers
            .get("content-length")
            .and_then(|length| length.parse().ok());
        body.resize(length.unwrap_or(0), 0);
        stream.read_exact(&mut body)?;
    }
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Ok(Answer {
        status,
        headers,
        body,
    })
}

fn line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    stream.take(64 * 1_024).read_line(&mut line)?;
    match line.strip_suffix("\r\n") {
        Some(line) => Ok(line.to_owned()),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_whole_or_in_chunks() -> io::Result<()> {
        let whole = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}rest";
        let chunks =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n";
        for text in [whole, chunks] {
            let answer = read(&mut text.as_bytes())?;
            assert_eq!((answer.status, answer.body), (200, serde_json::json!({})));
        }
        assert!(read(&mut "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}".as_bytes()).is_err());
        Ok(())
    }
}
