//! A Redis client that only asks: RESP2 over one connection, many commands at
//! once. It refuses TLS and every command that writes.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::Duration,
};

const ANSWER_SECONDS_MAX: u64 = 60;
/// Commands sent before their answers are read: the server must not fill its
/// buffers for us.
const COMMANDS_AT_ONCE: usize = 500;
const SCAN_KEYS: &str = "10000";

#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Nothing,
    Bytes(Vec<u8>),
    Number(i64),
    List(Vec<Reply>),
    Refused(String),
}

impl Reply {
    pub fn bytes(self) -> Option<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub fn text(self) -> Option<String> {
        String::from_utf8(self.bytes()?).ok()
    }

    /// Empty where it is no list.
    pub fn list(self) -> Vec<Reply> {
        match self {
            Self::List(list) => list,
            _ => Vec::new(),
        }
    }
}

pub struct Redis {
    stream: BufReader<TcpStream>,
}

impl Redis {
    /// `redis://[user:password@]host:port[/database]`
    pub fn connect(url: &str) -> io::Result<Self> {
        let wrong = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, why.to_owned());
        let rest = url.strip_prefix("redis://");
        let rest = rest.ok_or_else(|| wrong("the address begins with redis://"))?;
        let (credentials, place) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (address, database) = place.split_once('/').unwrap_or((place, ""));
        let address = match address.contains(':') {
            true => address.to_owned(),
            false => format!("{address}:6379"),
        };
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(ANSWER_SECONDS_MAX)))?;
        let stream = BufReader::with_capacity(256 * 1_024, stream);
        let mut redis = Self { stream };
        if let Some((user, password)) = credentials.split_once(':') {
            let user = if user.is_empty() { "default" } else { user };
            redis.ask(&[b"AUTH", user.as_bytes(), password.as_bytes()])?;
        }
        if !database.is_empty() {
            redis.ask(&[b"SELECT", database.as_bytes()])?;
        }
        Ok(redis)
    }

    /// One command; what the server refuses is an error.
    pub fn ask(&mut self, command: &[&[u8]]) -> io::Result<Reply> {
        let owned = command.iter().map(|part| part.to_vec()).collect();
        let mut replies = self.ask_all(&[owned])?;
        match replies.pop() {
            Some(Reply::Refused(why)) => Err(io::Error::other(why)),
            reply => Ok(reply.unwrap_or(Reply::Nothing)),
        }
    }

    /// The answers in the order of the commands.
    pub fn ask_all(&mut self, commands: &[Vec<Vec<u8>>]) -> io::Result<Vec<Reply>> {
        let mut replies = Vec::with_capacity(commands.len());
        for commands in commands.chunks(COMMANDS_AT_ONCE) {
            let mut bytes = Vec::new();
            for command in commands {
                bytes.extend_from_slice(format!("*{}\r\n", command.len()).as_bytes());
                for part in command {
                    bytes.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
                    bytes.extend_from_slice(part);
                    bytes.extend_from_slice(b"\r\n");
                }
            }
            self.stream.get_mut().write_all(&bytes)?;
            for _ in commands {
                replies.push(self.reply()?);
            }
        }
        Ok(replies)
    }

    /// Every key that begins with `prefix`, sorted.
    pub fn keys(&mut self, prefix: &str) -> io::Result<Vec<Vec<u8>>> {
        let mut pattern = String::new();
        for character in prefix.chars() {
            if "*?[]^\\".contains(character) {
                pattern.push('\\');
            }
            pattern.push(character);
        }
        pattern.push('*');
        let (mut keys, mut cursor) = (Vec::new(), b"0".to_vec());
        loop {
            let pattern = pattern.as_bytes();
            let count = SCAN_KEYS.as_bytes();
            let scan: [&[u8]; 6] = [b"SCAN", &cursor, b"MATCH", pattern, b"COUNT", count];
            let mut page = self.ask(&scan)?.list().into_iter();
            cursor = page.next().and_then(Reply::bytes).unwrap_or_default();
            let found = page.next().map(Reply::list).unwrap_or_default();
            keys.extend(found.into_iter().filter_map(Reply::bytes));
            if cursor.is_empty() || cursor == b"0" {
                keys.sort_unstable();
                keys.dedup();
                return Ok(keys);
            }
        }
    }

    fn reply(&mut self) -> io::Result<Reply> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line)?;
        let broken = || io::Error::new(io::ErrorKind::InvalidData, "this is no Redis server");
        let line = line.strip_suffix(b"\r\n").ok_or_else(broken)?;
        let (kind, rest) = line.split_first().ok_or_else(broken)?;
        let text = String::from_utf8_lossy(rest).into_owned();
        let number = text.parse::<i64>();
        match kind {
            b'+' => Ok(Reply::Bytes(text.into_bytes())),
            b'-' => Ok(Reply::Refused(text)),
            b':' => Ok(Reply::Number(number.map_err(|_| broken())?)),
            b'$' | b'*' => match (number.map_err(|_| broken())?, kind) {
                (..0, _) => Ok(Reply::Nothing),
                (length, b'$') => {
                    let mut bytes = vec![0; length as usize + 2];
                    self.stream.read_exact(&mut bytes)?;
                    bytes.truncate(length as usize);
                    Ok(Reply::Bytes(bytes))
                }
                (count, _) => {
                    let all = (0..count).map(|_| self.reply());
                    Ok(Reply::List(all.collect::<io::Result<_>>()?))
                }
            },
            _ => Err(broken()),
        }
    }
}
