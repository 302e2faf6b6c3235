//! Answers to a program's queries.

use crate::{machine::Machine, sequence::Csi};

impl Machine {
    /// Answers a query, if it is one that this terminal knows.
    pub(crate) fn report(&mut self, csi: &Csi<'_>) {
        let first = csi.number(0).unwrap_or(0);
        match (csi.name(), first) {
            // A VT220 with colours.
            ((0, 0, b'c'), 0) => self.answer(b"\x1b[?62;22c"),
            ((b'>', 0, b'c'), 0) => self.answer(b"\x1b[>1;10;0c"),
            ((b'=', 0, b'c'), 0) => self.answer(b"\x1bP!|00000000\x1b\\"),
            ((0, 0, b'n'), 5) => self.answer(b"\x1b[0n"),
            ((0, 0, b'n'), 6) => self.report_cursor(""),
            ((b'?', 0, b'n'), 6) => self.report_cursor("?"),
            // The colour scheme: dark.
            ((b'?', 0, b'n'), 996) => self.answer(b"\x1b[?997;1n"),
            ((b'>', 0, b'q'), 0) => {
                self.answer(concat!("\x1bP>|pilothouse(", env!("CARGO_PKG_VERSION"), ")\x1b\\").as_bytes());
            }
            ((b'?', 0, b'u'), _) => self.answer(format!("\x1b[?{}u", self.keyboard().flags()).as_bytes()),
            ((b'?', 0, b'm'), 4) => self.answer(format!("\x1b[>4;{}m", self.modes.other_keys).as_bytes()),
            ((0, 0, b't'), 18) => {
                let (columns, rows) = self.size();
                self.answer(format!("\x1b[8;{rows};{columns}t").as_bytes());
            }
            ((b'?', b'$', b'p'), mode) => self.answer(format!("\x1b[?{mode};{}$y", self.private_mode(mode)).as_bytes()),
            ((0, b'$', b'p'), mode) => {
                let is = match mode {
                    4 => set_or_not(self.modes.insert),
                    20 => set_or_not(self.modes.newline),
                    _ => 0,
                };
                self.answer(format!("\x1b[{mode};{is}$y").as_bytes());
            }
            _ => {}
        }
    }

    fn report_cursor(&mut self, mark: &str) {
        let (columns, _) = self.size();
        let (row, column) = self.cursor();
        let row = if self.origin { row.saturating_sub(self.region.0) } else { row };
        self.answer(format!("\x1b[{mark}{};{}R", row + 1, column.min(columns - 1) + 1).as_bytes());
    }

    /// State of a private mode in a report: 1 set, 2 not set, 0 not known: none that a window would be needed for.
    fn private_mode(&self, mode: u16) -> u8 {
        let screen = self.screen();
        let mouse = screen.mouse_protocol_mode();
        match mode {
            1 => set_or_not(screen.application_cursor()),
            6 => set_or_not(self.origin),
            9 => set_or_not(mouse == vt100::MouseProtocolMode::Press),
            25 => set_or_not(!screen.hide_cursor()),
            47 | 1047 | 1049 => set_or_not(screen.alternate_screen()),
            66 => set_or_not(screen.application_keypad()),
            1000 => set_or_not(mouse == vt100::MouseProtocolMode::PressRelease),
            1002 => set_or_not(mouse == vt100::MouseProtocolMode::ButtonMotion),
            1003 => set_or_not(mouse == vt100::MouseProtocolMode::AnyMotion),
            1006 => set_or_not(screen.mouse_protocol_encoding() == vt100::MouseProtocolEncoding::Sgr),
            2004 => set_or_not(screen.bracketed_paste()),
            7 | 1004 | 2026 => self.modes.get(mode).map_or(0, set_or_not),
            _ => 0,
        }
    }

    /// Answers DECRQSS, which asks for a setting.
    pub(crate) fn report_setting(&mut self, asked: &[u8]) {
        let mut out = b"\x1bP1$r".to_vec();
        match asked {
            b"m" => {
                let mut pen = Vec::new();
                self.pen.write(&mut pen);
                out.extend_from_slice(pen.strip_prefix(b"\x1b[").unwrap_or(&pen));
            }
            b"r" => out.extend_from_slice(format!("{};{}r", self.region.0 + 1, self.region.1 + 1).as_bytes()),
            b" q" => out.extend_from_slice(format!("{} q", self.screen().cursor_style() as u8).as_bytes()),
            _ => out = b"\x1bP0$r".to_vec(),
        }
        out.extend_from_slice(b"\x1b\\");
        self.answer(&out);
    }
}

