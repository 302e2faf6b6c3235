//! Usage and errors in the answers of models, however they are cut; limits that they tell of; and tables of prices.
#![no_main]

use hostd_core::usage::{Framing, Limit, Prices, Scanner};
use libfuzzer_sys::fuzz_target;

const NOW: i64 = 1_796_092_200_000;

/// Whether it is within the next 35 days.
fn is_bounded(until: i64) -> bool {
    (NOW + 1000..=NOW + 35 * 24 * 3_600_000).contains(&until)
}

fuzz_target!(|data: &[u8]| {
    for framing in [Framing::Json, Framing::Events] {
        let mut whole = Scanner::new(framing);
        whole.push(data);
        let mut cut = Scanner::new(framing);
        for piece in data.chunks(3) {
            cut.push(piece);
        }
        assert_eq!((whole.tokens(), whole.model(), whole.error()), (cut.tokens(), cut.model(), cut.error()));
        assert!(Limit::of(429, |_| None, whole.error(), NOW).unwrap().until.is_none_or(is_bounded));
        assert!(whole.model().len() <= 128);
        let _ = Prices::shipped().micros(whole.model(), &whole.tokens().unwrap_or_default());
    }
    if let Some(text) = pilothouse_fuzz::text(data) {
        // Each line is a header's value.
        let header = |name: &str| text.lines().nth(name.len() % 8);
        assert!(Limit::of(429, header, None, NOW).unwrap().until.is_some_and(is_bounded));
        let _ = Prices::parse("fuzz.toml", text);
    }
});
