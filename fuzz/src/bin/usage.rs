//! Usage in the answers of models, however they are cut; and tables of prices.
#![no_main]

use hostd_core::usage::{Framing, Prices, Scanner};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for framing in [Framing::Json, Framing::Events] {
        let mut whole = Scanner::new(framing);
        whole.push(data);
        let mut cut = Scanner::new(framing);
        for piece in data.chunks(3) {
            cut.push(piece);
        }
        assert_eq!((whole.tokens(), whole.model()), (cut.tokens(), cut.model()));
        assert!(whole.model().len() <= 128);
        let _ = Prices::shipped().micros(whole.model(), &whole.tokens().unwrap_or_default());
    }
    if let Some(text) = pilothouse_fuzz::text(data) {
        let _ = Prices::parse("fuzz.toml", text);
    }
});
