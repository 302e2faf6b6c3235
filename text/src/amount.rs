//! Amounts of money.

use alloc::{format, string::String};

/// An amount in millionths of a US dollar, rounded up so that none is shown as nothing: `$5`, `$7.50`, `$0.0042`.
#[must_use]
pub fn dollars(micros: u64) -> String {
    let (cents, hundredths) = (micros.div_ceil(10_000), micros.div_ceil(100));
    match micros {
        _ if micros.is_multiple_of(1_000_000) => format!("${}", micros / 1_000_000),
        1_000_000.. => format!("${}.{:02}", cents / 100, cents % 100),
        _ => format!("${}.{:04}", hundredths / 10_000, hundredths % 10_000),
    }
}
