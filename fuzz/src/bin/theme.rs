//! Theme files; one may build on itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tui_core::{Theme, theme::Scope};

fuzz_target!(|data: &[u8]| {
    let Some(text) = pilothouse_fuzz::text(data) else { return };
    let find = |name: &str| (name == "self").then(|| ("self.toml".to_owned(), text.to_owned()));
    match Theme::read("fuzz", "fuzz.toml", text, &find) {
        Ok(theme) => {
            for scope in Scope::ALL {
                let _ = theme.style(*scope);
            }
        }
        Err(error) => assert!(error.line >= 1 && error.column >= 1, "{error}"),
    }
});
