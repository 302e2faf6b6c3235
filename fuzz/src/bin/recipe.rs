//! Environment recipes.
#![no_main]

use hostd_core::recipe::Recipe;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(text) = pilothouse_fuzz::text(data) else { return };
    if let Err(error) = Recipe::parse("fuzz.toml", text) {
        assert!((1..=text.matches('\n').count() + 1).contains(&error.line) && error.column >= 1, "{error}");
    }
});
