//! What an API of models says when it answers no request for now: that there were too many, that it is overloaded, or that a quota
//! is used up; and when that ends.
//!
//! Sources: RFC 9110 for `Retry-After`; the pages on rate limits and errors of Anthropic and OpenAI; `google.rpc.RetryInfo` of
//! Gemini; the errors that Codex reads of its own backend.

use serde_json::Value;

use super::dates;
use crate::UnixMillis;

/// One second, in milliseconds.
const SECOND: UnixMillis = 1_000;
/// Longest time until a limit's end that is believed: 35 days.
const MOST: UnixMillis = 35 * 24 * 3600 * SECOND;
/// Time that a limit of the rate is taken to last where nothing says it.
const UNSAID: UnixMillis = 60 * SECOND;
/// What Anthropic and OpenAI count by, as names of their headers have it.
const COUNTED: [&str; 4] = ["requests", "tokens", "input-tokens", "output-tokens"];

/// Why there is no answer for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There were too many requests, or tokens, in too short a time.
    RateLimited,
    /// The API has too much to do for others.
    Overloaded,
    /// What was paid for, or is allowed in a longer time, is used up.
    OutOfQuota,
    /// The session's budget is used up: the gateway itself refuses.
    OverBudget,
}

impl Refusal {
    /// The refusal in words for a person.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::RateLimited => "rate limited",
            Self::Overloaded => "its model's API is overloaded",
            Self::OutOfQuota => "out of quota",
            Self::OverBudget => "over budget",
        }
    }
}

/// A limit that an API has told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What the limit is.
    pub refusal: Refusal,
    /// When the limit ends; None: nobody says, and somebody may have to do something about it.
    pub until: Option<UnixMillis>,
}

impl Limit {
    /// The limit of a session whose budget is used up.
    pub const OVER_BUDGET: Self = Self { refusal: Refusal::OverBudget, until: None };

    /// The limit that a whole answer tells of: by its status and headers, by the object `error` of its body, or by that of a stream that
    /// began well. None: it tells of none.
    #[must_use]
    pub fn of<'a>(
        status: u16,
        header: impl Fn(&str) -> Option<&'a str>,
        error: Option<&Value>,
        now: UnixMillis,
    ) -> Option<Self> {
        let said = error.and_then(refusal);
        let refusal = match status {
            429 => said.unwrap_or(Refusal::RateLimited),
            503 | 529 => said.unwrap_or(Refusal::Overloaded),
            402 => Refusal::OutOfQuota,
            200..300 => said?,
            _ => return None,
        };
        let until = of_headers(header, refusal, now).or_else(|| error.and_then(|error| of_error(error, now)));
        let until = until.filter(|until| *until <= now.saturating_add(MOST)).map(|until| until.max(now + SECOND));
        let unsaid = (refusal != Refusal::OutOfQuota).then(|| now.saturating_add(UNSAID));
        Some(Self { refusal, until: until.or(unsaid) })
    }
}

/// What an error says that it is; None: something else than a limit.
fn refusal(error: &Value) -> Option<Refusal> {
    let words = ["code", "type", "status"].iter().filter_map(|key| error.get(key)?.as_str());
    let known = |word: &str| match word {
        "insufficient_quota" | "usage_limit_reached" | "usage_not_included" | "billing_error" => {
            Some(Refusal::OutOfQuota)
        }
        "rate_limit_error" | "rate_limit_exceeded" | "RESOURCE_EXHAUSTED" => Some(Refusal::RateLimited),
        "overloaded_error" | "server_is_overloaded" | "slow_down" | "UNAVAILABLE" => Some(Refusal::Overloaded),
        _ => None,
    };
    words.filter_map(known).next()
}

