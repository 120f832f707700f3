//! What is wrong with one field or parameter: a code to branch on, the limit that it is
//! about, and a sentence that says what to do.

use serde_json::{Map, Value};

use crate::{
    language::{Language, Text, Told},
    text,
};

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $meaning:literal, $en:literal, $de:literal;)+) => {
        /// What is wrong with a field, to branch on. A released code is never renamed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum FieldCode {
            $($(#[$doc])* $variant,)+
        }

        impl FieldCode {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// In a few words, for the contract.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)+ }
            }

            /// What to do where nothing closer is said; `{0}` is the limit.
            const fn text(self) -> Text {
                match self { $(Self::$variant => text!($en, $de),)+ }
            }
        }
    };
}

codes! {
    Required = "required", "it must be there",
        "Send this: it is required.", "Senden Sie dies: Es ist erforderlich.";
    Unknown = "unknown", "nothing here has this name",
        "Leave this out: there is no such field.", "Lassen Sie dies weg: Es gibt kein solches Feld.";
    Duplicate = "duplicate", "it is there twice",
        "Send this once.", "Senden Sie dies nur einmal.";
    /// Of JSON, or a number where none is.
    WrongType = "wrong_type", "another type of value is wanted",
        "Send another type of value.", "Senden Sie einen Wert von anderem Typ.";
    InvalidFormat = "invalid_format", "it is not written as it must be",
        "Send this in the format that the contract gives.", "Senden Sie dies in dem Format, das der Vertrag nennt.";
    InvalidCharacters = "invalid_characters", "it has characters that are not taken",
        "Leave out characters that control the text.", "Lassen Sie Zeichen weg, die den Text steuern.";
    Blank = "blank", "there is nothing to see in it",
        "Use at least one character that can be seen.", "Verwenden Sie mindestens ein sichtbares Zeichen.";
    /// Characters are code points.
    TooShort = "too_short", "it has fewer characters than `limit`",
        "Use at least {0} characters.", "Verwenden Sie mindestens {0} Zeichen.";
    TooLong = "too_long", "it has more characters than `limit`",
        "Use at most {0} characters.", "Verwenden Sie höchstens {0} Zeichen.";
    TooFew = "too_few", "it has fewer items than `limit`",
        "Send at least {0} items.", "Senden Sie mindestens {0} Einträge.";
    TooMany = "too_many", "it has more items than `limit`",
        "Send at most {0} items.", "Senden Sie höchstens {0} Einträge.";
    /// As JSON.
    TooLarge = "too_large", "it has more bytes than `limit`",
        "Send at most {0} bytes.", "Senden Sie höchstens {0} Bytes.";
    TooDeep = "too_deep", "it has more levels than `limit`",
        "Nest at most {0} levels.", "Verschachteln Sie höchstens {0} Ebenen.";
    /// A number: `limit` is the end of the range that it is beyond.
    OutOfRange = "out_of_range", "it is below or above `limit`",
        "Use a number on the other side of {0}.", "Verwenden Sie eine Zahl diesseits von {0}.";
    NotAllowed = "not_allowed", "it is none of the values that are taken",
        "Send one of the values that are allowed.", "Senden Sie einen der erlaubten Werte.";
    NotFound = "not_found", "what it names is not there",
        "Name something that is there.", "Nennen Sie etwas, das es gibt.";
    Taken = "taken", "somebody has it already",
        "Choose another one: somebody has this.", "Wählen Sie etwas anderes: Dies ist vergeben.";
    /// A password or a code.
    Incorrect = "incorrect", "it is not the right one",
        "Check this: it is not right.", "Prüfen Sie dies: Es stimmt nicht.";
    TooCommon = "too_common", "many have this password",
        "Choose another one: many have this password, and it is guessed first.",
        "Wählen Sie ein anderes: Viele haben dieses Passwort, und es wird zuerst erraten.";
    Leaked = "leaked", "this password is on lists of leaked ones",
        "Choose another one: this was found among passwords that leaked elsewhere.",
        "Wählen Sie ein anderes: Dieses steht unter Passwörtern, die anderswo bekannt wurden.";
    TooSimilar = "too_similar", "the password is little more than a name",
        "Choose another one: this is little more than the name of the service, the handle or the \
         e-mail address, which are guessed first.",
        "Wählen Sie ein anderes: Dieses ist kaum mehr als der Name des Dienstes, der Handle oder \
         die E-Mail-Adresse, und das wird zuerst erraten.";
}

impl FieldCode {
    /// About `limit`, which its own sentence names.
    pub fn limit(self, limit: u64) -> Wrong {
        Wrong {
            code: self,
            limit: Some(limit),
            detail: self.text().with([limit.into()]),
        }
    }

    /// In other words than its own.
    pub fn saying(self, detail: impl Into<Told>) -> Wrong {
        Wrong {
            code: self,
            limit: None,
            detail: detail.into(),
        }
    }
}

/// What is wrong with a value, without its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    pub code: FieldCode,
    /// What it must keep to, where that is a number.
    pub limit: Option<u64>,
    pub detail: Told,
}

impl Wrong {
    /// A number that is too small.
    pub fn below(limit: u64) -> Self {
        let detail = text!("Use at least {0}.", "Verwenden Sie mindestens {0}.");
        Self {
            detail: detail.with([limit.into()]),
            ..FieldCode::OutOfRange.limit(limit)
        }
    }

    /// A number that is too large.
    pub fn above(limit: u64) -> Self {
        let detail = text!("Use at most {0}.", "Verwenden Sie höchstens {0}.");
        Self {
            detail: detail.with([limit.into()]),
            ..FieldCode::OutOfRange.limit(limit)
        }
    }
}

impl From<FieldCode> for Wrong {
    fn from(code: FieldCode) -> Self {
        code.saying(code.text())
    }
}

/// The place of a wrong value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A JSON pointer (RFC 6901) into the body.
    Pointer(String),
    /// The name of a path, query or header parameter.
    Parameter(String),
}

/// What is wrong with one field or parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    pub place: Place,
    pub wrong: Wrong,
}

impl FieldError {
    /// Into the body, where there is one.
    pub fn pointer(&self) -> Option<&str> {
        match &self.place {
            Place::Pointer(pointer) => Some(pointer),
            Place::Parameter(_) => None,
        }
    }

    /// As a problem document lists it.
    pub(super) fn told(&self, language: Language) -> Value {
        let mut told = Map::new();
        match &self.place {
            Place::Pointer(pointer) => told.insert("pointer".into(), pointer.as_str().into()),
            Place::Parameter(name) => told.insert("parameter".into(), name.as_str().into()),
        };
        told.insert("code".into(), self.wrong.code.name().into());
        if let Some(limit) = self.wrong.limit {
            told.insert("limit".into(), limit.into());
        }
        let detail = self.wrong.detail.in_language(language);
        told.insert("detail".into(), super::shortened(detail).into());
        told.into()
    }
}
