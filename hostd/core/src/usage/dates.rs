//! Times and spans as HTTP and APIs of models write them.

use crate::UnixMillis;

/// One second, in milliseconds.
const SECOND: UnixMillis = 1_000;

/// Whole or broken seconds, such as `30` or `1.5`, in milliseconds.
pub(super) fn seconds(text: &str) -> Option<UnixMillis> {
    scaled(text.trim(), SECOND)
}

/// A span such as `6m0s`, `1h2m`, `250ms` or `34.5s` at the text's begin, in milliseconds.
pub(super) fn span(text: &str) -> Option<UnixMillis> {
    let (mut rest, mut total) = (text.trim_start(), None::<UnixMillis>);
    while rest.starts_with(|c: char| c.is_ascii_digit()) {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, behind) = rest.split_at(end);
        let behind = behind.trim_start();
        let unit = behind.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit);
        let millis = match unit {
            "ms" => 1,
            "s" | "second" | "seconds" => SECOND,
            "m" | "minute" | "minutes" => 60 * SECOND,
            "h" | "hour" | "hours" => 3600 * SECOND,
            "d" | "day" | "days" => 24 * 3600 * SECOND,
            _ => break,
        };
        total = Some(total.unwrap_or(0).checked_add(scaled(number, millis)?)?);
        rest = behind;
    }
    total
}

/// A number with at most three digits behind its point, times `unit`.
fn scaled(number: &str, unit: UnixMillis) -> Option<UnixMillis> {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || !digits(whole) || !digits(part) {
        return None;
    }
    let thousandths = format!("{part:0<3}").get(..3)?.parse::<UnixMillis>().ok()?;
    let whole = whole.parse::<UnixMillis>().ok()?.checked_mul(unit)?;
    whole.checked_add(thousandths * unit / 1000)
}

/// A date as HTTP has it, `Tue, 01 Dec 2026 02:35:00 GMT`: one of RFC 2822's.
pub(super) fn http_date(text: &str) -> Option<UnixMillis> {
    jiff::fmt::rfc2822::parse(text.trim()).ok().map(|date| date.timestamp().as_millisecond())
}

/// A time as RFC 3339 has it: `2026-12-01T02:31:30Z`.
pub(super) fn rfc3339(text: &str) -> Option<UnixMillis> {
    text.trim().parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777))]
    #[case("Thu, 01 Jan 1970 00:00:00 GMT", Some(0))]
    #[case("Thu, 29 Feb 2024 23:59:59 GMT", Some(1_709_251_199))]
    #[case("Sun, 06 Nov 1994 08:49:37 +0100", Some(784_108_177))]
    #[case("Sun, 06 Nov 1994 25:49:37 GMT", None)]
    #[case("Sunday, 06-Nov-94 08:49:37 GMT", None)]
    #[case("", None)]
    fn dates_of_http(#[case] text: &str, #[case] expected: Option<i64>) {
        assert_eq!(http_date(text), expected.map(|seconds| seconds * SECOND));
    }

    #[rstest]
    #[case("2026-12-01T02:30:00Z", Some(1_796_092_200))]
    #[case("2026-12-01T02:30:00.000456Z", Some(1_796_092_200))]
    #[case("2026-12-01T02:30:00+01:00", Some(1_796_088_600))]
    #[case("2026-12-01", None)]
    #[case("2026-13-01T02:30:00Z", None)]
    fn times_of_rfc_3339(#[case] text: &str, #[case] expected: Option<i64>) {
        assert_eq!(rfc3339(text), expected.map(|seconds| seconds * SECOND));
    }

    #[rstest]
    #[case("6m0s", Some(360_000))]
    #[case("1h2m3s", Some(3_723_000))]
    #[case("250ms", Some(250))]
    #[case("34.5s", Some(34_500))]
    #[case("1.898 seconds. Visit", Some(1_898))]
    #[case("2 days", Some(172_800_000))]
    #[case("20", None)]
    #[case("soon", None)]
    #[case("99999999999999999999s", None)]
    #[case("9223372036854775807h", None)]
    fn spans(#[case] text: &str, #[case] expected: Option<UnixMillis>) {
        assert_eq!(span(text), expected);
    }
}
