//! What a guest says to its host before there is a link: lines on its serial console.

/// Words in the last line before a reset that say: nothing is wrong with the guest but this boot, and it wants to be booted
/// once more.
pub const BOOT_AGAIN: &str = "wants to be booted again";
