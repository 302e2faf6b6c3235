//! What both ends of a guest's ports agree on: the preamble of each connection, the size of a handshake, and HTTP/2's numbers
//! after them. No IO here.
//!
//! The host sends [`MAGIC`] and a nonce of 16 random bytes; the guest answers with the same 24 bytes. A port that was just
//! connected may still hold bytes of an earlier connection, in both directions: each side throws away whatever comes before
//! the preamble that it waits for. A preamble may be lost that way too: a guest that has not seen its earlier connection end
//! takes it for a part of that. So a host without an answer sends another, with another nonce, and waits for the answer to
//! the last one sent. The guest answers each, so nothing of the exchange is under way any more when that answer is there. On
//! the link the host's part of the handshake stands behind each preamble, in the same write, and is answered with it. What the
//! agent shows first may follow that answer, where the host asks for it; then HTTP/2 begins.
//!
//! A host that puts a guest down says nothing more on the link and leaves it connected, and is connected before the guest goes
//! on. So while its programs are frozen, what a guest reads at once and begins with [`MAGIC`] begins a connection, whatever the
//! one before was in the middle of.

use std::time::Duration;

/// Version of the contract `guest.v1`.
pub const PROTOCOL: u32 = 1;
/// HTTP/2 window of one stream, in bytes. Small: what a stalled reader lets queue stands before every later byte.
pub const STREAM_WINDOW: u32 = 256 << 10;
/// HTTP/2 window of one connection, in bytes.
pub const CONNECTION_WINDOW: u32 = 1 << 20;
/// HTTP/2 windows of the tunnel, of one stream and of the connection, in bytes: what hostd holds of a guest's there at most. Larger than
/// the link's, since no keystroke stands behind it, and a busy host is late to open them again.
pub const TUNNEL_WINDOWS: (u32, u32) = (1 << 20, 2 << 20);
/// Largest HTTP/2 frame that either end takes, in bytes.
pub const FRAME: u32 = 64 << 10;
/// Largest gRPC message that either end takes, in bytes.
pub const MESSAGE_MAX: usize = 256 << 10;
/// Largest message of the handshake that begins a link's connection, in bytes.
pub const FRAME_MAX: usize = 64 << 10;
/// Most output of the agent that goes ahead of HTTP/2, in bytes.
pub const FIRST_OUTPUT_MAX: usize = 16 << 10;
/// Longest time that HTTP/2 waits for such output.
pub const FIRST_OUTPUT_WITHIN: Duration = Duration::from_secs(1);
/// Most data in one message of a byte stream, in bytes.
pub const CHUNK: usize = 64 << 10;
/// Data of a message that a guest reads of its programs at a time, in bytes: with what stands before it, 26 bytes of HTTP/2, gRPC and
/// the message at most, it is two whole pieces of 32 KiB, in which the guest's kernel takes what is written to a port.
pub const PIECE: usize = CHUNK - 26;
/// Most streams that are open at a time on one connection.
pub const STREAMS_MAX: u32 = 256;
/// Time after which a silent connection is asked for a sign of life.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(4);
/// Longest wait for that sign; then the connection is given up. Long, because a busy host starves its emulated guests.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(8);

/// First bytes of a preamble.
pub const MAGIC: [u8; 8] = *b"PLTHLNK1";
/// Bytes of a preamble's nonce.
pub const NONCE: usize = 16;
/// Bytes of a preamble: magic and nonce.
pub const LENGTH: usize = MAGIC.len() + NONCE;

/// Longest name or alias of a kernel's module that a guest asks its host for, in bytes.
pub const MODULE_NAME_MAX: usize = 128;
/// Most bytes of a module, and of all that one needs, which a host answers with.
pub const MODULES_MAX: usize = 64 << 20;

/// Whether this is a name or an alias of a kernel's module that may be asked for: no path, no option, nothing that a URL has a use for.
#[must_use]
pub fn is_module_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:,*()+=".contains(c);
    (1..=MODULE_NAME_MAX).contains(&name.len()) && !name.starts_with(['-', '.']) && name.chars().all(plain)
}

/// The preamble with this nonce.
#[must_use]
pub fn preamble(nonce: [u8; NONCE]) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    bytes[..MAGIC.len()].copy_from_slice(&MAGIC);
    bytes[MAGIC.len()..].copy_from_slice(&nonce);
    bytes
}

/// Finds a pattern in a stream of bytes that come in pieces of any size.
#[derive(Clone, Debug)]
pub struct Scanner<const N: usize> {
    wanted: [u8; N],
    matched: usize,
}

impl<const N: usize> Scanner<N> {
    /// Looks for `wanted`, which must not be empty.
    #[must_use]
    pub fn new(wanted: [u8; N]) -> Self {
        Self { wanted, matched: 0 }
    }

    /// Looks on in the next piece. Returns the number of the piece's bytes up to and with the end of the first match, if it
    /// ends in there; then the scanner starts anew.
    pub fn find(&mut self, piece: &[u8]) -> Option<usize> {
        let end = piece.iter().position(|&byte| self.push(byte))?;
        Some(end + 1)
    }

    fn push(&mut self, byte: u8) -> bool {
        while self.wanted[self.matched] != byte {
            if self.matched == 0 {
                return false;
            }
            self.matched = border(&self.wanted[..self.matched]);
        }
        self.matched += 1;
        if self.matched == N {
            self.matched = 0;
            return true;
        }
        false
    }
}

/// Length of the longest proper beginning of `bytes` that is also its end.
fn border(bytes: &[u8]) -> usize {
    (0..bytes.len()).rev().find(|&length| bytes.ends_with(&bytes[..length])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_preamble_after_garbage_in_any_pieces() {
        let wanted = preamble(*b"PLTHLNPLTHLNKPLT");
        let mut stream = b"PLTHLNK1PLTHLNPLTHLNKPLPLTHLNK1PLTHLNPLTHLN\x00PLTHLNK1".to_vec();
        let garbage = stream.len();
        stream.extend(wanted);
        stream.extend(b"PRI *");
        for size in 1..stream.len() {
            let mut scanner = Scanner::new(wanted);
            let mut before = 0;
            let found = stream.chunks(size).find_map(|piece| {
                let found = scanner.find(piece).map(|n| before + n);
                before += piece.len();
                found
            });
            assert_eq!(found, Some(garbage + LENGTH), "in pieces of {size}");
        }
    }

    #[test]
    fn finds_overlapping_beginnings() {
        let mut scanner = Scanner::new(*b"aab");
        assert_eq!(scanner.find(b"aaab"), Some(4));
        assert_eq!(scanner.find(b"aa"), None);
        assert_eq!(scanner.find(b"b"), Some(1));
    }
}
