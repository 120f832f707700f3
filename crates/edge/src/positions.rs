//! Positions as clients have them: sealed, since a plain one tells strangers how much
//! happened in whose partition. The plain form is for operators: the command line, logs,
//! and answers that need the scope `operations:read`.

use kernel::{Partition, Position, Positions};
use poem::http::HeaderValue;

use crate::sealing::{CursorSecretError, Seal, characters};

/// As many as a log has partitions, at most.
const POSITIONS_MAX: usize = eventlog::PARTITIONS_MAX as usize;
/// The number of a look, or 0.
const LOOK_BYTES: usize = 8;
/// Partition, epoch and number.
const POSITION_BYTES: usize = 2 + 8 + 8;
/// Of one position.
pub(crate) const POSITION_CHARACTERS: usize = characters(LOOK_BYTES + POSITION_BYTES);
/// Of a position in every partition.
pub(crate) const POSITIONS_CHARACTERS_MAX: usize =
    characters(LOOK_BYTES + POSITIONS_MAX * POSITION_BYTES);
/// Of a list of tokens: some dozen writes, or how far a few reads were.
pub(crate) const LIST_CHARACTERS_MAX: usize = 8_192;

/// Seals positions; shared in `EdgeServices`.
pub struct SealedPositions(Seal);

impl SealedPositions {
    /// `secret` is that of cursors; the key is another one.
    pub fn new(secret: &[u8]) -> Result<Self, CursorSecretError> {
        Ok(Self(Seal::new(secret, "positions")?))
    }

    /// `Event-Position`: the same for the same position.
    pub fn one(&self, position: Position) -> Option<HeaderValue> {
        self.all(&Positions::from_iter([position]), 0)
    }

    /// `As-Of`. `look` is another number for each look, so that nobody sees whether
    /// anything happened between two.
    pub fn all(&self, positions: &Positions, look: u64) -> Option<HeaderValue> {
        let mut plain = look.to_be_bytes().to_vec();
        for position in positions.iter() {
            plain.extend(position.partition.0.to_be_bytes());
            plain.extend(position.epoch.to_be_bytes());
            plain.extend(position.seq.to_be_bytes());
        }
        HeaderValue::try_from(self.0.seal("", &plain)).ok()
    }

    /// What a list of tokens with commas between says; none where one of them was not
    /// sealed here.
    pub fn open(&self, list: &str) -> Option<Positions> {
        if list.len() > LIST_CHARACTERS_MAX {
            return None;
        }
        let mut all = Positions::default();
        for token in list.split(',') {
            let plain = self.0.open("", token.trim())?;
            let (_, positions) = plain.split_at_checked(LOOK_BYTES)?;
            let (positions, []) = positions.as_chunks::<POSITION_BYTES>() else {
                return None;
            };
            for position in positions {
                let (partition, rest) = position.split_first_chunk()?;
                let (epoch, seq) = rest.split_first_chunk()?;
                all.advance(Position {
                    partition: Partition(u16::from_be_bytes(*partition)),
                    epoch: u64::from_be_bytes(*epoch),
                    seq: u64::from_be_bytes(seq.try_into().ok()?),
                });
            }
        }
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    fn text(sealed: Option<HeaderValue>) -> Result<String, Box<dyn std::error::Error>> {
        Ok(sealed.ok_or("no token")?.to_str()?.to_owned())
    }

    #[test]
    fn tokens_of_positions_have_one_length_and_open_here_alone() -> TestResult {
        let sealed = SealedPositions::new(b"a secret of this test, long enough")?;
        let foreign = SealedPositions::new(b"another secret of this test, as long")?;
        for plain in ["0:1-0", "3:1-42", "65535:18446744073709551615-7"] {
            let token = text(sealed.one(plain.parse()?))?;
            assert_eq!(token.len(), POSITION_CHARACTERS);
            assert_eq!(token, text(sealed.one(plain.parse()?))?);
            let opened = sealed.open(&token).ok_or("not opened")?;
            assert_eq!(opened.to_string(), plain);
            assert_eq!(foreign.open(&token), None);
        }
        Ok(())
    }

    #[test]
    fn two_looks_at_the_same_are_not_seen_to_be() -> TestResult {
        let sealed = SealedPositions::new(b"a secret of this test, long enough")?;
        let before: Positions = "0:1-7,3:1-42".parse()?;
        let after: Positions = "0:1-7,3:1-99999".parse()?;
        let tokens = [(&before, 1), (&before, 2), (&after, 3)];
        let mut seen = Vec::new();
        for (positions, look) in tokens {
            let token = text(sealed.all(positions, look))?;
            assert_eq!(sealed.open(&token).as_ref(), Some(positions));
            assert!(!seen.contains(&token));
            seen.push(token);
        }
        assert!(seen.iter().all(|token| token.len() == seen[0].len()));
        let list = seen.join(", ");
        assert_eq!(sealed.open(&list), Some(after));
        let every = (0..eventlog::PARTITIONS_MAX).map(|number| Position {
            partition: Partition(number),
            epoch: u64::MAX,
            seq: u64::MAX,
        });
        let longest = text(sealed.all(&every.collect(), u64::MAX))?;
        assert_eq!(longest.len(), POSITIONS_CHARACTERS_MAX);
        Ok(())
    }

    #[test]
    fn what_was_not_sealed_here_is_none() -> TestResult {
        let secret = b"a secret of this test, long enough";
        let sealed = SealedPositions::new(secret)?;
        let token = text(sealed.one("3:1-42".parse()?))?;
        let cursor = crate::paging::Cursors::new(secret)?.seal("", b"as long as a position is..");
        let long = [token.as_str(); LIST_CHARACTERS_MAX / POSITION_CHARACTERS + 1].join(",");
        for other in [
            "",
            "3:1-42",
            &token[1..],
            &format!("{token},"),
            &cursor,
            &long,
        ] {
            assert_eq!(sealed.open(other), None, "{other}");
        }
        Ok(())
    }
}
