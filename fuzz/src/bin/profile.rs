//! The text of an agent profile, as a host may bring it.
#![no_main]

use hostd_core::profile::Profile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(text) = pilothouse_fuzz::text(data) else { return };
    match Profile::parse("fuzz.toml", text) {
        Ok(profile) => {
            assert!(!profile.command.is_empty());
            assert!(profile.files_in("/work/a", "/home/a").iter().all(|file| file.path.starts_with('/')));
        }
        Err(error) => {
            assert!((1..=text.matches('\n').count() + 1).contains(&error.line) && error.column >= 1, "{error}");
        }
    }
});
