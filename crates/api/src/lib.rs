//! What Headwater says over HTTP. Per feature the routes and wire types; once
//! for all the edge: authentication, problems, paging, limits, the contract.
//! It refuses SQL, Redis and decisions.

mod body;
mod causes;
mod problem;
mod schema;
mod surface;

pub use body::{BODY_BYTES_MAX, Input, JSON_DEPTH_MAX, RawBody};
pub use problem::{Code, FieldError, PROBLEM_MEDIA_TYPE, Problem};
pub use surface::{Operation, Surface};
