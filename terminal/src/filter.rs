//! What a real terminal is sent of a program's output.

use crate::{machine::Machine, query, scanner::Token, sequence::Csi, status};

/// Passes a stream on but for: copies to the clipboard, which are for the user to decide; reports of a program's status, which
/// the host takes; queries where another terminal answers; the stack of titles, which is not the program's; and the stack of keyboard modes, which is replaced by what is in
/// force, so that the terminal has one entry of ours however many a program pushes. Pastes stay in brackets, whether the program
/// wants them so or not.
#[derive(Debug)]
pub(crate) struct Filter {
    answers: bool,
    pub(crate) out: Vec<u8>,
}

impl Filter {
    pub(crate) fn new(answers: bool) -> Self {
        Self { answers, out: Vec::new() }
    }

    /// Passes on what the real terminal gets of a token, which `machine` has taken.
    pub(crate) fn pass(&mut self, token: Token<'_>, machine: &Machine) {
        match token {
            // ENQ is a query.
            Token::Control(0x05) if !self.answers => {}
            Token::Control(byte) => self.out.push(byte),
            Token::Text(bytes) | Token::Part(bytes) => self.out.extend_from_slice(bytes),
            Token::LongCopy => {}
            Token::Sequence(bytes) => self.sequence(bytes, machine),
            Token::String(bytes) => {
                let taken = bytes.starts_with(b"\x1b]52;") || bytes.starts_with(status::BEGIN);
                if !taken && (self.answers || !query::is_string_query(bytes)) {
                    self.out.extend_from_slice(bytes);
                    // Another sequence ended it.
                    if query::content(bytes).len() == bytes.len() {
                        self.out.extend_from_slice(b"\x1b\\");
                    }
                }
            }
        }
    }

    fn sequence(&mut self, bytes: &[u8], machine: &Machine) {
        if !self.answers && query::is_query(bytes) {
            return;
        }
        match Csi::parse(bytes).map(|csi| (csi.name(), csi)) {
            Some(((b'>' | b'<' | b'=', 0, b'u'), _)) => self.keyboard(machine),
            Some(((0, 0, b't'), csi)) if matches!(csi.number(0), Some(22 | 23)) => {}
            Some(((b'?', 0, b'h' | b'l'), csi)) => {
                self.out.extend_from_slice(bytes);
                let lets_pastes_go = csi.name().2 == b'l' && has(&csi, &[2004]);
                if lets_pastes_go {
                    self.out.extend_from_slice(b"\x1b[?2004h");
                }
                if has(&csi, &[47, 1047, 1049]) {
                    // Each screen has a keyboard of its own.
                    self.keyboard(machine);
                }
            }
            _ => {
                self.out.extend_from_slice(bytes);
                if bytes == b"\x1bc" {
                    self.out.extend_from_slice(b"\x1b[?2004h");
                    self.keyboard(machine);
                }
            }
        }
    }

    fn keyboard(&mut self, machine: &Machine) {
        self.out.extend_from_slice(format!("\x1b[={}u", machine.keyboard().flags()).as_bytes());
    }
}

/// Whether one of these modes is among those that the sequence sets or ends.
fn has(csi: &Csi<'_>, modes: &[u16]) -> bool {
    csi.fields().any(|field| field.parts().next().flatten().is_some_and(|mode| modes.contains(&mode)))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use crate::Emulator;

    #[rstest]
    #[case::text("a\u{e9}\r\n\x1b[31;58:2::1:2:3mb\x07", "a\u{e9}\r\n\x1b[31;58:2::1:2:3mb\x07")]
    #[case::titles("\x1b]2;t\x07\x1b[22;0t\x1b[23t", "\x1b]2;t\x07")]
    #[case::copies("a\x1b]52;c;aGk=\x07\x1b]52;c;?\x07b", "ab")]
    #[case::status("a\x1b]7501;?\x07\x1b]7501;state=working\x1b\\b", "ab")]
    #[case::keyboards("\x1b[>1u\x1b[>3u\x1b[<u\x1b[<9u", "\x1b[=1u\x1b[=3u\x1b[=1u\x1b[=0u")]
    #[case::screens("\x1b[>1u\x1b[?1049hx", "\x1b[=1u\x1b[?1049h\x1b[=0ux")]
    #[case::pastes("\x1b[?2004h\x1b[?25;2004lx", "\x1b[?2004h\x1b[?25;2004l\x1b[?2004hx")]
    #[case::graphics("\x1bPq#0~\x1b\\", "\x1bPq#0~\x1b\\")]
    fn what_passes(#[case] written: &str, #[case] passed: &str) {
        for answers in [false, true] {
            let mut emulator = Emulator::new(80, 24, 0, 0);
            assert_eq!(String::from_utf8(emulator.feed_through(written.as_bytes(), answers)).unwrap(), passed);
        }
    }

    #[test]
    fn queries_pass_only_to_a_terminal_that_answers() {
        let queries = "\x1b[6n\x1b[c\x1b[>c\x1b[>q\x1b[?u\x1b[?2026$p\x1b]11;?\x07\x1b[18t\x05\x1bP$qm\x1b\\";
        let mut emulator = Emulator::new(80, 24, 0, 0);
        assert_eq!(emulator.feed_through(queries.as_bytes(), true), queries.as_bytes());
        assert_eq!(emulator.feed_through(queries.as_bytes(), false), b"");
    }

    #[test]
    fn large_pictures_pass_and_large_copies_do_not() {
        let mut emulator = Emulator::new(80, 24, 0, 10_000);
        let picture = format!("\x1bPq{}\x1b\\", "~".repeat(50_000));
        assert_eq!(emulator.feed_through(picture.as_bytes(), false), picture.as_bytes());
        let copy = format!("\x1b]52;c;{}\x07", "YWJj".repeat(10_000));
        assert_eq!(emulator.feed_through(copy.as_bytes(), false), b"");
    }
}
