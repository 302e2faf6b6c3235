//! What answers of models took, from a host's answer to what the core has words for.

use pilothouse_proto::hostd::v1;
use tui_core::fleet::ModelUsage;

/// The usage that a host tells; None: there were no answers.
pub(crate) fn of(usage: Option<v1::ModelUsage>) -> ModelUsage {
    let usage = usage.unwrap_or_default();
    ModelUsage {
        answers: usage.answers,
        input_tokens: usage.input_tokens.saturating_add(usage.cache_write_tokens),
        cached_tokens: usage.cache_read_tokens,
        output_tokens: usage.output_tokens,
        cost_micros: usage.cost_micros,
        unpriced_tokens: usage.unpriced_tokens,
    }
}
