//! When a connection of a guest to the world is at work, as far as can be told of one that nobody looks into.

use std::time::Duration;

/// Longest time for which a program that spoke last is taken to wait for an answer: models think long before their first word.
pub const ANSWER: Duration = Duration::from_secs(600);
/// Time since the world last spoke after which its answer is taken to be whole: connections are kept for later, and servers of
/// tools say every 15 seconds or so that they are there.
pub const STREAM: Duration = Duration::from_secs(10);

/// Who spoke last on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoke {
    /// The program in the guest.
    Program,
    /// The world.
    World,
}

/// Whether an answer is under way on a connection on which `last` spoke this long ago.
#[must_use]
pub fn is_under_way(last: Spoke, ago: Duration) -> bool {
    match last {
        Spoke::Program => ago < ANSWER,
        Spoke::World => ago < STREAM,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::asked(Spoke::Program, 0, true)]
    #[case::thinks(Spoke::Program, 599, true)]
    #[case::polls_for_ever(Spoke::Program, 600, false)]
    #[case::streams(Spoke::World, 5, true)]
    #[case::kept_for_later(Spoke::World, 10, false)]
    fn an_answer_is_under_way(#[case] last: Spoke, #[case] ago: u64, #[case] under_way: bool) {
        assert_eq!(is_under_way(last, Duration::from_secs(ago)), under_way);
    }
}
