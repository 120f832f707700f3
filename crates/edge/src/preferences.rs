//! `Prefer` (RFC 7240): whether a write is answered in full or shortly. It holds for every
//! write, so the introduction of the contract documents it once. A preference that is not
//! understood is ignored (section 2).

use poem::{Request, RequestBody, Result, http::HeaderName};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

pub const PREFER: HeaderName = HeaderName::from_static("prefer");
/// What `Preference-Applied` says of a short answer.
pub const MINIMAL: &str = "return=minimal";

/// How a write is to be answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Return {
    #[default]
    Representation,
    Minimal,
}

impl Return {
    /// The first `return` that the request has counts; several lines are one list.
    fn of(request: &Request) -> Self {
        let lines = request.headers().get_all(PREFER).iter();
        let preferences = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','));
        // After a semicolon come parameters of the preference.
        let named = preferences.filter_map(|preference| {
            let (name, value) = preference.split(';').next()?.split_once('=')?;
            let value = value.trim().trim_matches('"').trim();
            (name.trim().eq_ignore_ascii_case("return")).then(|| value.to_ascii_lowercase())
        });
        match named.into_iter().next().as_deref() {
            Some("minimal") => Self::Minimal,
            _ => Self::Representation,
        }
    }
}

impl<'a> ApiExtractor<'a> for Return {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
    type ParamType = ();
    type ParamRawType = ();

    async fn from_request(
        request: &'a Request,
        _: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> Result<Self> {
        Ok(Self::of(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_return_counts_and_the_rest_is_ignored() {
        for (lines, wanted) in [
            (&["return=minimal"][..], Return::Minimal),
            (
                &["respond-async, Return = \"minimal\"; a=b"],
                Return::Minimal,
            ),
            (&["wait=10", "return=minimal"], Return::Minimal),
            (
                &["return=representation, return=minimal"],
                Return::Representation,
            ),
            (&["return=representation"], Return::Representation),
            (&["return"], Return::Representation),
            (&["minimal"], Return::Representation),
            (&["returns=minimal"], Return::Representation),
            (&["return=minimally"], Return::Representation),
            (&["=,;,\"", ""], Return::Representation),
            (&[], Return::Representation),
        ] {
            let request = lines.iter().fold(Request::builder(), |request, line| {
                request.header(PREFER, *line)
            });
            assert_eq!(Return::of(&request.finish()), wanted, "{lines:?}");
        }
    }
}
