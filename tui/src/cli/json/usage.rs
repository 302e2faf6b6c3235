//! What answers of models took, as scripts see it.

use pilothouse_proto::hostd::v1 as api;
use serde::Serialize;

use super::some;

/// An element of `usage`.
#[derive(Debug, Serialize)]
pub(crate) struct Account<'a> {
    key: &'a str,
    slug: Option<&'a str>,
    #[serde(flatten)]
    usage: ModelUsage,
}

/// What answers of models took.
#[derive(Debug, Serialize)]
pub(crate) struct ModelUsage {
    answers: u64,
    input_tokens: u64,
    cache_read_tokens: u64,
    cache_write_tokens: u64,
    output_tokens: u64,
    /// In US dollars.
    cost_usd: f64,
    unpriced_tokens: u64,
}

impl<'a> Account<'a> {
    pub(crate) fn new(account: &'a api::Account) -> Self {
        let usage = ModelUsage::new(&account.usage.unwrap_or_default());
        Self { key: &account.key, slug: some(&account.slug), usage }
    }
}

impl ModelUsage {
    pub(crate) fn new(usage: &api::ModelUsage) -> Self {
        Self {
            answers: usage.answers,
            input_tokens: usage.input_tokens,
            cache_read_tokens: usage.cache_read_tokens,
            cache_write_tokens: usage.cache_write_tokens,
            output_tokens: usage.output_tokens,
            cost_usd: usd(usage.cost_micros),
            unpriced_tokens: usage.unpriced_tokens,
        }
    }
}

/// Millionths of a US dollar in dollars.
#[allow(clippy::cast_precision_loss)]
pub(super) fn usd(micros: u64) -> f64 {
    micros as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_fields_are_pinned() {
        let usage = api::ModelUsage { cost_micros: 1_250_000, ..Default::default() };
        let account = api::Account { key: "01J".into(), usage: Some(usage), ..Default::default() };
        let value = serde_json::to_value(Account::new(&account)).unwrap();
        let keys: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
        let want =
            "answers cache_read_tokens cache_write_tokens cost_usd input_tokens key output_tokens slug unpriced_tokens";
        assert_eq!(keys.join(" "), want);
        assert_eq!((&value["cost_usd"], &value["slug"]), (&1.25.into(), &serde_json::Value::Null));
    }
}
