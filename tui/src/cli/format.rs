//! Values as people read them.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

pub(crate) use crate::foreign::{plain, plain_lines};

/// Milliseconds since the epoch as RFC 3339 in UTC, with milliseconds, so that the texts sort like the times.
pub(crate) fn time(unix_millis: i64) -> String {
    match Timestamp::from_millisecond(unix_millis) {
        Ok(time) => format!("{time:.3}"),
        // Out of the calendar: a host that lies. It gets the epoch.
        Err(_) => format!("{:.3}", Timestamp::UNIX_EPOCH),
    }
}

/// How long ago, in one unit: `3s`, `12m`, `5h`, `9d`; the future is `0s`.
pub(crate) fn age(unix_millis: i64, now: Timestamp) -> String {
    let seconds = now.as_millisecond().saturating_sub(unix_millis).max(0) / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Bytes in binary units with at most one decimal: `512 MiB`, `1.5 GiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    // Tenths of a unit, rounded down; u128 keeps the largest u64 whole.
    let mut tenths = u128::from(count) * 10 / 1024;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1024;
        unit = next;
    }
    match tenths % 10 {
        0 => format!("{} {unit}", tenths / 10),
        _ if tenths >= 1000 => format!("{} {unit}", tenths / 10),
        rest => format!("{}.{rest} {unit}", tenths / 10),
    }
}

/// Microseconds as people say them: `350 µs`, `12 ms`, `1.8 s`, `4m12s`.
pub(crate) fn micros(count: u64) -> String {
    match count {
        0..1000 => format!("{count} µs"),
        1000..1_000_000 => format!("{} ms", count / 1000),
        1_000_000..120_000_000 => format!("{}.{} s", count / 1_000_000, count / 100_000 % 10),
        _ => format!("{}m{:02}s", count / 60_000_000, count / 1_000_000 % 60),
    }
}

/// Reads `30s`, `5m`, `1h30m`, `500ms`; a bare number is seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no duration; write it like 30s, 5m or 1h30m");
    let parsed = match text.parse::<u64>() {
        Ok(seconds) => return Ok(Duration::from_secs(seconds)),
        Err(_) => text.parse::<SignedDuration>().map_err(|_| wrong())?,
    };
    Duration::try_from(parsed).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("a\x1b[31mb\x07", "a[31mb")]
    #[case("a\n\t b", "a b")]
    #[case("\u{202e}evil\u{9b}0m", "evil0m")]
    #[case("ß 猫 \u{2028}", "ß 猫")]
    fn foreign_text_becomes_one_harmless_line(#[case] text: &str, #[case] want: &str) {
        assert_eq!(plain(text), want);
    }

    #[rstest]
    #[case(0, "0s")]
    #[case(-5000, "0s")]
    #[case(59_999, "59s")]
    #[case(60_000, "1m")]
    #[case(3_599_999, "59m")]
    #[case(3_600_000, "1h")]
    #[case(172_799_999, "47h")]
    #[case(172_800_000, "2d")]
    #[case(i64::MAX, "106751991167d")]
    fn ages_have_one_unit(#[case] millis: i64, #[case] want: &str) {
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(age(0_i64.saturating_sub(millis), now), want);
    }

    #[rstest]
    #[case(0, "0 B")]
    #[case(1023, "1023 B")]
    #[case(1024, "1 KiB")]
    #[case(1536, "1.5 KiB")]
    #[case(256 << 20, "256 MiB")]
    #[case((100 << 20) + (800 << 10), "100 MiB")]
    #[case(u64::MAX, "16383 PiB")]
    fn bytes_have_binary_units(#[case] count: u64, #[case] want: &str) {
        assert_eq!(bytes(count), want);
    }

    #[rstest]
    #[case(999, "999 µs")]
    #[case(1_999, "1 ms")]
    #[case(1_850_000, "1.8 s")]
    #[case(185_000_000, "3m05s")]
    fn short_times_have_their_unit(#[case] count: u64, #[case] want: &str) {
        assert_eq!(micros(count), want);
    }

    #[rstest]
    #[case("30s", Some(30_000))]
    #[case("5m", Some(300_000))]
    #[case("1h30m", Some(5_400_000))]
    #[case("500ms", Some(500))]
    #[case("7", Some(7_000))]
    #[case("0", Some(0))]
    #[case("-3s", None)]
    #[case("soon", None)]
    #[case("", None)]
    fn durations(#[case] text: &str, #[case] millis: Option<u64>) {
        assert_eq!(duration(text).ok(), millis.map(Duration::from_millis));
    }

    #[rstest]
    #[case(0, "1970-01-01T00:00:00.000Z")]
    #[case(1_700_000_000_120, "2023-11-14T22:13:20.120Z")]
    #[case(i64::MIN, "1970-01-01T00:00:00.000Z")]
    fn times_are_rfc_3339(#[case] millis: i64, #[case] want: &str) {
        assert_eq!(time(millis), want);
    }
}
