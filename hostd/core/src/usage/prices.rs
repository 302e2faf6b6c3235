//! Prices of models: a table that is data, with its date.

use serde::Deserialize;
use toml::Spanned;

use super::Tokens;
use crate::checked_toml::{self, Checked, TextError, Wrong};

/// The table that is shipped.
const SHIPPED: &str = include_str!("../../../../prices.toml");
/// Most models of a table.
const MODELS_MAX: usize = 4096;
/// Greatest cost of one answer, in millionths of a US dollar: a million dollars.
const COST_MAX: u64 = 1_000_000_000_000;
/// Tokens that prices are for.
const MILLION: f64 = 1_000_000.0;

/// Prices of models, in US dollars.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prices {
    /// Date of the table, e.g. 2026-11-29.
    pub date: String,
    /// The prices; the first whose pattern fits is a model's.
    pub models: Vec<Price>,
}

/// Price of a model, in US dollars for a million tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Price {
    /// Name of the model; a star at its end stands for anything.
    pub model: String,
    /// Price of tokens that no cache had.
    pub input: f64,
    /// Price of the answer's tokens.
    pub output: f64,
    /// Price of tokens that a cache had.
    pub cache_read: f64,
    /// Price of tokens that a cache took.
    pub cache_write: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with the keys date and model")]
struct RawPrices {
    date: Spanned<String>,
    #[serde(default)]
    model: Vec<Spanned<RawPrice>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with the keys name, input and output")]
struct RawPrice {
    name: Spanned<String>,
    input: Spanned<f64>,
    output: Spanned<f64>,
    cache_read: Option<Spanned<f64>>,
    cache_write: Option<Spanned<f64>>,
}

impl Prices {
    /// Parses and checks a table. `source_name` stands in errors only.
    ///
    /// # Errors
    /// Where something is wrong, with line and column.
    pub fn parse(source_name: &str, text: &str) -> Result<Self, TextError> {
        checked_toml::read(source_name, text, check)
    }

    /// The table that is shipped.
    #[must_use]
    pub fn shipped() -> Self {
        Self::parse("prices.toml", SHIPPED).unwrap_or_default()
    }

    /// Price of these tokens of a model in millionths of a US dollar; None: the table does not know the model.
    #[must_use]
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn micros(&self, model: &str, tokens: &Tokens) -> Option<u64> {
        let price = self.models.iter().find(|price| price.is_of(model))?;
        let part = |tokens: u64, price: f64| tokens as f64 / MILLION * price;
        let usd = part(tokens.input, price.input)
            + part(tokens.output, price.output)
            + part(tokens.cache_read, price.cache_read)
            + part(tokens.cache_write, price.cache_write);
        Some((usd * MILLION).round() as u64).map(|micros| micros.min(COST_MAX))
    }
}

impl Price {
    fn is_of(&self, model: &str) -> bool {
        match self.model.strip_suffix('*') {
            Some(beginning) => model.starts_with(beginning),
            None => self.model == model,
        }
    }
}

fn check(raw: RawPrices) -> Checked<Prices> {
    let is_date = |text: &str| {
        text.len() == 10
            && text.bytes().enumerate().all(|(at, b)| if matches!(at, 4 | 7) { b == b'-' } else { b.is_ascii_digit() })
    };
    let date = checked_toml::word(raw.date, is_date, "date", "a date such as 2026-11-29")?;
    if let Some(first_too_many) = raw.model.get(MODELS_MAX) {
        let message = format!("there are {} models; allowed: at most {MODELS_MAX}", raw.model.len());
        return Err(Wrong { at: first_too_many.span().start, message });
    }
    let models = raw.model.into_iter().map(|raw| {
        let RawPrice { name, input, output, cache_read, cache_write } = raw.into_inner();
        let fits = |name: &str| (1..=128).contains(&name.len()) && !name.chars().any(char::is_control);
        let model = checked_toml::word(name, fits, "name", "a model's name, with or without a star at its end")?;
        let (input, output) = (price(&input)?, price(&output)?);
        let cache_read = cache_read.map_or(Ok(input), |raw| price(&raw))?;
        let cache_write = cache_write.map_or(Ok(input), |raw| price(&raw))?;
        Ok(Price { model, input, output, cache_read, cache_write })
    });
    Ok(Prices { date, models: models.collect::<Checked<_>>()? })
}

fn price(raw: &Spanned<f64>) -> Checked<f64> {
    let price = *raw.as_ref();
    if (0.0..=1_000_000.0).contains(&price) {
        return Ok(price);
    }
    Err(Wrong {
        at: raw.span().start,
        message: "a price is in US dollars for a million tokens, from 0 to 1000000".into(),
    })
}
