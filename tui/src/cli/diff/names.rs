use pilothouse_proto::hostd::v1::{DiffFile, DiffPiece};

use super::form::Form;
use crate::cli::{failure::Failure, format::plain, output};

/// The names of the changed files, a line each.
pub(super) struct Names {
    /// Each as it is, ended with a NUL instead.
    pub(super) nul: bool,
}

impl Form for Names {
    fn listed(&mut self, files: &[DiffFile], cut: bool) -> Result<(), Failure> {
        let mut names = vec![];
        for file in files {
            if self.nul {
                names.extend_from_slice(&file.new_path);
                names.push(0);
            } else {
                names.extend(shown(&file.new_path).into_bytes());
                names.push(b'\n');
            }
        }
        output::write(&names)?;
        if cut { Err(Failure::failed("there are more changed files than the host lists")) } else { Ok(()) }
    }

    fn piece(&mut self, _: &DiffFile, _: &DiffPiece) -> Result<(), Failure> {
        Ok(())
    }

    fn end(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

/// A path for people: as it is where it is text, else as [`quoted`] has it.
pub(super) fn shown(path: &[u8]) -> String {
    match std::str::from_utf8(path) {
        Ok(text) if plain(text) == text && !text.contains(['\t', '\n', '"', '\\']) => text.to_owned(),
        _ => quoted("", path),
    }
}

/// A path as git writes it: where it has special bytes, in quotes, with C's escapes.
pub(super) fn quoted(prefix: &str, path: &[u8]) -> String {
    let special = |byte: &u8| matches!(byte, 0..0x20 | b'"' | b'\\' | 0x7f..);
    if !path.iter().any(special) {
        return format!("{prefix}{}", String::from_utf8_lossy(path));
    }
    let mut out = format!("\"{prefix}");
    for byte in path {
        match byte {
            b'\t' => out.push_str("\\t"),
            b'\n' => out.push_str("\\n"),
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            0x20..0x7f => out.push(char::from(*byte)),
            _ => out.push_str(&format!("\\{byte:03o}")),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_text_are_shown_as_they_are() {
        for name in ["x y", "\u{fc}ber/\u{65e5}\u{672c}.txt"] {
            assert_eq!(shown(name.as_bytes()), name);
        }
        assert_eq!(shown(b"bad\xff.txt"), r#""bad\377.txt""#);
        // What could play tricks with a terminal or a reader.
        for name in ["a\tb", "a\nb", "a\u{1b}[2J", "a\u{9b}2J", "a\u{202e}txt.exe", "a\"b", "a\\b"] {
            assert!(shown(name.as_bytes()).starts_with('"'), "{name:?}");
        }
    }

    #[test]
    fn names_are_quoted_as_git_does() {
        assert_eq!(quoted("a/", b"x y"), "a/x y");
        assert_eq!(quoted("a/", "\u{fc}\t\"\\\x07".as_bytes()), r#""a/\303\274\t\"\\\007""#);
        assert_eq!(quoted("b/", b"bad\xff.txt"), r#""b/bad\377.txt""#);
    }
}