fn set_or_not(on: bool) -> u8 {
    if on { 1 } else { 2 }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use crate::{Emulator, Event};

    #[rstest]
    #[case("\x1b[5n", "\x1b[0n")]
    #[case("ab\r\ncd\x1b[6n", "\x1b[2;3R")]
    #[case("\x1b[3;6r\x1b[?6h\x1b[2;1Hab\x1b[6n", "\x1b[2;3R")]
    #[case("\x1b[1;80Hx\x1b[6n", "\x1b[1;80R")]
    #[case("\x1b[c", "\x1b[?62;22c")]
    #[case("\x1b[0c\x1bZ", "\x1b[?62;22c\x1b[?62;22c")]
    #[case("\x1b[>c", "\x1b[>1;10;0c")]
    #[case("\x1b[>0q", concat!("\x1bP>|pilothouse(", env!("CARGO_PKG_VERSION"), ")\x1b\\"))]
    #[case("\x1b[?u", "\x1b[?0u")]
    #[case("\x1b[>1u\x1b[>5u\x1b[?u\x1b[<u\x1b[?u\x1b[=2;2u\x1b[?u\x1b[<9u\x1b[?u", "\x1b[?5u\x1b[?1u\x1b[?3u\x1b[?0u")]
    #[case("\x1b[>1u\x1b[?1049h\x1b[?u\x1b[?1049l\x1b[?u", "\x1b[?0u\x1b[?1u")]
    #[case("\x1b[>4;2m\x1b[?4m\x1b[>4m\x1b[?4m", "\x1b[>4;2m\x1b[>4;0m")]
    #[case("\x1b[?2026$p\x1b[?2026h\x1b[?2026$p", "\x1b[?2026;2$y\x1b[?2026;1$y")]
    #[case("\x1b[?2004$p\x1b[?7$p\x1b[?25$p\x1b[4$p", "\x1b[?2004;2$y\x1b[?7;1$y\x1b[?25;1$y\x1b[4;2$y")]
    #[case("\x1b[?1016$p\x1b[?2048$p\x1b[?12345$p", "\x1b[?1016;0$y\x1b[?2048;0$y\x1b[?12345;0$y")]
    #[case("\x1b[18t\x1b[14t", "\x1b[8;24;80t")]
    #[case("\x1b]11;?\x07", "\x1b]11;rgb:1212/1212/1212\x1b\\")]
    #[case(
        "\x1b[1;31m\x1bP$qm\x1b\\\x1bP$q q\x1b\\\x1bP$qx\x1b\\",
        "\x1bP1$r0;1;31m\x1b\\\x1bP1$r0 q\x1b\\\x1bP0$r\x1b\\"
    )]
    #[case("\x1bP+q524742\x1b\\", "\x1bP0+r\x1b\\")]
    #[case("nothing \x1b[2J\x1b[1m\x1b]0;t\x07", "")]
    fn queries_are_answered_in_their_order(#[case] written: &str, #[case] answers: &str) {
        let mut emulator = Emulator::new(80, 24, 0, 0);
        emulator.feed(written.as_bytes());
        let given = emulator.events().into_iter().filter_map(|event| match event {
            Event::Answer(bytes) => Some(bytes),
            _ => None,
        });
        assert_eq!(String::from_utf8(given.flatten().collect()).unwrap(), answers);
    }

    /// What programs ask as they start, as they were seen to with nobody attached. Each waits for the last answer here, and none for
    /// an answer that is not here.
    #[rstest]
    #[case::codex_0_171(
        "\x1b[?u\x1b[?1007$p\x1b[c\x1b[6n\x1b]10;?\x1b\\\x1b]11;?\x1b\\",
        "\x1b[?0u\x1b[?1007;0$y\x1b[?62;22c\x1b[1;1R\x1b]10;rgb:e5e5/e5e5/e5e5\x1b\\\x1b]11;rgb:1212/1212/1212\x1b\\"
    )]
    #[case::claude_2_1_332(
        "\x1b[>0q\x1b[?u\x1b]7501;?\x07\x1b[c\x1b[?2026$p\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[16t\x1b[?1016$p\x1b[c",
        concat!(
            "\x1bP>|pilothouse(", env!("CARGO_PKG_VERSION"), ")\x1b\\\x1b[?0u\x1b]7501;?\x1b\\\x1b[?62;22c\x1b[?2026;2$y\x1b[?1016;0$y\x1b[?62;22c"
        )
    )]
    #[case::opencode_1_18(
        "\x1b]10;?\x07\x1b]11;?\x07\x1b[>0q\x1b[6n\x1bP+q4d73\x1b\\\x1b[?2031$p\x1b[?2026$p\x1b[?u\x1b[14t\x1b]4;0;?\x07\x1b[c",
        concat!(
            "\x1b]10;rgb:e5e5/e5e5/e5e5\x1b\\\x1b]11;rgb:1212/1212/1212\x1b\\\x1bP>|pilothouse(", env!("CARGO_PKG_VERSION"),
            ")\x1b\\\x1b[1;1R\x1bP0+r\x1b\\\x1b[?2031;0$y\x1b[?2026;2$y\x1b[?0u\x1b]4;0;rgb:0000/0000/0000\x1b\\\x1b[?62;22c"
        )
    )]
    #[case::gemini_0_61(
        "\x1b[?u\x1b]11;?\x1b\\\x1b[>q\x1b[c",
        concat!("\x1b[?0u\x1b]11;rgb:1212/1212/1212\x1b\\\x1bP>|pilothouse(", env!("CARGO_PKG_VERSION"), ")\x1b\\\x1b[?62;22c")
    )]
    fn programs_that_start_are_answered(#[case] asked: &str, #[case] answers: &str) {
        let mut emulator = Emulator::new(100, 30, 0, 0);
        emulator.feed(asked.as_bytes());
        let given = emulator.events().into_iter().filter_map(|event| match event {
            Event::Answer(bytes) | Event::StatusAnswer(bytes) => Some(bytes),
            _ => None,
        });
        assert_eq!(String::from_utf8(given.flatten().collect()).unwrap(), answers);
    }
}
