//! What the fuzz target feeds.

use std::net::Ipv4Addr;

use super::dns;

/// Answers a message to the resolver; returns the answer with the name that was given an address.
pub fn answer(message: &[u8]) -> Option<(Vec<u8>, Option<String>)> {
    let mut given = None;
    let answer = dns::answer(message, |name| {
        given = Some(name.to_owned());
        Some(Ipv4Addr::LOCALHOST)
    });
    answer.map(|answer| (answer, given))
}
