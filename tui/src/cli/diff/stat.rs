use std::fmt::Write as _;

use pilothouse_proto::hostd::v1::{DiffFile, DiffFileEnd, DiffPiece};

use super::{form::Form, names::shown};
use crate::cli::{
    failure::Failure,
    output,
    table::{Tone, truncate},
};

/// Most columns of a bar; [`NAME`] is that of a name where stdout is no terminal.
const BAR: u64 = 40;
const NAME: usize = 100;

/// Shows how many lines changed in each file.
#[derive(Default)]
pub(super) struct Stat {
    rows: Vec<Row>,
    cut: bool,
}

struct Row {
    name: String,
    added: u64,
    removed: u64,
    /// Word that stands in place of counts.
    word: Option<String>,
}

impl Form for Stat {
    fn listed(&mut self, _: &[DiffFile], cut: bool) -> Result<(), Failure> {
        self.cut = cut;
        Ok(())
    }

    fn piece(&mut self, file: &DiffFile, piece: &DiffPiece) -> Result<(), Failure> {
        let Some(end) = &piece.end else { return Ok(()) };
        let (old, new) = (shown(&file.old_path), shown(&file.new_path));
        let name = if old == new { new } else { format!("{old} => {new}") };
        let word = match end.contents.as_str() {
            "text" | "same" => None,
            word => Some(word.replace('-', " ")),
        };
        self.rows.push(Row { name, added: end.added, removed: end.removed, word });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Failure> {
        let width = output::width().unwrap_or(NAME + 60);
        output::print(&table(&self.rows, width, output::colour()))?;
        if self.cut { Err(Failure::failed("there are more changed files than the host lists")) } else { Ok(()) }
    }
}

/// Shows how many lines changed in each file, for programs: as `git diff --numstat -z` writes it.
#[derive(Default)]
pub(super) struct Numbers {
    cut: bool,
}

impl Form for Numbers {
    fn listed(&mut self, _: &[DiffFile], cut: bool) -> Result<(), Failure> {
        self.cut = cut;
        Ok(())
    }

    fn piece(&mut self, file: &DiffFile, piece: &DiffPiece) -> Result<(), Failure> {
        let Some(end) = &piece.end else { return Ok(()) };
        output::write(&numbers(file, end))
    }

    fn end(&mut self) -> Result<(), Failure> {
        if self.cut { Err(Failure::failed("there are more changed files than the host lists")) } else { Ok(()) }
    }
}

fn numbers(file: &DiffFile, end: &DiffFileEnd) -> Vec<u8> {
    let mut out = match end.contents.as_str() {
        "text" | "same" => format!("{}\t{}\t", end.added, end.removed).into_bytes(),
        _ => b"-\t-\t".to_vec(),
    };
    if file.old_path != file.new_path {
        out.push(0);
        out.extend_from_slice(&file.old_path);
        out.push(0);
    }
    out.extend_from_slice(&file.new_path);
    out.push(0);
    out
}

fn table(rows: &[Row], width: usize, colour: bool) -> String {
    use unicode_width::UnicodeWidthStr as _;
    let count = |row: &Row| row.word.clone().unwrap_or_else(|| (row.added + row.removed).to_string());
    let counts = rows.iter().map(|row| count(row).len()).max().unwrap_or(0);
    let bar = BAR.min(width as u64 / 3);
    let names = rows.iter().map(|row| row.name.width()).max().unwrap_or(0);
    let names = names.min(width.saturating_sub(counts + bar as usize + 6).max(20));
    let most = rows.iter().map(|row| row.added + row.removed).max().unwrap_or(0);
    // A side that changed at all has a sign.
    let scaled = |lines: u64| if most <= bar { lines } else { (lines * bar).div_ceil(most) } as usize;
    let mut out = String::new();
    for row in rows {
        let name = truncate(&row.name, names);
        let pad = names - name.width();
        let plus = Tone::Good.paint(&"+".repeat(scaled(row.added)), colour && row.added > 0);
        let minus = Tone::Bad.paint(&"-".repeat(scaled(row.removed)), colour && row.removed > 0);
        let line = format!(" {name}{} | {:>counts$} {plus}{minus}", " ".repeat(pad), count(row));
        let _ = writeln!(out, "{}", line.trim_end());
    }
    let files = rows.len();
    let (added, removed) = rows.iter().fold((0, 0), |sum, row| (sum.0 + row.added, sum.1 + row.removed));
    let files = if files == 1 { "1 file".into() } else { format!("{files} files") };
    let _ = writeln!(out, " {files} changed, {added} added, {removed} removed");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_git_writes_them() {
        let numbers = |old: &'static [u8], new: &'static [u8], contents: &str| {
            let file = DiffFile { old_path: old.into(), new_path: new.into(), ..DiffFile::default() };
            numbers(&file, &DiffFileEnd { contents: contents.into(), added: 3, removed: 1, ..DiffFileEnd::default() })
        };
        assert_eq!(numbers(b"a\xff b", b"a\xff b", "text"), b"3\t1\ta\xff b\0");
        assert_eq!(numbers(b"a", b"b", "text"), b"3\t1\t\0a\0b\0");
        assert_eq!(numbers(b"a", b"a", "binary"), b"-\t-\ta\0");
    }

    #[test]
    fn bars_are_scaled_to_the_largest() {
        let row = |name: &str, added, removed, word: Option<&str>| Row {
            name: name.into(),
            added,
            removed,
            word: word.map(str::to_owned),
        };
        let rows = [row("a", 1, 0, None), row("b/c", 300, 100, None), row("d", 0, 0, Some("binary"))];
        let expected = " a   |      1 +\n b/c |    400 ++++++++++++++++++++-------\n d   | binary\n 3 files changed, 301 added, 100 removed\n";
        assert_eq!(table(&rows, 80, false), expected);
    }
}
