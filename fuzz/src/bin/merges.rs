//! What git says of a merge, and the `.gitattributes` that it reads: paths and lines are those of guests.
#![no_main]

use hostd_core::{attributes::flattened, pulls::MergedTrees};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = MergedTrees::read(data, false);
    let list = flattened(data, "c0");
    assert!(list.is_empty() || list.ends_with(b"\n"));
});
