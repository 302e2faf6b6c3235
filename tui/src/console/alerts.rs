//! Alerts: the terminal's notification of a text by OSC 9, 777 or 99. The bell beside it is the same as a program's.

use tui_core::text::one_line;

/// Longest text of an alert, in bytes.
const TEXT_MAX: usize = 200;

/// Form in which alerts are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Alerts {
    pub(super) osc: Osc,
    /// Whether tmux is between: it passes on what is wrapped for that (`allow-passthrough`).
    pub(super) tmux: bool,
}

/// Sequence of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Osc {
    /// No sequence is written.
    None,
    /// `OSC 9`, which iTerm2, WezTerm, Ghostty and ConEmu take; what most others ignore.
    Nine,
    /// `OSC 777`, which urxvt and foot take.
    Notify,
    /// `OSC 99`, which kitty takes.
    Kitty,
}

impl Osc {
    /// Names of the sequences in `config.toml`; `auto` is found out.
    pub(super) const NAMES: [&str; 5] = ["auto", "9", "777", "99", "none"];

    /// The sequence of this name; None: there is none.
    pub(super) fn named(name: &str, variable: &dyn Fn(&str) -> Option<String>) -> Option<Self> {
        Some(match name {
            "auto" => Self::of_terminal(variable),
            "9" => Self::Nine,
            "777" => Self::Notify,
            "99" => Self::Kitty,
            "none" => Self::None,
            _ => return None,
        })
    }

    /// The sequence that the terminal takes, as far as the environment tells.
    fn of_terminal(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let term = variable("TERM").unwrap_or_default();
        match () {
            () if term == "xterm-kitty" || variable("KITTY_WINDOW_ID").is_some() => Self::Kitty,
            () if term.starts_with("foot") || term.starts_with("rxvt") => Self::Notify,
            // The Linux console would show some of it.
            () if term == "linux" || term == "dumb" => Self::None,
            () => Self::Nine,
        }
    }
}

impl Alerts {
    /// Bytes that are written for these texts, which are foreign.
    pub(super) fn bytes(&self, texts: &[String]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for text in texts {
            // Fields are separated by semicolons, and `9;4;` is another thing.
            let text = one_line(text, TEXT_MAX).replace(';', ",");
            let sequence = match self.osc {
                Osc::None => continue,
                Osc::Nine => format!("\x1b]9;Pilothouse: {text}\x07"),
                Osc::Notify => format!("\x1b]777;notify;Pilothouse;{text}\x1b\\"),
                Osc::Kitty => format!("\x1b]99;;Pilothouse: {text}\x1b\\"),
            };
            match self.tmux {
                true => bytes.extend(format!("\x1bPtmux;{}\x1b\\", sequence.replace('\x1b', "\x1b\x1b")).bytes()),
                false => bytes.extend(sequence.bytes()),
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(osc: Osc, tmux: bool) -> String {
        let texts = ["4;1\x1b]0;x\x07: asks".to_owned(), "b".to_owned()];
        String::from_utf8(Alerts { osc, tmux }.bytes(&texts)).unwrap()
    }

    #[test]
    fn each_text_is_a_notification() {
        assert_eq!(written(Osc::None, true), "");
        assert_eq!(written(Osc::Nine, false), "\x1b]9;Pilothouse: 4,1]0,x: asks\x07\x1b]9;Pilothouse: b\x07");
        assert!(written(Osc::Notify, false).starts_with("\x1b]777;notify;Pilothouse;4,1]0,x: asks\x1b\\"));
        assert!(
            written(Osc::Kitty, true).starts_with("\x1bPtmux;\x1b\x1b]99;;Pilothouse: 4,1]0,x: asks\x1b\x1b\\\x1b\\")
        );
    }

    #[test]
    fn the_environment_says_which() {
        let osc = |vars: &[(&str, &str)]| {
            let variable = |name: &str| vars.iter().find(|(known, _)| *known == name).map(|(_, v)| (*v).to_owned());
            Osc::named("auto", &variable).unwrap()
        };
        assert_eq!(osc(&[("TERM", "xterm-256color")]), Osc::Nine);
        assert_eq!(osc(&[("TERM", "tmux-256color"), ("KITTY_WINDOW_ID", "1")]), Osc::Kitty);
        assert_eq!(osc(&[("TERM", "foot-extra")]), Osc::Notify);
        assert_eq!(osc(&[("TERM", "linux")]), Osc::None);
        assert_eq!(Osc::named("8", &|_| None), None);
    }
}