/// When the limit ends, as headers say it: what asks to wait, else the last of what is used up.
fn of_headers<'a>(header: impl Fn(&str) -> Option<&'a str>, refusal: Refusal, now: UnixMillis) -> Option<UnixMillis> {
    let after = |millis: UnixMillis| now.saturating_add(millis);
    let millis = header("retry-after-ms").and_then(dates::seconds).map(|seconds| seconds / 1000);
    if let Some(millis) = millis {
        return Some(after(millis));
    }
    if let Some(text) = header("retry-after") {
        return dates::seconds(text).map(after).or_else(|| dates::http_date(text));
    }
    // What is used up is not why it has too much to do for others.
    if refusal == Refusal::Overloaded {
        return None;
    }
    // Of subscriptions, in seconds since the epoch. It is there on every answer.
    let rejected = header("anthropic-ratelimit-unified-status").is_some_and(|status| status.trim() == "rejected");
    if let Some(reset) = header("anthropic-ratelimit-unified-reset").filter(|_| rejected).and_then(dates::seconds) {
        return Some(reset);
    }
    let resets = COUNTED.iter().filter_map(|what| {
        let used_up = |name: &str| header(name).is_some_and(|left| left.trim() == "0");
        if used_up(&format!("anthropic-ratelimit-{what}-remaining")) {
            return dates::rfc3339(header(&format!("anthropic-ratelimit-{what}-reset"))?);
        }
        if used_up(&format!("x-ratelimit-remaining-{what}")) {
            return dates::span(header(&format!("x-ratelimit-reset-{what}"))?).map(after);
        }
        None
    });
    resets.max()
}

