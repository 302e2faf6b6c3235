//! Keymap files.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tui_core::Keymap;

fuzz_target!(|data: &[u8]| {
    let Some(text) = pilothouse_fuzz::text(data) else { return };
    match Keymap::default().with("fuzz.toml", text) {
        Ok(keymap) => assert!(keymap.bindings().iter().all(|binding| !binding.keys.is_empty())),
        Err(error) => assert!(error.line >= 1 && error.column >= 1, "{error}"),
    }
});
