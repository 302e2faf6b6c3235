//! When a limit of a model's rate or quota ends, as messages of errors say it.

const SECOND: i64 = 1000;
/// Longest wait that is believed: 35 days.
const MOST: i64 = 35 * 24 * 3600 * SECOND;
/// Words that tell a quota from a rate.
const QUOTA: [&str; 8] = [
    "quota",
    "usage limit",
    "limit reached",
    "hit your limit",
    "credit",
    "billing",
    "insufficient_funds",
    "weekly limit",
];

/// Whether a message speaks of a quota that is used up, rather than of too many requests at a time.
pub(super) fn is_quota(message: &str) -> bool {
    let message = message.to_lowercase();
    QUOTA.iter().any(|word| message.contains(word)) && !message.contains("rate limit reached")
}

/// When the limit ends, in milliseconds since the Unix epoch; 0: the message does not say it, or not clearly.
///
/// Understood are a time behind a bar in seconds since the epoch, `|1764518400`, and a time from now: `in 1h 20m`, `in 20s`,
/// `after 3.5 seconds`. A time of day is not: messages leave out or vary the zone.
pub(super) fn ends(message: &str, now: i64) -> i64 {
    let at = behind_a_bar(message).or_else(|| Some(now.saturating_add(from_now(&message.to_lowercase())?)));
    at.filter(|at| (now + 1..=now.saturating_add(MOST)).contains(at)).unwrap_or(0)
}

fn behind_a_bar(message: &str) -> Option<i64> {
    let (_, rest) = message.split_once('|')?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    (digits.len() == 10).then(|| digits.parse::<i64>().ok())??.checked_mul(SECOND)
}

fn from_now(message: &str) -> Option<i64> {
    let starts =
        [" in ", " after "].iter().flat_map(|word| message.match_indices(word)).map(|(at, word)| at + word.len());
    starts.filter_map(|at| span(message.get(at..)?)).next()
}

/// A span such as `1h 20m`, `1 hour 20 minutes` or `3.5s` at the text's begin, in milliseconds.
fn span(text: &str) -> Option<i64> {
    let (mut rest, mut total) = (text, None::<i64>);
    for _ in 0..4 {
        let trimmed = rest.trim_start_matches([' ', ',']);
        let end = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
        let Ok(number) = trimmed[..end].parse::<f64>() else { break };
        let after = trimmed[end..].trim_start();
        let word: String = after.chars().take_while(char::is_ascii_alphabetic).collect();
        let unit = match word.as_str() {
            "ms" => 1,
            "s" | "sec" | "secs" | "second" | "seconds" => SECOND,
            "m" | "min" | "mins" | "minute" | "minutes" => 60 * SECOND,
            "h" | "hr" | "hrs" | "hour" | "hours" => 3600 * SECOND,
            "d" | "day" | "days" => 24 * 3600 * SECOND,
            _ => break,
        };
        #[expect(clippy::cast_possible_truncation, reason = "clamped before")]
        let millis = (number * unit as f64).clamp(0.0, MOST as f64) as i64;
        total = Some(total.unwrap_or(0).saturating_add(millis));
        rest = &after[word.len()..];
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_limit_is_read() {
        let now = 1_764_500_000_000;
        for (message, expected) in [
            ("Claude AI usage limit reached|1764518400", 1_764_518_400_000),
            ("Rate limit reached. Please try again in 20s.", now + 20_000),
            ("try again in 1h 20m", now + 4_800_000),
            ("Try again in 6 days 3 hours", now + 529_200_000),
            ("retry after 3.5 seconds", now + 3_500),
            ("resets 3pm (UTC)", 0),
            ("limit|12", 0),
            ("in 99999999999999999999 days", 0),
            ("|9999999999", 0),
            ("in a while", 0),
            ("", 0),
        ] {
            assert_eq!(ends(message, now), expected, "{message}");
        }
    }

    #[test]
    fn a_quota_is_no_rate() {
        assert!(is_quota("You've hit your limit") && is_quota("insufficient_quota") && is_quota("usage limit reached"));
        assert!(!is_quota("API Error: Rate limit reached") && !is_quota("429 Too Many Requests"));
    }
}
