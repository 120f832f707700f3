//! Tables for people: aligned columns, one colour for what matters.

use std::io::{self, Write};

/// How a cell stands out on a terminal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Well,
    Notable,
    Bad,
}

impl Tone {
    /// SGR parameters (ECMA-48, 8.3.117).
    fn sgr(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Well => Some("32"),
            Self::Notable => Some("33"),
            Self::Bad => Some("31"),
        }
    }
}

pub struct Cell {
    text: String,
    tone: Tone,
    right: bool,
}

pub fn text(text: impl Into<String>) -> Cell {
    toned(text, Tone::Plain)
}

pub fn toned(text: impl Into<String>, tone: Tone) -> Cell {
    Cell {
        text: text.into(),
        tone,
        right: false,
    }
}

pub fn number(number: impl ToString) -> Cell {
    Cell {
        text: number.to_string(),
        tone: Tone::Plain,
        right: true,
    }
}

/// Whether standard output takes colour.
pub fn colours() -> bool {
    crate::terminal::colours(&io::stdout())
}

/// Writes `rows` below `headers`; numbers stand right, their headers too.
pub fn write(
    out: &mut impl Write,
    headers: &[&str],
    rows: &[Vec<Cell>],
    colours: bool,
) -> io::Result<()> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let widest = cells.map(|cell| cell.text.chars().count()).max();
        widest.unwrap_or(0).max(headers[column].len())
    };
    let widths: Vec<_> = (0..headers.len()).map(width).collect();
    let header = headers.iter().enumerate().map(|(column, header)| Cell {
        text: (*header).to_owned(),
        tone: Tone::Plain,
        right: rows.first().is_some_and(|row| row[column].right),
    });
    line(out, &header.collect::<Vec<_>>(), &widths, colours)?;
    for row in rows {
        line(out, row, &widths, colours)?;
    }
    Ok(())
}

fn line(out: &mut impl Write, cells: &[Cell], widths: &[usize], colours: bool) -> io::Result<()> {
    let mut written = String::new();
    for (index, (cell, width)) in cells.iter().zip(widths).enumerate() {
        if index > 0 {
            written.push_str("  ");
        }
        let blank = " ".repeat(width - cell.text.chars().count());
        let text = match cell.tone.sgr().filter(|_| colours) {
            Some(sgr) => format!("\u{1b}[{sgr}m{}\u{1b}[0m", cell.text),
            None => cell.text.clone(),
        };
        let (before, after) = if cell.right {
            (blank.as_str(), "")
        } else {
            ("", blank.as_str())
        };
        written.extend([before, &text, after]);
    }
    writeln!(out, "{}", written.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other_in_colour_too() -> io::Result<()> {
        let rows = || {
            vec![
                vec![text("social"), toned("live", Tone::Well), number(7)],
                vec![
                    text("timelines"),
                    toned("stalled", Tone::Bad),
                    number(1_234),
                ],
            ]
        };
        let mut plain = Vec::new();
        write(&mut plain, &["NAME", "STATE", "LAG"], &rows(), false)?;
        let plain = String::from_utf8_lossy(&plain).into_owned();
        let lines = [
            "NAME       STATE     LAG",
            "social     live        7",
            "timelines  stalled  1234",
        ];
        assert_eq!(plain.lines().collect::<Vec<_>>(), lines);
        let mut coloured = Vec::new();
        write(&mut coloured, &["NAME", "STATE", "LAG"], &rows(), true)?;
        let coloured = String::from_utf8_lossy(&coloured).into_owned();
        let bare = coloured
            .replace("\u{1b}[32m", "")
            .replace("\u{1b}[31m", "")
            .replace("\u{1b}[0m", "");
        assert!(coloured.len() > bare.len() && bare == plain);
        Ok(())
    }
}
