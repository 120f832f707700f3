//! What features refuse: the edge's problem, so that the errors of the rooms below become
//! one here. Rust wants each such conversion beside one of its two types.

use std::{borrow::Cow, error::Error as StdError, ops::Deref};

pub(crate) use edge::problem::Code;
use edge::{
    problem::{self, FieldError},
    tokens::SigningFailed,
};
use poem_openapi::{
    ApiResponse,
    registry::{MetaResponses, Registry},
};

/// Handlers return `Result<_, Problem>`.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Problem(#[from] problem::Problem);

impl Problem {
    /// `detail` is a sentence that says what to do.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(problem::Problem::new(code, detail))
    }

    /// `thing` with its article: "no such {thing}".
    pub fn not_found(thing: &str) -> Self {
        Self(problem::Problem::not_found(thing))
    }

    pub fn unknown_position() -> Self {
        Self(problem::Problem::unknown_position())
    }

    /// A value that reads well and is not taken. `pointer` starts with `/`.
    pub fn invalid_field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self(problem::Problem::invalid_field(pointer, detail))
    }

    pub fn invalid_parameter(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self(problem::Problem::invalid_parameter(name, detail))
    }

    /// Something that should not happen; the cause goes to the log only.
    pub fn internal(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self(problem::Problem::internal(cause))
    }

    pub fn with_field(self, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self(self.0.with_field(pointer, detail))
    }

    pub fn with_parameter(self, name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self(self.0.with_parameter(name, detail))
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
    pub fn take_at<T>(&mut self, pointer: &str, read: Result<T, impl ToString>) -> Option<T> {
        self.take(read.map_err(|error| Problem::invalid_field(pointer, error.to_string())))
    }

    /// Where something was wrong.
    pub fn problem(self) -> Problem {
        let problem = Problem::new(Code::InvalidField, "Correct the listed fields.");
        self.0.into_iter().fold(problem, Problem::with_error)
    }
}
