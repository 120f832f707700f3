//! Turns the errors of values that `domain` and `vault` reject into field errors of the
//! API: a code, a limit, and what to do. One file, because these conversions must stand
//! beside one of their types.

use domain::{
    accounts::InvalidProfile,
    bookmark_folders::InvalidFolderName,
    handles::InvalidHandle,
    posts::{InvalidPost, METADATA_BYTES_MAX, METADATA_DEPTH_MAX, UnfitMetadata},
    text::{MARKS_MAX, Unfit},
};
use edge::{
    problem::{FieldCode, Wrong},
    text,
};
use vault::{InvalidEmail, InvalidPassword, PASSWORD_CHARACTERS_MAX, PASSWORD_CHARACTERS_MIN};

/// An error that becomes a field error.
pub(crate) trait Explained {
    fn explained(&self) -> Wrong;
}

impl Explained for Unfit {
    fn explained(&self) -> Wrong {
        match *self {
            Self::TooShort(min) => FieldCode::TooShort.limit(min as u64),
            Self::TooLong(max) => FieldCode::TooLong.limit(max as u64),
            Self::Blank => FieldCode::Blank.into(),
            Self::Characters => {
                let detail = text!(
                    "Leave out characters that control the text, turn its direction or are not \
                     seen, and use at most {0} marks on a letter.",
                    "Lassen Sie Zeichen weg, die den Text steuern, seine Richtung ändern oder \
                     unsichtbar sind, und setzen Sie höchstens {0} Zeichen auf einen Buchstaben."
                );
                FieldCode::InvalidCharacters.saying(detail.with([(MARKS_MAX as u64).into()]))
            }
        }
    }
}

impl Explained for InvalidProfile {
    fn explained(&self) -> Wrong {
        self.1.explained()
    }
}

impl Explained for InvalidFolderName {
    fn explained(&self) -> Wrong {
        self.0.explained()
    }
}

impl Explained for InvalidHandle {
    fn explained(&self) -> Wrong {
        match self {
            Self::Length(unfit) => unfit.explained(),
            Self::Characters => FieldCode::InvalidCharacters.saying(text!(
                "Use the letters a-z, digits and underscores alone.",
                "Verwenden Sie nur die Buchstaben a-z, Ziffern und Unterstriche."
            )),
        }
    }
}

impl Explained for InvalidPost {
    fn explained(&self) -> Wrong {
        match self {
            Self::Text(unfit) => unfit.explained(),
            Self::Language => FieldCode::InvalidFormat.saying(text!(
                "Use a BCP 47 tag such as en or pt-BR.",
                "Verwenden Sie ein BCP-47-Kürzel wie en oder pt-BR."
            )),
            Self::Metadata(UnfitMetadata::NoObject) => {
                FieldCode::WrongType.saying(text!("Send an object.", "Senden Sie ein Objekt."))
            }
            Self::Metadata(UnfitMetadata::TooLarge) => {
                FieldCode::TooLarge.limit(METADATA_BYTES_MAX as u64)
            }
            Self::Metadata(UnfitMetadata::TooDeep) => {
                FieldCode::TooDeep.limit(METADATA_DEPTH_MAX as u64)
            }
            Self::Metadata(UnfitMetadata::Nul) => FieldCode::InvalidCharacters.into(),
        }
    }
}

impl Explained for InvalidEmail {
    fn explained(&self) -> Wrong {
        FieldCode::InvalidFormat.saying(text!(
            "Use an address such as name@example.org: before one @ up to 64 of the letters a-z, \
             digits and signs, without quotes; after it the name of a domain.",
            "Verwenden Sie eine Adresse wie name@example.org: vor einem @ bis zu 64 der Buchstaben \
             a-z, Ziffern und Zeichen, ohne Anführungszeichen; danach den Namen einer Domain."
        ))
    }
}

impl Explained for InvalidPassword {
    fn explained(&self) -> Wrong {
        match self {
            Self::TooShort => FieldCode::TooShort.limit(PASSWORD_CHARACTERS_MIN as u64),
            Self::TooLong => FieldCode::TooLong.limit(PASSWORD_CHARACTERS_MAX as u64),
            Self::Characters => FieldCode::InvalidCharacters.saying(text!(
                "Leave out control characters and characters that cannot be seen.",
                "Lassen Sie Steuerzeichen und unsichtbare Zeichen weg."
            )),
            Self::Common => FieldCode::TooCommon.into(),
            Self::Breached => FieldCode::Leaked.into(),
            Self::Context => FieldCode::TooSimilar.into(),
        }
    }
}
