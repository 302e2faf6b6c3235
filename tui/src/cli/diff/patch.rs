//! A patch as `git diff` writes it; on a terminal with colours and without what could play tricks with it.

use pilothouse_proto::hostd::v1::{DiffFile, DiffHunk, DiffLine, DiffLineEnding, DiffLineKind, DiffPiece};

use super::{form::Form, names::quoted};
use crate::cli::{failure::Failure, format::plain_lines, output};

const BOLD: &str = "\x1b[1m";
const PLACE: &str = "\x1b[36m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const MARK: &str = "\x1b[7m";
const MARK_END: &str = "\x1b[27m";
const END: &str = "\x1b[0m";

/// Shows a difference as a patch.
pub(super) struct Patch {
    /// Whether somebody reads the patch on a terminal.
    terminal: bool,
    colour: bool,
    /// Number of the file whose head was printed; `named`: whether its names were, too.
    file: Option<u32>,
    named: bool,
    /// Whether the last line goes on in the next piece.
    open: bool,
    /// Names of the files whose changes are not in the patch.
    missing: Vec<String>,
    cut: bool,
}

impl Patch {
    pub(super) fn new(terminal: bool, colour: bool) -> Self {
        Self { terminal, colour, file: None, named: false, open: false, missing: vec![], cut: false }
    }

    /// Text of everything that comes with a piece.
    fn text(&mut self, file: &DiffFile, piece: &DiffPiece) -> Vec<u8> {
        let mut out = vec![];
        if self.file.replace(piece.file) != Some(piece.file) {
            self.named = false;
            self.paint(&mut out, BOLD, &head(file));
        }
        for hunk in &piece.hunks {
            if !std::mem::replace(&mut self.named, true) {
                let (old, new) = names(file);
                self.paint(&mut out, BOLD, &format!("--- {old}\n+++ {new}\n"));
            }
            if !hunk.goes_on {
                self.paint(&mut out, PLACE, &format!("{}\n", place(hunk)));
            }
            hunk.lines.iter().for_each(|line| self.line(&mut out, line));
        }
        match piece.end.as_ref().map(|end| end.contents.as_str()) {
            Some("binary") => {
                let (old, new) = names(file);
                let differ = format!("Binary files {} and {} differ\n", old.trim_end(), new.trim_end());
                out.extend_from_slice(differ.as_bytes());
            }
            Some(why @ ("too-large" | "missing")) => {
                self.missing.push(format!("{} ({})", quoted("", &file.new_path), why.replace('-', " ")));
            }
            _ => {}
        }
        out
    }

    fn paint(&self, out: &mut Vec<u8>, style: &str, text: &str) {
        for line in text.split_inclusive('\n') {
            let (text, end) = line.strip_suffix('\n').map_or((line, ""), |text| (text, "\n"));
            if self.colour {
                out.extend_from_slice(format!("{style}{text}{END}{end}").as_bytes());
            } else {
                out.extend_from_slice(line.as_bytes());
            }
        }
    }

    fn line(&mut self, out: &mut Vec<u8>, line: &DiffLine) {
        let (sign, style) = match line.kind() {
            DiffLineKind::Context => (b' ', ""),
            DiffLineKind::Removed => (b'-', RED),
            DiffLineKind::Added => (b'+', GREEN),
        };
        let style = if self.colour { style } else { "" };
        out.extend_from_slice(style.as_bytes());
        if !self.open {
            out.push(sign);
        }
        self.contents(out, line);
        if !style.is_empty() {
            out.extend_from_slice(END.as_bytes());
        }
        self.open = line.ending() == DiffLineEnding::GoesOn;
        match line.ending() {
            DiffLineEnding::Newline => out.push(b'\n'),
            DiffLineEnding::None => out.extend_from_slice(b"\n\\ No newline at end of file\n"),
            DiffLineEnding::GoesOn => {}
        }
    }

    /// Writes a line's text, the changed parts marked where there are colours.
    fn contents(&self, out: &mut Vec<u8>, line: &DiffLine) {
        let mut at = 0;
        let marks = if self.colour { &line.marks[..] } else { &[] };
        for mark in marks.chunks_exact(2) {
            let (begin, end) = (mark[0] as usize, mark[1] as usize);
            // Foreign numbers: only those that make sense.
            if begin < at || end < begin || end > line.text.len() {
                continue;
            }
            self.put(out, &line.text[at..begin]);
            out.extend_from_slice(MARK.as_bytes());
            self.put(out, &line.text[begin..end]);
            out.extend_from_slice(MARK_END.as_bytes());
            at = end;
        }
        self.put(out, &line.text[at..]);
    }

    fn put(&self, out: &mut Vec<u8>, text: &[u8]) {
        if self.terminal {
            out.extend_from_slice(plain_lines(&String::from_utf8_lossy(text)).as_bytes());
        } else {
            out.extend_from_slice(text);
        }
    }
}

impl Form for Patch {
    fn listed(&mut self, _: &[DiffFile], cut: bool) -> Result<(), Failure> {
        self.cut = cut;
        Ok(())
    }

    fn piece(&mut self, file: &DiffFile, piece: &DiffPiece) -> Result<(), Failure> {
        output::write(&self.text(file, piece))
    }

    fn end(&mut self) -> Result<(), Failure> {
        let why = match (&self.missing[..], self.cut) {
            ([], false) => return Ok(()),
            ([], true) => "there are more changed files than the host lists".into(),
            (missing, _) => format!("not all changes are shown: {}", missing.join(", ")),
        };
        Err(Failure::failed(why).hint("`--stat` and `-- PATH` show less"))
    }
}

/// Line such as `@@ -1,3 +1,4 @@` before a hunk; a count of one is left out.
fn place(hunk: &DiffHunk) -> String {
    let side = |start: u32, lines: u32| if lines == 1 { start.to_string() } else { format!("{start},{lines}") };
    format!("@@ -{} +{} @@", side(hunk.old_start, hunk.old_lines), side(hunk.new_start, hunk.new_lines))
}

/// Names of a file in the lines before its first hunk.
fn names(file: &DiffFile) -> (String, String) {
    let name = |prefix, path: &[u8], mode| {
        // So that blanks at the end are seen to be the name's.
        let tab = if path.contains(&b' ') { "\t" } else { "" };
        if mode == 0 { "/dev/null".into() } else { format!("{}{tab}", quoted(prefix, path)) }
    };
    (name("a/", &file.old_path, file.old_mode), name("b/", &file.new_path, file.new_mode))
}

/// Head of a file: all but the names and the hunks.
fn head(file: &DiffFile) -> String {
    let mut out = format!("diff --git {} {}\n", quoted("a/", &file.old_path), quoted("b/", &file.new_path));
    match (file.old_mode, file.new_mode) {
        (0, new) => out += &format!("new file mode {new:06o}\n"),
        (old, 0) => out += &format!("deleted file mode {old:06o}\n"),
        (old, new) if old != new => out += &format!("old mode {old:06o}\nnew mode {new:06o}\n"),
        _ => {}
    }
    let moved = match file.status.as_str() {
        "renamed" => Some("rename"),
        "copied" => Some("copy"),
        _ => None,
    };
    if let Some(word) = moved {
        let (old, new) = (quoted("", &file.old_path), quoted("", &file.new_path));
        out += &format!("similarity index {}%\n{word} from {old}\n{word} to {new}\n", file.similarity);
    }
    if file.old_id != file.new_id {
        let mode = if file.old_mode == file.new_mode { format!(" {:06o}", file.old_mode) } else { String::new() };
        out += &format!("index {}..{}{mode}\n", short(&file.old_id), short(&file.new_id));
    }
    out
}

/// Enough digits of an id for `git apply` to know it by, in every repository that fits a disk.
fn short(id: &str) -> &str {
    id.get(..16).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use pilothouse_proto::hostd::v1::DiffFileEnd;

    use super::*;

    fn file() -> DiffFile {
        DiffFile {
            status: "modified".into(),
            old_path: "a b".into(),
            new_path: "a b".into(),
            old_mode: 0o100_644,
            new_mode: 0o100_644,
            old_id: "1".repeat(40),
            new_id: "2".repeat(40),
            ..DiffFile::default()
        }
    }

    fn line(kind: DiffLineKind, text: &'static [u8], ending: DiffLineEnding, marks: &[u32]) -> DiffLine {
        DiffLine { kind: kind.into(), text: text.into(), ending: ending.into(), marks: marks.to_vec() }
    }

    fn piece() -> DiffPiece {
        let lines = vec![
            line(DiffLineKind::Removed, b"one \x1b[2J\xff", DiffLineEnding::Newline, &[0, 3, 90, 91]),
            line(DiffLineKind::Added, b"tw", DiffLineEnding::GoesOn, &[]),
            line(DiffLineKind::Added, b"o", DiffLineEnding::None, &[]),
        ];
        let hunk = DiffHunk { old_start: 1, old_lines: 1, new_start: 1, new_lines: 2, lines, goes_on: false };
        DiffPiece { file: 0, hunks: vec![hunk], end: None }
    }

    #[test]
    fn elsewhere_every_byte_is_passed_on() {
        let out = Patch::new(false, false).text(&file(), &piece());
        let expected =
            b"diff --git a/a b b/a b\nindex 1111111111111111..2222222222222222 100644\n--- a/a b\t\n+++ b/a b\t\n\
            @@ -1 +1,2 @@\n-one \x1b[2J\xff\n+two\n\\ No newline at end of file\n";
        assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(expected));
    }

    #[test]
    fn on_a_terminal_it_is_coloured_and_harmless() {
        let out = String::from_utf8(Patch::new(true, true).text(&file(), &piece())).unwrap();
        assert!(out.contains("\x1b[31m-\x1b[7mone\x1b[27m [2J\u{fffd}\x1b[0m\n"), "{out:?}");
        assert!(out.contains("\x1b[36m@@ -1 +1,2 @@\x1b[0m\n"), "{out:?}");
    }

    #[test]
    fn heads_are_git_s() {
        let moved = DiffFile { status: "renamed".into(), new_path: "\u{fc}".into(), similarity: 90, ..file() };
        let expected =
            "diff --git a/a b \"b/\\303\\274\"\nsimilarity index 90%\nrename from a b\nrename to \"\\303\\274\"\n";
        assert!(head(&moved).starts_with(expected), "{}", head(&moved));
        let new = DiffFile { old_mode: 0, new_mode: 0o120_000, old_id: "0".repeat(40), ..file() };
        assert!(head(&new).contains("new file mode 120000\nindex 0000000000000000..2222222222222222\n"));
        let mode = DiffFile { new_mode: 0o100_755, new_id: file().old_id, ..file() };
        assert_eq!(head(&mode), "diff --git a/a b b/a b\nold mode 100644\nnew mode 100755\n");
    }

    #[test]
    fn what_is_not_in_it_fails() {
        let mut patch = Patch::new(false, false);
        let end = |contents: &str| DiffPiece {
            end: Some(DiffFileEnd { contents: contents.into(), ..DiffFileEnd::default() }),
            ..DiffPiece::default()
        };
        let out = patch.text(&file(), &end("binary"));
        assert!(String::from_utf8_lossy(&out).ends_with("Binary files a/a b and b/a b differ\n"));
        assert!(patch.end().is_ok());
        patch.text(&file(), &end("too-large"));
        assert!(patch.end().unwrap_err().message.contains("a b (too large)"));
    }
}
