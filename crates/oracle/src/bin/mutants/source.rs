//! Finds an item (a function, a constant, a macro …) by its name anywhere in the
//! product's sources, and replaces a piece of it. Spaces and line ends do not count,
//! so that moved or formatted code is found again.

use std::{fs, ops::Range, path::Path};

/// Where the product's sources are. Tests and the oracle itself are not mutated.
const ROOTS: [&str; 2] = ["crates", "migrations"];
const ENDINGS: [&str; 2] = ["rs", "lua"];
/// What comes before an item's name where the item begins.
const KEYWORDS: [&str; 10] = [
    "fn",
    "const",
    "static",
    "struct",
    "enum",
    "impl",
    "trait",
    "mod",
    "macro_rules!",
    "function",
];

/// One file of the product.
pub struct Source {
    /// From the root of the tree.
    pub path: String,
    pub text: String,
}

/// All sources of the tree at `tree`, in the order of their paths.
pub fn all(tree: &Path) -> Result<Vec<Source>, String> {
    let mut sources = Vec::new();
    for root in ROOTS {
        collect(tree, &tree.join(root), &mut sources)?;
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

fn collect(tree: &Path, folder: &Path, sources: &mut Vec<Source>) -> Result<(), String> {
    let unreadable = |error: std::io::Error| format!("{}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let relative = path.strip_prefix(tree).unwrap_or(&path);
        let relative = relative.to_string_lossy().into_owned();
        if path.is_dir() {
            if !relative.ends_with("/tests") && relative != "crates/oracle" {
                collect(tree, &path, sources)?;
            }
        } else if path
            .extension()
            .is_some_and(|e| ENDINGS.iter().any(|ending| e == *ending))
        {
            let text = fs::read_to_string(&path).map_err(unreadable)?;
            let path = relative;
            sources.push(Source { path, text });
        }
    }
    Ok(())
}

/// Where `piece` is inside the items of that name; `item` can also be the name of a file. An
/// item ends at the first line that is indented as its first one and closes it, as rustfmt
/// writes it.
pub fn find(source: &Source, item: &str, piece: &str) -> Vec<Range<usize>> {
    let text = &source.text;
    let file = item.contains('.') && source.path.ends_with(&format!("/{item}"));
    let ranges = match file {
        true => Vec::from([Range {
            start: 0,
            end: text.len(),
        }]),
        false => items(text, item),
    };
    let mut found: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        for inner in pieces(&text[range.clone()], piece) {
            let place = range.start + inner.start..range.start + inner.end;
            if !found.contains(&place) {
                found.push(place);
            }
        }
    }
    found
}

fn items(text: &str, item: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if begins(line, item) {
            ranges.push(start..start + length(&text[start..]));
        }
        start += line.len();
    }
    ranges
}

/// Whether an item of that name begins in this line.
fn begins(line: &str, item: &str) -> bool {
    let mut words = line.split_whitespace().peekable();
    while let Some(word) = words.next() {
        if KEYWORDS.contains(&word)
            && let Some(rest) = words.peek().and_then(|next| next.strip_prefix(item))
            && !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_')
        {
            return true;
        }
    }
    false
}

/// Bytes of the item that begins with the first line of `text`.
fn length(text: &str) -> usize {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut lines = text.split_inclusive('\n');
    let first = lines.next().unwrap_or_default();
    let mut length = first.len();
    let closed = first.trim_end().ends_with([';', '}']);
    if closed {
        return length;
    }
    for line in lines {
        length += line.len();
        let closes = line.trim_start().starts_with(['}', ']']) || line.trim() == "end";
        if indent(line) == indent(first) && (closes || line.trim_end() == ");") {
            break;
        }
    }
    length
}

/// Where `piece` is in `text`, spaces apart.
fn pieces(text: &str, piece: &str) -> Vec<Range<usize>> {
    let solid: Vec<(usize, char)> = text
        .char_indices()
        .filter(|(_, c)| !c.is_whitespace())
        .collect();
    let wanted: Vec<char> = piece.chars().filter(|c| !c.is_whitespace()).collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for window in solid.windows(wanted.len()) {
        if window.iter().map(|(_, c)| c).eq(wanted.iter()) {
            let (start, (end, last)) = (window[0].0, window[wanted.len() - 1]);
            found.push(start..end + last.len_utf8());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
impl Log {
    fn first(&self) -> u8 {
        self.at.min(
            3,
        )
    }

    fn first_of_all(&self) -> u8 {
        self.at.min(3)
    }
}
const LIMIT: u8 = 3;
";

    #[test]
    fn a_piece_is_found_in_its_item_alone() {
        let source = Source {
            path: "crates/eventlog/src/log.rs".into(),
            text: TEXT.into(),
        };
        let count = |item, piece| find(&source, item, piece).len();
        let found = find(&source, "first", "self.at.min(3,)");
        assert_eq!(found.len(), 1);
        assert!(TEXT[found[0].clone()].starts_with("self.at.min(\n"));
        assert_eq!(count("first_of_all", "min(3)"), 1);
        assert_eq!(count("first", "min(3)"), 0);
        assert_eq!(count("LIMIT", "= 3"), 1);
        assert_eq!(count("Log", "min"), 2);
        assert_eq!(count("missing", "min"), 0);
        assert_eq!(count("log.rs", "min(3"), 2);
        assert_eq!(count("load.rs", "min(3"), 0);
    }
}
