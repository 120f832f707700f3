//! Folders as URLs: `file:///a%20b` and back (RFC 8089).

use std::{
    ffi::OsString,
    fmt::Write,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

const SCHEME: &str = "file:";

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileUrlError {
    #[error("{SCHEME}// is followed by a folder's whole path, as in file:///var/lib/headwater")]
    NoPath,
    #[error("? and # have a meaning of their own in a URL: write %3F and %23")]
    NotAPath,
    #[error("% is followed by two hexadecimal digits; write % itself as %25")]
    Escape,
}

/// The folder that a `file:` URL names; none where it is no such URL.
pub fn folder_of(url: &str) -> Option<Result<PathBuf, FileUrlError>> {
    let (scheme, rest) = url.split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| path(rest))
}

fn path(rest: &str) -> Result<PathBuf, FileUrlError> {
    let path = match rest.strip_prefix("//") {
        Some(rest) => rest.strip_prefix("localhost").unwrap_or(rest),
        None => rest,
    };
    // `//host/folder` is on another machine.
    if !path.starts_with('/') || path.starts_with("//") {
        return Err(FileUrlError::NoPath);
    }
    if path.contains(['?', '#']) {
        return Err(FileUrlError::NotAPath);
    }
    let mut bytes = Vec::with_capacity(path.len());
    let mut left = path.bytes();
    while let Some(byte) = left.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(left.next()?).to_digit(16);
                let (high, low) = (digit(), digit());
                let escaped = high.zip(low).map(|(high, low)| (high * 16 + low) as u8);
                // No path has a zero.
                escaped
                    .filter(|byte| *byte != 0)
                    .ok_or(FileUrlError::Escape)?
            }
            byte => byte,
        });
    }
    Ok(OsString::from_vec(bytes).into())
}

/// The URL of a folder's whole path.
pub fn file_url(folder: &Path) -> String {
    let mut url = format!("{SCHEME}//");
    for byte in folder.as_os_str().as_bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' => url.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => url.push(char::from(*byte)),
            // Writing to a string does not fail.
            byte => drop(write!(url, "%{byte:02X}")),
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_reads_back_from_its_url() {
        for folder in ["/", "/a b", "/ä/100%/#1?", "/a%20b", "/x\\y"] {
            let url = file_url(Path::new(folder));
            assert_eq!(folder_of(&url), Some(Ok(folder.into())), "{url}");
        }
        let odd = PathBuf::from(OsString::from_vec(vec![b'/', 0xff, b'a']));
        assert_eq!(folder_of(&file_url(&odd)), Some(Ok(odd)));
    }

    #[test]
    fn what_is_escaped_in_a_file_url_is_decoded() {
        for (url, folder) in [
            ("file:///a%20b", "/a b"),
            ("file:///%C3%A4%2fb", "/ä/b"),
            ("FILE:/a", "/a"),
            ("file://localhost/a", "/a"),
            ("file:///a b/ä", "/a b/ä"),
        ] {
            assert_eq!(folder_of(url), Some(Ok(folder.into())), "{url}");
        }
    }

    #[test]
    fn a_file_url_without_a_whole_path_is_refused() {
        for url in [
            "file://x",
            "file://x/y",
            "file://",
            "file:",
            "file:x",
            "file://./x",
            "file:////x/y",
            "file://localhost",
            "file:///a?b",
            "file:///a#b",
            "file:///a%2",
            "file:///a%zz",
            "file:///a%00",
        ] {
            assert!(matches!(folder_of(url), Some(Err(_))), "{url}");
        }
        for other in ["s3://bucket/a", "/a", "", "files:///a", "fileä"] {
            assert_eq!(folder_of(other), None, "{other}");
        }
    }
}
