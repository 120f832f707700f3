//! Every key of the log, declared once. All keys of a partition carry its hash
//! tag, so that one function call stays inside one Redis Cluster slot.

use kernel::{AccountId, AggregateId, Partition, Uuid};

/// Partitions of a log that is made anew.
pub const PARTITIONS_DEFAULT: u16 = 8;
pub const PARTITIONS_MAX: u16 = 64;

/// Makes keys under one prefix, so that several logs fit into one server.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    prefix: String,
}

impl Keys {
    pub fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
        }
    }

    /// Every key of the log, as `SCAN` matches them.
    pub fn pattern(&self) -> Vec<u8> {
        let mut pattern = escaped(self.prefix.as_bytes());
        pattern.extend_from_slice(b":{p*");
        pattern
    }

    /// The first letter after a key's hash tag.
    pub fn family(&self, key: &[u8]) -> Option<u8> {
        let rest = key.get(self.prefix.len()..)?;
        let end = rest.iter().position(|byte| *byte == b'}')?;
        rest.get(end + 2).copied()
    }

    /// Several for each command: each is one allocation.
    fn of(&self, partition: Partition, rest: &[&[u8]]) -> Vec<u8> {
        const TAG_BYTES_MAX: usize = ":{p65535}:".len();
        let length = rest.iter().map(|part| part.len()).sum::<usize>();
        let mut key = Vec::with_capacity(self.prefix.len() + TAG_BYTES_MAX + length);
        key.extend_from_slice(self.prefix.as_bytes());
        key.extend_from_slice(b":{p");
        // At least two digits.
        for place in [10_000, 1_000, 100, 10, 1] {
            if place <= 10 || partition.0 >= place {
                key.push(b'0' + (partition.0 / place % 10) as u8);
            }
        }
        key.extend_from_slice(b"}:");
        rest.iter().for_each(|part| key.extend_from_slice(part));
        key
    }

    /// Stream: the events. The append function writes; the archiver trims.
    pub fn events(&self, partition: Partition) -> Vec<u8> {
        self.of(partition, &[b"events"])
    }

    /// Hash: `epoch`, `partitions`, and the log's `id`. Written when the log is made or restored;
    /// nobody trims.
    pub fn meta(&self, partition: Partition) -> Vec<u8> {
        self.of(partition, &[b"meta"])
    }

    /// Hash: states of one shape by `state_field`, each `version state`. Edges
    /// share the hash of the account they start from, which keeps them packed.
    /// The append function writes; nobody trims what is alive.
    pub fn states(&self, partition: Partition, shape: u8, aggregate: &AggregateId) -> Vec<u8> {
        let family = [b's', b'0'.wrapping_add(shape), b':'];
        self.of(partition, &[&family, aggregate.id.as_bytes()])
    }

    /// String: the receipt of one command. The append function writes; it
    /// expires by itself.
    pub fn receipt(&self, partition: Partition, key_hash: u128) -> Vec<u8> {
        self.of(partition, &[b"r:", &key_hash.to_be_bytes()])
    }

    /// String: the entry id of the account's last event in its own partition, and
    /// the positions of what it changed in others, as `headwater.lua` tells. The
    /// functions write; nobody trims.
    pub fn last(&self, partition: Partition, account: AccountId) -> Vec<u8> {
        self.of(partition, &[b"l:", account.0.as_bytes()])
    }
}

/// What means something in a pattern is taken for itself.
fn escaped(text: &[u8]) -> Vec<u8> {
    let byte = |byte: &u8| match byte {
        b'*' | b'?' | b'[' | b']' | b'\\' | b'^' | b'-' => vec![b'\\', *byte],
        byte => vec![*byte],
    };
    text.iter().flat_map(byte).collect()
}

/// The field of one state inside its hash: the kind, and an edge's far end.
pub(crate) fn state_field(aggregate: &AggregateId) -> Vec<u8> {
    let mut field = Vec::with_capacity(1 + size_of::<Uuid>());
    field.push(aggregate.kind.0);
    if let Some(member) = aggregate.member {
        field.extend_from_slice(member.as_bytes());
    }
    field
}
