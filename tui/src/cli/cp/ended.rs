use pilothouse_copy::Error;

use crate::cli::{
    failure::{DENIED, Failure},
    format::{plain, plain_lines},
    output,
};

/// Exit code of the guest's end where something is at the place already.
const EXISTS: i32 = 3;
/// Exit code of the guest's end where it does not know `copy`.
const UNKNOWN: i32 = 2;
/// Most bytes of what the guest's end says that are kept.
const SAID_MAX: usize = 16 << 10;

/// How the guest's end of a copy has ended.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// Its exit code; None: it has none, as this end hung up.
    pub(super) code: Option<i32>,
    said: Vec<u8>,
}

impl Ended {
    /// Keeps what it says on stderr.
    pub(super) fn say(&mut self, part: &[u8]) {
        let room = SAID_MAX - self.said.len();
        self.said.extend_from_slice(&part[..part.len().min(room)]);
    }
}

/// Tells what was left out, and returns whether the copy is whole; else why there is none. Where both ends have failed, the one
/// that did not merely see the other go says why.
pub(super) fn judge(here: Result<u64, Error>, there: Ended) -> Result<bool, Failure> {
    let said = String::from_utf8_lossy(&there.said);
    let mut lines: Vec<String> = said.lines().map(|line| plain_lines(line).trim().to_owned()).collect();
    let why = match (here, there.code) {
        (Ok(unread), Some(0)) => {
            lines.iter().for_each(|line| output::note(line));
            return Ok(unread == 0);
        }
        (Err(error @ (Error::File { .. } | Error::Exists(_) | Error::Malformed(_) | Error::TooLarge(_))), _) => {
            failed(&error)
        }
        (_, Some(UNKNOWN)) => {
            let failure = Failure::failed("the guest of this session is from before `cp`");
            failure.hint("`pilothouse restart` gives it a new one; until then: pilothouse exec SESSION -- tar c PATH")
        }
        (_, Some(code)) if code != 0 => {
            let last = lines.pop().unwrap_or_default();
            let last = last.strip_prefix("session: ").unwrap_or(&last);
            let message = if last.is_empty() {
                format!("the session's end broke off with exit code {code}")
            } else {
                last.into()
            };
            if code == EXISTS { exists(message) } else { Failure::failed(message) }
        }
        (Err(error), _) => failed(&error),
        (Ok(_), _) => Failure::failed("the session's end went before it said that the copy is whole"),
    };
    lines.iter().for_each(|line| output::note(line));
    Err(why)
}

/// The failure of the end here.
pub(super) fn failed(error: &Error) -> Failure {
    let message = plain(&error.to_string());
    match error {
        Error::Exists(_) => exists(message),
        Error::TooLarge(_) => Failure::failed(message).hint("--limit says how much it may have"),
        _ => Failure::failed(message),
    }
}

fn exists(message: String) -> Failure {
    let failure = Failure::new(DENIED, message)
        .hint("--force replaces files that are there; a folder is never replaced by a file");
    failure.hint("what was copied before it stays")
}

#[cfg(test)]
mod tests {
    use std::io;

    use rstest::rstest;

    use super::*;

    fn cut() -> Result<u64, Error> {
        Err(Error::Cut(io::ErrorKind::UnexpectedEof.into()))
    }

    fn full() -> Result<u64, Error> {
        Err(Error::File { path: "copy/f".into(), error: rustix::io::Errno::NOSPC.into() })
    }

    #[rstest]
    #[case::whole(Ok(0), Some(0), "", Ok(true))]
    #[case::left_out(Ok(2), Some(0), "a: left out: Permission denied", Ok(false))]
    #[case::missing(cut(), Some(1), "session: a: No such file", Err((1, "a: No such file")))]
    #[case::there(cut(), Some(3), "session: a is there already", Err((4, "a is there already")))]
    #[case::hostile(cut(), Some(1), "session: a\x1b[2J", Err((1, "a[2J")))]
    #[case::silent(cut(), Some(137), "", Err((1, "the session's end broke off with exit code 137")))]
    #[case::old(cut(), Some(2), "error: unrecognized subcommand 'copy'", Err((1, "the guest of this session is from before `cp`")))]
    #[case::full_here(full(), None, "", Err((1, "copy/f: No space left on device (os error 28)")))]
    #[case::full_here_and_cut_there(full(), Some(1), "session: cut", Err((1, "copy/f: No space left on device (os error 28)")))]
    #[case::lied(cut(), Some(0), "", Err((1, "the other end broke off: unexpected end of file")))]
    #[case::gone(Ok(0), None, "", Err((1, "the session's end went before it said that the copy is whole")))]
    fn the_end_that_knows_says_why(
        #[case] here: Result<u64, Error>,
        #[case] code: Option<i32>,
        #[case] said: &str,
        #[case] want: Result<bool, (u8, &str)>,
    ) {
        let judged = judge(here, Ended { code, said: said.into() });
        assert_eq!(judged.as_ref().map_err(|failure| (failure.exit, failure.message.as_str())).copied(), want);
    }

    #[test]
    fn of_what_is_said_a_part_is_kept() {
        let mut ended = Ended::default();
        (0..3).for_each(|_| ended.say(&[b'x'; SAID_MAX / 2 + 1]));
        assert_eq!(ended.said.len(), SAID_MAX);
    }
}
