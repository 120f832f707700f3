//! What the terminal takes: colours, and lines that are drawn over.

use std::{ffi::OsStr, io::IsTerminal};

/// Whether a stream is a terminal that understands more than lines.
pub fn is_smart(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && is_smart_kind(std::env::var_os("TERM").as_deref())
}

/// Whether a stream takes colour.
pub fn colours(stream: &impl IsTerminal) -> bool {
    is_smart(stream) && !refuses_colour(std::env::var_os("NO_COLOR").as_deref())
}

fn is_smart_kind(term: Option<&OsStr>) -> bool {
    term.is_some_and(|term| !term.is_empty() && term != "dumb")
}

/// <https://no-color.org>
fn refuses_colour(no_color: Option<&OsStr>) -> bool {
    no_color.is_some_and(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dumb_terminal_or_a_person_can_refuse_colours() {
        let smart = |term: &str| is_smart_kind(Some(OsStr::new(term)));
        assert!(smart("xterm-256color") && smart("linux"));
        assert!(!smart("dumb") && !smart("") && !is_smart_kind(None));
        let refuses = |value: &str| refuses_colour(Some(OsStr::new(value)));
        assert!(refuses("1") && refuses("0"));
        assert!(!refuses("") && !refuses_colour(None));
        // Tests write into a file or a pipe.
        let file = tempfile::tempfile();
        assert!(file.is_ok_and(|file| !colours(&file)));
    }
}
