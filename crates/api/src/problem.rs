//! What features refuse: the edge's problem, so that the errors of the rooms below become
//! one here. Rust wants each such conversion beside one of its two types.

use std::{error::Error as StdError, ops::Deref};

pub(crate) use edge::problem::{Code, FieldCode};
use edge::{
    language::Told,
    problem::{self, FieldError, Wrong},
    text,
    tokens::SigningFailed,
};
use poem_openapi::{
    ApiResponse,
    registry::{MetaResponses, Registry},
};

use crate::explained::Explained;

/// Handlers return `Result<_, Problem>`.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Problem(#[from] problem::Problem);

impl Problem {
    /// `detail` says what to do, where it is more than the code's own advice.
    pub fn new(code: Code, detail: impl Into<Told>) -> Self {
        Self(problem::Problem::new(code, detail))
    }

    pub fn no_post() -> Self {
        Self(problem::Problem::not_found(text!("post", "diesen Beitrag")))
    }

    pub fn no_account() -> Self {
        Self(problem::Problem::not_found(text!(
            "account",
            "dieses Konto"
        )))
    }

    pub fn no_folder() -> Self {
        Self(problem::Problem::not_found(text!(
            "folder",
            "diesen Ordner"
        )))
    }

    pub fn no_session() -> Self {
        Self(problem::Problem::not_found(text!(
            "session",
            "diese Sitzung"
        )))
    }

    pub fn no_follow_request() -> Self {
        let thing = text!("request to follow", "diese Anfrage");
        Self(problem::Problem::not_found(thing))
    }

    pub fn unknown_position() -> Self {
        Self(problem::Problem::unknown_position())
    }

    /// A value that reads well and is not taken. `pointer` starts with `/`.
    pub fn invalid_field(pointer: impl Into<String>, wrong: impl Into<Wrong>) -> Self {
        Self(problem::Problem::invalid_field(pointer, wrong))
    }

    pub fn invalid_parameter(name: impl Into<String>, wrong: impl Into<Wrong>) -> Self {
        Self(problem::Problem::invalid_parameter(name, wrong))
    }

    /// Something that should not happen; the cause goes to the log only.
    pub fn internal(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self(problem::Problem::internal(cause))
    }

    pub fn with_field(self, pointer: impl Into<String>, wrong: impl Into<Wrong>) -> Self {
        Self(self.0.with_field(pointer, wrong))
    }

    pub fn with_error(self, error: FieldError) -> Self {
        Self(self.0.with_error(error))
    }

    pub fn retry_after(self, seconds: u32) -> Self {
        Self(self.0.retry_after(seconds))
    }

    pub fn caused_by(self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self(self.0.caused_by(cause))
    }
}

impl Deref for Problem {
    type Target = problem::Problem;

    fn deref(&self) -> &problem::Problem {
        &self.0
    }
}

/// With its own advice.
impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Self(code.into())
    }
}

impl From<SigningFailed> for Problem {
    fn from(error: SigningFailed) -> Self {
        Self(error.into())
    }
}

impl From<Problem> for poem::Error {
    fn from(problem: Problem) -> Self {
        problem.0.into()
    }
}

/// The edge puts problems into the contract.
impl ApiResponse for Problem {
    fn meta() -> MetaResponses {
        problem::Problem::meta()
    }

    fn register(registry: &mut Registry) {
        problem::Problem::register(registry);
    }
}

/// Takes the values of a body's fields, and tells of all that are wrong at once.
#[derive(Default)]
pub(crate) struct Fields(Vec<FieldError>);

impl Fields {
    /// None where it is wrong.
    pub fn take<T>(&mut self, read: Result<T, impl Into<Problem>>) -> Option<T> {
        let read = read.map_err(|error| self.0.extend_from_slice(error.into().errors()));
        read.ok()
    }

    /// The same for what says of itself that it is wrong.
    pub fn take_at<T>(&mut self, pointer: &str, read: Result<T, impl Explained>) -> Option<T> {
        self.take(read.map_err(|error| Problem::invalid_field(pointer, error.explained())))
    }

    /// Where something was wrong.
    pub fn problem(self) -> Problem {
        let problem = Problem::from(Code::InvalidField);
        self.0.into_iter().fold(problem, Problem::with_error)
    }
}
