//! Why a text is not taken.

use super::MARKS_MAX;

/// What is wrong with a text; characters are Unicode scalar values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("has fewer than {0} characters")]
    TooShort(usize),
    #[error("has more than {0} characters")]
    TooLong(usize),
    #[error("has nothing to see")]
    Blank,
    #[error(
        "has characters that are not taken: such as control the text or turn its direction, or \
         more than {MARKS_MAX} marks on a letter"
    )]
    Characters,
}
