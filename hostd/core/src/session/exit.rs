//! How a process ended, in words.

/// Numbers of the signals that Linux has.
const SIGNALS: std::ops::RangeInclusive<i32> = 1..=64;

/// How a process with this exit code ended: `ended with exit code 3`, or `was killed by signal 9`. A code is 128 + signal where
/// one ended the process, or a child of the shell that the process is.
#[must_use]
pub fn how_it_ended(code: i32) -> String {
    match code.checked_sub(128) {
        Some(signal) if SIGNALS.contains(&signal) => format!("was killed by signal {signal}"),
        _ => format!("ended with exit code {code}"),
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
