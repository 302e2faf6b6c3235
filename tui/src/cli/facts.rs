//! Facts: what is shown of one thing, a name before each value.

use jiff::Timestamp;

use super::{
    format::{age, time},
    table::Tone,
};

/// Names and values, one or more lines for each value.
pub(crate) type Facts = Vec<(&'static str, String)>;

/// Draws facts, names aligned; empty values are left out.
pub(crate) fn lines(facts: &Facts, colour: bool) -> String {
    let wide = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut out = String::new();
    for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        for (at, line) in value.lines().enumerate() {
            let name = format!("{:wide$}", if at == 0 { name } else { "" });
            out.push_str(&format!("{}  {line}\n", Tone::Dim.paint(&name, colour && at == 0)));
        }
    }
    out
}

/// A time in words, and how long ago that is.
pub(crate) fn when(unix_millis: i64) -> String {
    format!("{} ({} ago)", time(unix_millis), age(unix_millis, Timestamp::now()))
}
