//! `credentials.toml`, and which requests each of its credentials is for.
#![no_main]

use hostd_core::credentials::{Credential, Fit};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(text) = pilothouse_fuzz::text(data) else { return };
    // A path may follow the file.
    let (file, path) = text.split_once('\u{1}').unwrap_or((text, "/v1/x"));
    match Credential::parse("fuzz.toml", file) {
        Ok(all) => {
            for one in all {
                if one.fits("GET", path, "") == Fit::Yes {
                    assert!(path.starts_with(&one.path) && (one.path.is_empty() || !climbs(path)), "{path}");
                }
            }
        }
        Err(error) => {
            assert!((1..=file.matches('\n').count() + 1).contains(&error.line) && error.column >= 1, "{error}");
        }
    }
});

/// Whether a server that decodes the path before it takes it apart would leave a folder of it.
fn climbs(path: &str) -> bool {
    let (mut decoded, mut rest) = (Vec::new(), path.as_bytes());
    while let [byte, after @ ..] = rest {
        let digits = after.get(..2).filter(|_| *byte == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(escaped.unwrap_or(*byte));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    decoded.split(|byte| matches!(byte, b'/' | b'\\')).any(|part| matches!(part, b"." | b".."))
}
