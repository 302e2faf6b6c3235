//! What a terminal shows of an agent that says nothing of itself: silence, a bell, a notification, a prompt.
//!
//! None of it is certain: a silent agent may work, and one that rang may have gone on. So what is told is what was seen.

use serde::{Deserialize, Serialize};

use crate::{UnixMillis, text};

/// Time without output after which an agent is said to be quiet, in milliseconds.
pub const QUIET: UnixMillis = 60_000;
/// Time without output or input after which a prompt at the cursor may be a question, in milliseconds.
pub const PROMPT: UnixMillis = 20_000;
/// Time after a key within which a bell is taken for the answer to that key, in milliseconds.
const BEEP: UnixMillis = 1_000;
/// Number of seconds with output, of how many last seconds, by which an agent is taken to have gone on since it called.
const BUSY: (u32, u32) = (8, 10);
/// Longest text of a sign that is kept, in bytes.
const TEXT_MAX: usize = 256;
/// Characters at the end of a line that asks for something.
const ENDS: [char; 11] = ['?', ':', '>', ']', ')', '$', '#', '%', '\u{276f}', '\u{203a}', '\u{bb}'];

/// What an agent's terminal shows of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "sign")]
pub enum Sign {
    /// The terminal shows nothing that a person need know.
    #[default]
    Nothing,
    /// The terminal has had no output for [`QUIET`].
    Quiet {
        /// When the last output came.
        since: UnixMillis,
    },
    /// The terminal has been still for [`PROMPT`], and what stands before the cursor looks like a question.
    Prompt {
        /// When the last output came.
        since: UnixMillis,
        /// What stands in the cursor's row before the cursor; at most 256 bytes.
        text: String,
    },
    /// The program rang the bell, or sent a notification, and nobody has typed since.
    Called {
        /// When the bell rang or the notification came.
        at: UnixMillis,
        /// Text of the notification, at most 256 bytes; empty: it was the bell.
        text: String,
        /// By what it called.
        #[serde(default)]
        by: Call,
    },
}

/// By what a program calls for a person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Call {
    /// The program rang the bell; also of records of before it was kept.
    #[default]
    Bell,
    /// A notification by OSC 9, as of iTerm2.
    Osc9,
    /// A notification by OSC 99, as of kitty.
    Osc99,
    /// A notification by OSC 777, as of urxvt.
    Osc777,
}

impl Call {
    /// The call by the OSC of this number.
    #[must_use]
    pub fn by_osc(number: u16) -> Self {
        match number {
            99 => Self::Osc99,
            777 => Self::Osc777,
            _ => Self::Osc9,
        }
    }

    /// The word of the API and of `--json`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Bell => "bell",
            Self::Osc9 => "osc-9",
            Self::Osc99 => "osc-99",
            Self::Osc777 => "osc-777",
        }
    }
}

impl Sign {
    /// Whether a person should look at the terminal.
    #[must_use]
    pub fn asks(&self) -> bool {
        matches!(self, Self::Prompt { .. } | Self::Called { .. })
    }

    /// Returns the sign with its foreign text within bounds, on one line.
    #[must_use]
    pub fn cleaned(self) -> Self {
        let clean = |text: String| text::clean(&text::one_line(&text), TEXT_MAX);
        match self {
            Self::Prompt { since, text } => Self::Prompt { since, text: clean(text) },
            Self::Called { at, text, by } => Self::Called { at, text: clean(text), by },
            other => other,
        }
    }
}

/// Record of what was seen on one terminal, from which [`Sign`]s are derived.
#[derive(Clone, Debug, Default)]
pub struct Signs {
    output: Option<UnixMillis>,
    input: Option<UnixMillis>,
    called: Option<(UnixMillis, String, Call)>,
    /// One bit for each of the last 32 seconds, the newest the lowest: whether there was output.
    seconds: u32,
}

impl Signs {
    /// Records that output came.
    pub fn output(&mut self, now: UnixMillis) {
        let passed = self.output.map_or(0, |last| now.div_euclid(1000).saturating_sub(last.div_euclid(1000)));
        self.seconds = u32::try_from(passed).ok().and_then(|n| self.seconds.checked_shl(n)).unwrap_or(0) | 1;
        self.output = Some(now);
        let (most, of) = BUSY;
        let busy = (self.seconds & ((1 << of) - 1)).count_ones() >= most;
        self.called.take_if(|(at, ..)| busy && now.saturating_sub(*at) >= UnixMillis::from(of) * 1000);
    }

    /// Records that somebody typed: whatever the program asked was seen.
    pub fn input(&mut self, now: UnixMillis) {
        self.input = Some(now);
        self.called = None;
    }

    /// Records that the bell rang; one that answers a key does not count.
    pub fn bell(&mut self, now: UnixMillis) {
        if self.input.is_none_or(|key| now.saturating_sub(key) >= BEEP) && self.called.is_none() {
            self.called = Some((now, String::new(), Call::Bell));
        }
    }

    /// Records that a notification came.
    pub fn notified(&mut self, text: &str, by: Call, now: UnixMillis) {
        self.called = Some((now, text.to_owned(), by));
    }

    /// The sign to be shown now, where `before` is the text before the cursor in its row, empty where no cursor is shown. None:
    /// the terminal has had no output yet.
    #[must_use]
    pub fn sign(&self, before: &str, now: UnixMillis) -> Option<Sign> {
        let since = self.output?;
        if let Some((at, text, by)) = self.called.clone() {
            return Some(Sign::Called { at, text, by }.cleaned());
        }
        let still = now.saturating_sub(since.max(self.input.unwrap_or(since)));
        if still >= PROMPT && is_prompt(before) {
            return Some(Sign::Prompt { since, text: before.to_owned() }.cleaned());
        }
        Some(if now.saturating_sub(since) >= QUIET { Sign::Quiet { since } } else { Sign::Nothing })
    }

