//! Redis's append-only file, read to know what a cut one must still hold. It
//! refuses anything but what our functions leave there.

use std::collections::HashMap;

/// What is loaded whole or not at all: one command, or those between `MULTI`
/// and `EXEC`.
#[derive(Debug)]
pub struct Unit {
    /// The offset behind its last byte.
    pub end: usize,
    pub commands: Vec<Vec<Vec<u8>>>,
}

/// What the units before a cut leave.
#[derive(Default)]
pub struct Kept {
    /// Stream key to its last entry id.
    pub heads: HashMap<Vec<u8>, String>,
    /// Key and, for hashes, field, to its value.
    pub values: HashMap<Place, Vec<u8>>,
}

/// A string's key, or a hash's with a field.
pub type Place = (Vec<u8>, Option<Vec<u8>>);

pub fn parse(bytes: &[u8]) -> Option<Vec<Unit>> {
    let (mut at, mut units, mut open) = (0, Vec::new(), None::<Vec<Vec<Vec<u8>>>>);
    while at < bytes.len() {
        let command = command(bytes, &mut at)?;
        let name = command.first()?.to_ascii_uppercase();
        match (name.as_slice(), &mut open) {
            (b"MULTI", _) => open = Some(Vec::new()),
            (b"EXEC", inside) => units.push(Unit {
                end: at,
                commands: inside.take()?,
            }),
            (_, Some(inside)) => inside.push(command),
            (_, None) => units.push(Unit {
                end: at,
                commands: vec![command],
            }),
        }
    }
    Some(units)
}

fn command(bytes: &[u8], at: &mut usize) -> Option<Vec<Vec<u8>>> {
    let count = number(bytes, at, b'*')?;
    let mut parts = Vec::with_capacity(count);
    for _ in 0..count {
        let length = number(bytes, at, b'$')?;
        parts.push(bytes.get(*at..*at + length)?.to_vec());
        *at += length + 2;
    }
    Some(parts)
}

fn number(bytes: &[u8], at: &mut usize, mark: u8) -> Option<usize> {
    let rest = bytes.get(*at..)?;
    let end = rest.windows(2).position(|two| two == b"\r\n")?;
    let text = std::str::from_utf8(rest.get(1..end)?).ok()?;
    *at += end + 2;
    text.parse().ok().filter(|_| rest.first() == Some(&mark))
}

impl Kept {
    pub fn apply(&mut self, unit: &Unit) {
        for command in &unit.commands {
            if let Some((key, id)) = entry(command) {
                self.heads.insert(key, id);
            }
            self.values.extend(values(command));
        }
    }
}

/// Places and values that a command writes.
pub fn values(command: &[Vec<u8>]) -> Vec<(Place, Vec<u8>)> {
    let Some(name) = command.first().map(|name| name.to_ascii_uppercase()) else {
        return Vec::new();
    };
    match (name.as_slice(), &command[1..]) {
        (b"SET", [key, value, ..]) => vec![((key.clone(), None), value.clone())],
        (b"HSET", [key, pairs @ ..]) => pairs
            .chunks_exact(2)
            .map(|pair| ((key.clone(), Some(pair[0].clone())), pair[1].clone()))
            .collect(),
        _ => Vec::new(),
    }
}

/// The stream and the id of an `XADD`, which is replicated with its own id.
pub fn entry(command: &[Vec<u8>]) -> Option<(Vec<u8>, String)> {
    if !command.first()?.eq_ignore_ascii_case(b"XADD") {
        return None;
    }
    let id = command
        .get(2..)?
        .iter()
        .find(|part| part.first().is_some_and(u8::is_ascii_digit))?;
    Some((command[1].clone(), String::from_utf8_lossy(id).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_is_one_unit_and_its_last_values_count() -> Result<(), &'static str> {
        let command = |parts: &[&str]| {
            let mut text = format!("*{}\r\n", parts.len());
            for part in parts {
                text.push_str(&format!("${}\r\n{part}\r\n", part.len()));
            }
            text
        };
        let text = [
            command(&["SELECT", "0"]),
            command(&["MULTI"]),
            command(&["XADD", "s", "NOMKSTREAM", "1-7", "e", "x"]),
            command(&["HSET", "h", "f", "1"]),
            command(&["SET", "r", "y", "PXAT", "5"]),
            command(&["EXEC"]),
        ]
        .concat();
        let units = parse(text.as_bytes()).ok_or("unreadable")?;
        assert_eq!((units.len(), units[1].end), (2, text.len()));
        let mut kept = Kept::default();
        units.iter().for_each(|unit| kept.apply(unit));
        assert_eq!(kept.heads[b"s".as_slice()], "1-7");
        assert_eq!(kept.values[&(b"h".to_vec(), Some(b"f".to_vec()))], b"1");
        assert_eq!(kept.values.len(), 2);
        Ok(())
    }
}