/// The same, as the error itself says it.
fn of_error(error: &Value, now: UnixMillis) -> Option<UnixMillis> {
    let seconds = |key: &str| error.get(key)?.as_i64()?.checked_mul(SECOND);
    if let Some(at) = seconds("resets_at") {
        return Some(at);
    }
    if let Some(left) = seconds("resets_in_seconds") {
        return now.checked_add(left);
    }
    let delays = error.get("details").and_then(Value::as_array).into_iter().flatten();
    let delay = delays.filter_map(|detail| dates::span(detail.get("retryDelay")?.as_str()?)).next();
    let message = error.get("message").and_then(Value::as_str).unwrap_or_default();
    let said = || message.split_once("try again in ").and_then(|(_, rest)| dates::span(rest));
    now.checked_add(delay.or_else(said)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use Refusal::{OutOfQuota, Overloaded, RateLimited};

    /// 2026-12-01T02:30:00Z.
    const NOW: UnixMillis = 1_796_092_200_000;

    fn limit(status: u16, headers: &[(&str, &'static str)], error: &str) -> Option<(Refusal, Option<UnixMillis>)> {
        let header = |name: &str| headers.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        let error: Option<Value> = serde_json::from_str(error).ok();
        let limit = Limit::of(status, header, error.as_ref(), NOW)?;
        Some((limit.refusal, limit.until.map(|until| (until - NOW) / SECOND)))
    }

    #[rstest]
    #[case::seconds(429, &[("retry-after", "300")], "", Some((RateLimited, Some(300))))]
    #[case::date(429, &[("retry-after", "Tue, 01 Dec 2026 02:35:00 GMT")], "", Some((RateLimited, Some(300))))]
    #[case::past(429, &[("retry-after", "Tue, 01 Dec 2020 02:35:00 GMT")], "", Some((RateLimited, Some(1))))]
    #[case::millis(429, &[("retry-after-ms", "2500"), ("retry-after", "9")], "", Some((RateLimited, Some(2))))]
    #[case::nothing(429, &[], "", Some((RateLimited, Some(60))))]
    #[case::nonsense(429, &[("retry-after", "soon")], "", Some((RateLimited, Some(60))))]
    #[case::never(429, &[("retry-after", "99999999999999999999")], "", Some((RateLimited, Some(60))))]
    #[case::next_year(429, &[("retry-after", "31536000")], "", Some((RateLimited, Some(60))))]
    #[case::anthropic(
        429,
        &[
            ("anthropic-ratelimit-requests-remaining", "12"),
            ("anthropic-ratelimit-requests-reset", "2026-12-01T09:00:00Z"),
            ("anthropic-ratelimit-input-tokens-remaining", "0"),
            ("anthropic-ratelimit-input-tokens-reset", "2026-12-01T02:31:30Z"),
        ],
        "",
        Some((RateLimited, Some(90)))
    )]
    #[case::subscription(
        429,
        &[("anthropic-ratelimit-unified-status", "rejected"), ("anthropic-ratelimit-unified-reset", "1796093200")],
        "",
        Some((RateLimited, Some(1000)))
    )]
    #[case::not_of_the_subscription(
        429,
        &[("anthropic-ratelimit-unified-status", "allowed"), ("anthropic-ratelimit-unified-reset", "1796093200")],
        "",
        Some((RateLimited, Some(60)))
    )]
    #[case::overloaded_beside_a_subscription(
        529,
        &[("anthropic-ratelimit-unified-status", "rejected"), ("anthropic-ratelimit-unified-reset", "1796093200")],
        "",
        Some((Overloaded, Some(60)))
    )]
    #[case::openai(
        429,
        &[("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "1m30s"),
          ("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "6m0s")],
        "",
        Some((RateLimited, Some(360)))
    )]
    #[case::out_of_quota(429, &[], r#"{"type":"insufficient_quota","code":"insufficient_quota"}"#, Some((OutOfQuota, None)))]
    #[case::codex(429, &[], r#"{"type":"usage_limit_reached","resets_at":1796095800}"#, Some((OutOfQuota, Some(3600))))]
    #[case::codex_before(429, &[], r#"{"type":"usage_limit_reached","resets_in_seconds":60}"#, Some((OutOfQuota, Some(60))))]
    #[case::gemini(
        429,
        &[],
        r#"{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"@type":"x"},{"retryDelay":"34.5s"}]}"#,
        Some((RateLimited, Some(34)))
    )]
    #[case::words(200, &[], r#"{"code":"rate_limit_exceeded","message":"Please try again in 20.5s. Visit"}"#, Some((RateLimited, Some(20))))]
    #[case::stream(200, &[], r#"{"type":"overloaded_error","message":"Overloaded"}"#, Some((Overloaded, Some(60))))]
    #[case::overloaded(529, &[("retry-after", "5")], "", Some((Overloaded, Some(5))))]
    #[case::unavailable(503, &[], "", Some((Overloaded, Some(60))))]
    #[case::billing(402, &[], "", Some((OutOfQuota, None)))]
    #[case::answered(200, &[("retry-after", "5")], "", None)]
    #[case::another_error(200, &[], r#"{"type":"api_error"}"#, None)]
    #[case::broken(500, &[("retry-after", "5")], r#"{"type":"rate_limit_error"}"#, None)]
    #[case::denied(401, &[], "", None)]
    fn limits_as_apis_tell_of_them(
        #[case] status: u16,
        #[case] headers: &[(&str, &'static str)],
        #[case] error: &str,
        #[case] expected: Option<(Refusal, Option<UnixMillis>)>,
    ) {
        assert_eq!(limit(status, headers, error), expected);
    }

    proptest! {
        #[test]
        fn no_limit_is_over_already_or_lasts_for_ever(text in "[-0-9a-zA-Z:,. ]{0,40}", number in any::<i64>()) {
            let header = |name: &str| Some(text.as_str()).filter(|_| !name.ends_with("remaining"));
            let error = serde_json::json!({ "type": "usage_limit_reached", "resets_at": number, "message": text });
            for limit in [Limit::of(429, header, None, NOW), Limit::of(429, |_| None, Some(&error), NOW)] {
                let until = limit.unwrap().until;
                prop_assert!(until.is_none_or(|until| (NOW + SECOND..=NOW + MOST).contains(&until)), "{until:?}");
            }
        }
    }
}
