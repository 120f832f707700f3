//! Reads MessagePack into a plain tree. It refuses extension types, which the
//! log has none of, and to write anything.

use uuid::Uuid;

/// Deeper than anything in the log; a damaged entry must not end the program.
const DEPTH_MAX: usize = 32;

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Nil,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Map(Vec<(Value, Value)>),
}

impl Value {
    /// The one value that `bytes` are.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut rest = bytes;
        let value = value(&mut rest, 0)?;
        match rest.len() {
            0 => Ok(value),
            left => Err(format!("{left} bytes too many")),
        }
    }

    /// Nil where there is no such field.
    pub fn field(&self, name: &str) -> &Value {
        let Self::Map(fields) = self else {
            return &Self::Nil;
        };
        let mut fields = fields.iter();
        let found = fields.find(|(key, _)| matches!(key, Self::Text(key) if key == name));
        found.map_or(&Self::Nil, |(_, value)| value)
    }

    pub fn fields(&self, names: &[&str]) -> Vec<Value> {
        names.iter().map(|name| self.field(name).clone()).collect()
    }

    pub fn of_id(id: Uuid) -> Self {
        Self::Bytes(id.as_bytes().to_vec())
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub fn list(&self) -> Option<&[Value]> {
        match self {
            Self::List(list) => Some(list),
            _ => None,
        }
    }

    pub fn uuid(&self) -> Option<Uuid> {
        Uuid::from_slice(self.bytes()?).ok()
    }

    pub fn id(&self) -> Result<Uuid, String> {
        self.uuid().ok_or_else(|| format!("{self:?} is no id"))
    }

    pub fn unsigned(&self) -> Option<u64> {
        match self {
            Self::Int(number) => (*number).try_into().ok(),
            _ => None,
        }
    }

    pub fn signed(&self) -> Option<i64> {
        match self {
            Self::Int(number) => (*number).try_into().ok(),
            _ => None,
        }
    }
}

fn value(rest: &mut &[u8], depth: usize) -> Result<Value, String> {
    if depth > DEPTH_MAX {
        return Err("too deep".into());
    }
    let tag = take(rest, 1)?[0];
    Ok(match tag {
        0x00..=0x7f => Value::Int(tag.into()),
        0xe0..=0xff => Value::Int((tag as i8).into()),
        0x80..=0x8f => map(rest, usize::from(tag & 0x0f), depth)?,
        0x90..=0x9f => list(rest, usize::from(tag & 0x0f), depth)?,
        0xa0..=0xbf => text(rest, usize::from(tag & 0x1f))?,
        0xc0 => Value::Nil,
        0xc2 => Value::Bool(false),
        0xc3 => Value::Bool(true),
        0xc4..=0xc6 => {
            let length = length(rest, 1 << (tag - 0xc4))?;
            Value::Bytes(take(rest, length)?.to_vec())
        }
        0xca => Value::Float(f32::from_bits(number(rest, 4)? as u32).into()),
        0xcb => Value::Float(f64::from_bits(number(rest, 8)?)),
        0xcc..=0xcf => Value::Int(number(rest, 1 << (tag - 0xcc))?.into()),
        0xd0 => Value::Int((number(rest, 1)? as i8).into()),
        0xd1 => Value::Int((number(rest, 2)? as i16).into()),
        0xd2 => Value::Int((number(rest, 4)? as i32).into()),
        0xd3 => Value::Int((number(rest, 8)? as i64).into()),
        0xd9..=0xdb => {
            let length = length(rest, 1 << (tag - 0xd9))?;
            text(rest, length)?
        }
        0xdc | 0xdd => {
            let length = length(rest, 2 << (tag - 0xdc))?;
            list(rest, length, depth)?
        }
        0xde | 0xdf => {
            let length = length(rest, 2 << (tag - 0xde))?;
            map(rest, length, depth)?
        }
        other => return Err(format!("a value of the unknown kind {other:#04x}")),
    })
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], String> {
    let (taken, left) = rest.split_at_checked(count).ok_or("it is cut")?;
    *rest = left;
    Ok(taken)
}

fn number(rest: &mut &[u8], bytes: usize) -> Result<u64, String> {
    let bytes = take(rest, bytes)?;
    Ok(bytes.iter().fold(0, |n, byte| (n << 8) | u64::from(*byte)))
}

fn length(rest: &mut &[u8], bytes: usize) -> Result<usize, String> {
    Ok(number(rest, bytes)? as usize)
}

fn text(rest: &mut &[u8], bytes: usize) -> Result<Value, String> {
    let text = std::str::from_utf8(take(rest, bytes)?).map_err(|error| error.to_string())?;
    Ok(Value::Text(text.to_owned()))
}

fn list(rest: &mut &[u8], count: usize, depth: usize) -> Result<Value, String> {
    let all = (0..count).map(|_| value(rest, depth + 1));
    Ok(Value::List(all.collect::<Result<_, _>>()?))
}

fn map(rest: &mut &[u8], count: usize, depth: usize) -> Result<Value, String> {
    let all = (0..count).map(|_| Ok((value(rest, depth + 1)?, value(rest, depth + 1)?)));
    Ok(Value::Map(all.collect::<Result<_, String>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_format_are_read() {
        let compact = b"\x82\xa7compact\xc3\xa6schema\x00";
        let read = Value::read(compact);
        let fields = [("compact", Value::Bool(true)), ("schema", Value::Int(0))];
        let fields = fields.map(|(name, value)| (Value::Text(name.into()), value));
        assert_eq!(read, Ok(Value::Map(fields.into())));
        for (bytes, wanted) in [
            (b"\xff".as_slice(), Value::Int(-1)),
            (b"\xd1\xff\x00", Value::Int(-256)),
            (
                b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
                Value::Int(u64::MAX.into()),
            ),
            (b"\xc4\x02ab", Value::Bytes(b"ab".into())),
            (b"\xd9\x01a", Value::Text("a".into())),
            (b"\xdc\x00\x01\xc0", Value::List(vec![Value::Nil])),
        ] {
            assert_eq!(Value::read(bytes), Ok(wanted));
        }
    }

    #[test]
    fn what_is_cut_or_too_long_is_told() {
        for bad in [b"".as_slice(), b"\xa2a", b"\x00\x00", b"\xc1", &[0x91; 99]] {
            assert!(Value::read(bad).is_err(), "{bad:?}");
        }
    }
}
