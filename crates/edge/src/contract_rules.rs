//! What the contract tells of features that their types do not say: why an operation
//! refuses, what texts are made of, where what was made is read.

use serde_json::Value;

use crate::problem::{Code, Wrong};

/// Free text, of lines. No pattern: generators of clients copy those into sources, and
/// none of the characters that it has not belongs there.
pub const TEXT: Made = Made::Format("text");
/// Free text of one line.
pub const LINE: Made = Made::Format("line");
pub const WORD: &str = r"^[a-z][a-z0-9 _-]*$";
pub const OPAQUE: &str = r"^[A-Za-z0-9_.-]+$";
pub const POSITION: &str = r"^[0-9]{1,4}:[0-9]{1,19}-[0-9]{1,19}$";
pub const PRINTED: &str = "^[ -~]*$";

/// What a text is made of.
#[derive(Clone, Copy, Debug)]
pub enum Made {
    /// A pattern.
    Of(&'static str),
    Format(&'static str),
}

/// The name of a field or parameter, characters at most, and what they are.
pub type Text = (&'static str, u64, Made);

/// The name of a list that is no page, and items at most.
pub type List = (&'static str, u64);

/// An operation that takes an id, and as which parameter.
pub type Taker = (&'static str, &'static str);

/// What makes something, where its answer has the id, and what takes that id.
pub type Link = (&'static str, &'static str, &'static [Taker]);

/// What handlers would say of the value of a field, by its name and its schema; none
/// where there is nothing to say.
pub type Meaning = fn(name: &str, schema: &Value, value: &Value) -> Option<Wrong>;

/// An operation, and codes that it answers with besides those that follow from its
/// method, its parameters and who may ask.
pub type Refusals = (&'static str, &'static [Code]);

/// An operation that will end.
#[derive(Clone, Copy, Debug)]
pub struct Ending {
    pub operation: &'static str,
    /// From when on it should not be used, in seconds since 1970.
    pub deprecated_at: i64,
    /// When it stops answering, where that is known.
    pub sunset_at: Option<i64>,
    /// A page that says what to use instead.
    pub page: &'static str,
}

#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// What all of it is, in a sentence.
    pub about: &'static str,
    /// The guide to the API, in HTML; none where it is empty.
    pub guide: &'static str,
    pub refusals: &'static [Refusals],
    pub endings: &'static [Ending],
    /// Operations whose handlers say who pays: see `limits::OfAddress`.
    pub pays_later: &'static [&'static str],
    pub texts: &'static [Text],
    pub lists: &'static [List],
    /// Fields that hold an object of any shape.
    pub objects: &'static [&'static str],
    pub links: &'static [Link],
    pub meaning: Meaning,
}

impl Rules {
    /// For features whose types say all.
    pub const NONE: Self = Self {
        about: "",
        guide: "",
        refusals: &[],
        endings: &[],
        pays_later: &[],
        texts: &[],
        lists: &[],
        objects: &[],
        links: &[],
        meaning: |_, _, _| None,
    };
}
