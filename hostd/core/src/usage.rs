//! What models say that an answer took: read from the bytes as they pass, and priced by a table.
//!
//! Anthropic's Messages, OpenAI's Responses and Chat Completions and Gemini all put an object `usage` or `usageMetadata` into their
//! answers, whole or in events of a stream, and name the model beside it. Where they answer nothing, a limit may be why: see [`Limit`].

mod account;
mod api;
mod dates;
mod limit;
mod prices;
mod scanner;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use account::{Account, Admission, Spending};
pub use api::ModelApi;
pub use limit::{Limit, Refusal};
pub use pilothouse_text::dollars;
pub use prices::{Price, Prices};
pub use scanner::{Framing, Scanner};

/// Most tokens of a kind that an answer is believed to have taken: whatever a server says, sums stay sums.
const TOKENS_MAX: u64 = 1 << 40;

/// Tokens of one answer, or of many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// Tokens of the prompt that no cache had.
    pub input: u64,
    /// Tokens of the prompt that were read from a cache.
    pub cache_read: u64,
    /// Tokens of the prompt that were written to a cache.
    pub cache_write: u64,
    /// Tokens of the answer, reasoning included.
    pub output: u64,
}

impl Tokens {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> u64 {
        [self.cache_read, self.cache_write, self.output].iter().fold(self.input, |all, more| all.saturating_add(*more))
    }

    /// Sum of these and others.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            cache_read: self.cache_read.saturating_add(other.cache_read),
            cache_write: self.cache_write.saturating_add(other.cache_write),
            output: self.output.saturating_add(other.output),
        }
    }

    /// These tokens of an answer after it has said more of itself by an object `usage` or `usageMetadata`, which counts from the
    /// answer's begin; what that does not name stays. None: it names no tokens.
    #[must_use]
    pub fn updated(self, usage: &Value) -> Option<Self> {
        let count = |value: &Value| value.as_u64().map(|count| count.min(TOKENS_MAX));
        let part = |key: &str| usage.get(key).and_then(count);
        let within = |key: &str, inner: &str| usage.get(key)?.get(inner).and_then(count);
        let sum = |parts: [Option<u64>; 2]| parts.into_iter().flatten().reduce(u64::saturating_add);
        let input = part("input_tokens").or_else(|| part("prompt_tokens"));
        let input = input.or_else(|| sum([part("promptTokenCount"), part("toolUsePromptTokenCount")]));
        let output = part("output_tokens").or_else(|| part("completion_tokens"));
        let output = output.or_else(|| sum([part("candidatesTokenCount"), part("thoughtsTokenCount")]));
        if input.is_none() && output.is_none() {
            return None;
        }
        // OpenAI and Gemini count what a cache had as a part of the input, Anthropic beside it.
        let cached = part("cachedContentTokenCount")
            .or_else(|| within("input_tokens_details", "cached_tokens"))
            .or_else(|| within("prompt_tokens_details", "cached_tokens"));
        let input = input.map(|input| input.saturating_sub(cached.unwrap_or(0)));
        let cache_read = cached.or_else(|| part("cache_read_input_tokens"));
        Some(Self {
            input: input.unwrap_or(self.input),
            cache_read: cache_read.unwrap_or(self.cache_read),
            cache_write: part("cache_creation_input_tokens").unwrap_or(self.cache_write),
            output: output.unwrap_or(self.output),
        })
    }
}
