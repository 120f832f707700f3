//! Whether a secret may sign anything: it is long enough, everybody cannot read it,
//! and it is not made of a few repeated characters.

const SECRET_BYTES_MIN: usize = 32;
/// Random text of that length has more.
const CHARACTERS_MIN: usize = 8;
/// What makes a good one.
pub const MAKE: &str = "openssl rand -base64 48";

/// Whatever stands in one of these, everybody can read.
const EXAMPLES: [&str; 5] = [
    include_str!("../../../.env.example"),
    include_str!("../../../compose.yaml"),
    include_str!("../../../README.md"),
    include_str!("../README.md"),
    // What tools and pages that make tokens begin with.
    "a-string-secret-at-least-256-bits-long your-256-bit-secret-your-256-bit-secret \
     super-secret-jwt-token-with-at-least-32-characters-long",
];
/// What only holds a place.
const PLACEHOLDERS: [&str; 6] = [
    "changeme",
    "changethis",
    "replaceme",
    "replacethis",
    "yoursecret",
    "insertsecret",
];

/// Why this secret is refused, without showing it; none where it is a good one.
pub fn weakness(secret: &str) -> Option<String> {
    let trimmed = secret.trim();
    let letters: String = trimmed
        .chars()
        .filter(|c| c.is_ascii_alphanumeric())
        .map(|c| c.to_ascii_lowercase())
        .collect();
    let why = if let Some(why) = is_too_short(trimmed) {
        return Some(why);
    } else if EXAMPLES.iter().any(|example| example.contains(trimmed))
        || PLACEHOLDERS.iter().any(|place| letters.contains(place))
    {
        "is an example's, which everybody can read"
    } else if is_monotonous(trimmed.as_bytes()) {
        "is made of a few characters that repeat or count up, which can be guessed"
    } else {
        return None;
    };
    Some(format!("{why}: make one with `{MAKE}`"))
}

/// The length alone, in bytes of the text as it is: nothing is decoded.
pub fn is_too_short(secret: &str) -> Option<String> {
    (secret.len() < SECRET_BYTES_MIN)
        .then(|| format!("has less than {SECRET_BYTES_MIN} bytes: make one with `{MAKE}`"))
}

fn is_monotonous(secret: &[u8]) -> bool {
    let mut seen = [false; 256];
    for byte in secret {
        seen[usize::from(*byte)] = true;
    }
    let characters = seen.iter().filter(|seen| **seen).count();
    let periods = 1..=secret.len() / 2;
    let repeats = periods
        .into_iter()
        .any(|period| secret.iter().zip(&secret[period..]).all(|(a, b)| a == b));
    let steps = secret.windows(2);
    let small = steps.filter(|pair| pair[0].abs_diff(pair[1]) <= 1).count();
    characters < CHARACTERS_MIN || repeats || small * 2 > secret.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_that_can_be_guessed_or_read_are_refused() {
        for secret in [
            "short",
            "0123456789abcdef0123456789abcde",
            "change-me-change-me-change-me-change-me",
            "CHANGE_ME_PLEASE_1234567890_abcdefghij",
            "the-secret-before-this-one-of-32-bytes-or-more",
            "a-string-secret-at-least-256-bits-long",
            "super-secret-jwt-token-with-at-least-32-characters-long",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "abababababababababababababababababababab",
            "01234567890123456789012345678901234567890",
            "abcdefghijklmnopqrstuvwxyz0123456789",
            "correct horse!correct horse!correct horse!",
            "00000000000000000000000000000000000000001",
            "                                        ",
        ] {
            let why = weakness(secret);
            assert!(why.is_some(), "{secret}");
            let why = why.unwrap_or_default();
            assert!(why.contains(MAKE) && !why.contains(secret), "{why}");
        }
    }

    #[test]
    fn random_secrets_are_taken() {
        for secret in [
            "9f86d081884c7d659a2feaa0c55ad015",
            "mJ0cUO9Wn3vV8xR2yq3lK5m8h0tSgYbE1fZpXwQdAa4iLr7u",
            "a token secret of tests, which is long enough",
        ] {
            assert_eq!(weakness(secret), None, "{secret}");
        }
    }
}
