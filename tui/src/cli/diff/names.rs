use pilothouse_proto::hostd::v1::{DiffFile, DiffPiece};

use super::Form;
use crate::cli::{failure::Failure, output};

/// The names of the changed files, a line each.
pub(super) struct Names;

impl Form for Names {
    fn listed(&mut self, files: &[DiffFile], cut: bool) -> Result<(), Failure> {
        let mut names = String::new();
        for file in files {
            names.push_str(&quoted("", &file.new_path));
            names.push('\n');
        }
        output::print(&names)?;
        if cut { Err(Failure::failed("there are more changed files than the host lists")) } else { Ok(()) }
    }

    fn piece(&mut self, _: &DiffFile, _: &DiffPiece) -> Result<(), Failure> {
        Ok(())
    }

    fn end(&mut self) -> Result<(), Failure> {
        Ok(())
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
    fn names_are_quoted_as_git_does() {
        assert_eq!(quoted("a/", b"x y"), "a/x y");
        assert_eq!(quoted("a/", "\u{fc}\t\"\\\x07".as_bytes()), r#""a/\303\274\t\"\\\007""#);
        assert_eq!(quoted("b/", b"bad\xff.txt"), r#""b/bad\377.txt""#);
    }
}