    /// The next moment at which the sign may change although nothing happens; None: it will not.
    #[must_use]
    pub fn next(&self, now: UnixMillis) -> Option<UnixMillis> {
        let since = self.output?;
        let still = since.max(self.input.unwrap_or(since));
        [still.saturating_add(PROMPT), since.saturating_add(QUIET)].into_iter().filter(|at| *at > now).min()
    }
}

/// Whether a line that ends at the cursor may be a question.
fn is_prompt(before: &str) -> bool {
    before.trim_end().ends_with(ENDS)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    enum See {
        Output(UnixMillis),
        Input(UnixMillis),
        Bell(UnixMillis),
        Notified(UnixMillis, &'static str),
        /// Output in every second from the first to before the second.
        Works(UnixMillis, UnixMillis),
    }
    use See::{Bell, Input, Notified, Output, Works};

    fn seen(all: &[See]) -> Signs {
        let mut signs = Signs::default();
        for see in all {
            match see {
                Output(at) => signs.output(at * 1000),
                Input(at) => signs.input(at * 1000),
                Bell(at) => signs.bell(at * 1000),
                Notified(at, text) => signs.notified(text, Call::Osc777, at * 1000),
                Works(from, to) => (*from..*to).for_each(|at| signs.output(at * 1000)),
            }
        }
        signs
    }

    fn quiet(since: UnixMillis) -> Sign {
        Sign::Quiet { since: since * 1000 }
    }

    fn prompt(since: UnixMillis, text: &str) -> Sign {
        Sign::Prompt { since: since * 1000, text: text.into() }
    }

    fn called(at: UnixMillis, text: &str) -> Sign {
        let by = if text.is_empty() { Call::Bell } else { Call::Osc777 };
        Sign::Called { at: at * 1000, text: text.into(), by }
    }

    #[rstest]
    #[case::nothing_yet(&[], "", 100, None)]
    #[case::works(&[Output(10)], "", 69, Some(Sign::Nothing))]
    #[case::silent(&[Output(10)], "", 70, Some(quiet(10)))]
    #[case::typing_is_no_output(&[Output(10), Input(60)], "", 70, Some(quiet(10)))]
    #[case::read_p(&[Output(10)], "Continue? [y/N] ", 30, Some(prompt(10, "Continue? [y/N]")))]
    #[case::select(&[Output(10)], "#? ", 30, Some(prompt(10, "#?")))]
    #[case::shell(&[Output(10)], "root@fix:/work# ", 100, Some(prompt(10, "root@fix:/work#")))]
    #[case::too_early(&[Output(10)], "Continue? ", 29, Some(Sign::Nothing))]
    #[case::no_prompt(&[Output(10)], "Compiling foo v1.2", 100, Some(quiet(10)))]
    #[case::empty(&[Output(10)], "  ", 100, Some(quiet(10)))]
    #[case::somebody_types_a_password(&[Output(10), Input(30)], "Password: ", 49, Some(Sign::Nothing))]
    #[case::and_stops(&[Output(10), Input(30)], "Password: ", 50, Some(prompt(10, "Password:")))]
    #[case::bell(&[Output(10), Bell(10)], "", 10, Some(called(10, "")))]
    #[case::notification(&[Output(10), Notified(10, "Approval\n requested")], "", 11, Some(called(10, "Approval requested")))]
    #[case::both(&[Output(10), Notified(10, "Approve?"), Bell(10)], "", 11, Some(called(10, "Approve?")))]
    #[case::calls_for_long(&[Output(10), Bell(10)], "> ", 9999, Some(called(10, "")))]
    #[case::answered(&[Output(10), Bell(10), Input(12)], "", 13, Some(Sign::Nothing))]
    #[case::a_key_that_beeps(&[Output(10), Input(12), Bell(12)], "", 13, Some(Sign::Nothing))]
    #[case::a_bell_long_after_a_key(&[Output(10), Input(12), Output(13), Bell(13)], "", 13, Some(called(13, "")))]
    #[case::a_clock_in_its_status_line(&[Output(10), Bell(10), Output(60), Output(120)], "", 121, Some(called(10, "")))]
    #[case::draws_its_question_still(&[Output(10), Bell(10), Works(10, 18)], "", 18, Some(called(10, "")))]
    #[case::has_gone_on(&[Output(10), Bell(10), Works(11, 21)], "", 21, Some(Sign::Nothing))]
    fn what_is_seen(
        #[case] all: &[See],
        #[case] before: &str,
        #[case] now: UnixMillis,
        #[case] expected: Option<Sign>,
    ) {
        assert_eq!(seen(all).sign(before, now * 1000), expected);
    }

    #[rstest]
    #[case(&[], 0, None)]
    #[case(&[Output(10)], 10, Some(30))]
    #[case(&[Output(10)], 30, Some(70))]
    #[case(&[Output(10)], 70, None)]
    #[case(&[Output(10), Input(25)], 30, Some(45))]
    fn when_to_look_again(#[case] all: &[See], #[case] now: UnixMillis, #[case] expected: Option<UnixMillis>) {
        assert_eq!(seen(all).next(now * 1000), expected.map(|at| at * 1000));
    }

    #[test]
    fn foreign_text_is_bounded() {
        let signs = seen(&[Output(1)]);
        let Some(Sign::Prompt { text, .. }) = signs.sign(&("\x1b\u{202e}x".repeat(1000) + "?:"), 100_000) else {
            panic!()
        };
        assert!(text.len() <= TEXT_MAX && !text.contains(['\x1b', '\u{202e}']));
    }
}
