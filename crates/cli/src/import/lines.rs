//! Cuts bytes into lines, whatever ends them: LF, CRLF or CR alone (none of them
//! is ever inside a JSON string). A line that is too long is passed over.

use std::io::{BufRead, ErrorKind};

pub const LINE_BYTES_MAX: usize = 1024 * 1_024;
const TOO_LONG: &str = "the line is longer than 1 MiB";

pub struct Lines<R> {
    input: R,
    /// A line feed that comes now belongs to the line before.
    after_return: bool,
}

pub type Text = Result<Vec<u8>, String>;

impl<R: BufRead> Lines<R> {
    pub fn of(input: R) -> Self {
        Self {
            input,
            after_return: false,
        }
    }

    /// None at the end. What comes before an error, and has no end, is no line.
    pub fn next(&mut self) -> std::io::Result<Option<Text>> {
        let mut line = Vec::new();
        let mut begun = false;
        let mut too_long = false;
        loop {
            let bytes = match self.input.fill_buf() {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if bytes.is_empty() {
                return Ok(begun.then(|| finished(line, too_long)));
            }
            if self.after_return {
                self.after_return = false;
                if bytes[0] == b'\n' {
                    self.input.consume(1);
                    continue;
                }
            }
            begun = true;
            let end = memchr::memchr2(b'\n', b'\r', bytes);
            let part = &bytes[..end.unwrap_or(bytes.len())];
            too_long |= line.len() + part.len() > LINE_BYTES_MAX;
            match too_long {
                true => line = Vec::new(),
                false => line.extend_from_slice(part),
            }
            let used = part.len();
            match end {
                Some(end) => {
                    self.after_return = bytes[end] == b'\r';
                    self.input.consume(used + 1);
                    return Ok(Some(finished(line, too_long)));
                }
                None => self.input.consume(used),
            }
        }
    }
}

fn finished(line: Vec<u8>, too_long: bool) -> Text {
    match too_long {
        true => Err(TOO_LONG.to_owned()),
        false => Ok(line),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Read};

    use super::*;

    fn lines(bytes: &[u8]) -> Vec<String> {
        // Small pieces: a CRLF may be cut in two.
        let mut lines = Lines::of(BufReader::with_capacity(3, bytes));
        let mut all = Vec::new();
        while let Ok(Some(line)) = lines.next() {
            all.push(line.map_or_else(|why| why, |text| String::from_utf8_lossy(&text).into()));
        }
        all
    }

    #[test]
    fn lines_end_with_lf_crlf_cr_or_the_end() {
        assert_eq!(lines(b"a\nbb\r\nccc\rd"), ["a", "bb", "ccc", "d"]);
        assert_eq!(lines(b"a\r\n\r\nb\n\nc\r"), ["a", "", "b", "", "c"]);
        assert_eq!(lines(b""), [""; 0]);
    }

    #[test]
    fn a_long_line_is_passed_over() {
        let long = "x".repeat(LINE_BYTES_MAX + 1);
        let fits = "y".repeat(LINE_BYTES_MAX);
        assert_eq!(
            lines(format!("a\n{long}\n{fits}\nb").as_bytes()),
            ["a", TOO_LONG, &fits, "b"]
        );
    }

    #[test]
    fn what_an_error_cuts_is_no_line() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                Err(ErrorKind::UnexpectedEof.into())
            }
        }
        let mut lines = Lines::of(BufReader::new(b"a\nb".as_slice().chain(Broken)));
        assert!(matches!(lines.next(), Ok(Some(Ok(line))) if line == b"a"));
        assert!(lines.next().is_err());
    }
}
