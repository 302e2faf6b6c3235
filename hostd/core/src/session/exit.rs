//! How a process ended, in words.

/// Numbers of the signals that Linux has.
const SIGNALS: std::ops::RangeInclusive<i32> = 1..=64;
/// Names of the signals that end programs, as Linux numbers them on the processors that hostd runs on.
const NAMES: [(i32, &str); 13] = [
    (1, "SIGHUP"),
    (2, "SIGINT"),
    (3, "SIGQUIT"),
    (4, "SIGILL"),
    (5, "SIGTRAP"),
    (6, "SIGABRT"),
    (7, "SIGBUS"),
    (8, "SIGFPE"),
    (9, "SIGKILL"),
    (11, "SIGSEGV"),
    (13, "SIGPIPE"),
    (15, "SIGTERM"),
    (31, "SIGSYS"),
];

/// How a process with this exit code ended: `ended with exit code 3`, or `was killed by signal 9`. A code is 128 + signal where
/// one ended the process, or a child of the shell that the process is.
#[must_use]
pub fn how_it_ended(code: i32) -> String {
    match code.checked_sub(128) {
        Some(signal) if SIGNALS.contains(&signal) => format!("was killed by signal {signal}"),
        _ => format!("ended with exit code {code}"),
    }
}

/// A signal for people: `signal 9 (SIGKILL)`, or its number alone.
pub(super) fn signal_name(signal: i32) -> String {
    match NAMES.iter().find(|(number, _)| *number == signal) {
        Some((_, name)) => format!("signal {signal} ({name})"),
        None => format!("signal {signal}"),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(0, "ended with exit code 0")]
    #[case(128, "ended with exit code 128")]
    #[case(137, "was killed by signal 9")]
    #[case(143, "was killed by signal 15")]
    #[case(255, "ended with exit code 255")]
    #[case(i32::MIN, "ended with exit code -2147483648")]
    fn signals_are_named(#[case] code: i32, #[case] words: &str) {
        assert_eq!(how_it_ended(code), words);
    }
}
