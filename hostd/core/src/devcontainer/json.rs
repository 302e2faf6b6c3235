//! JSON with comments and trailing commas, read to values.

use jsonc_parser::{ParseOptions, parse_to_serde_value};
use serde_json::{Map, Value};

use super::TEXT_MAX;
use crate::text;

/// The object in this text. `name` stands in errors.
pub(super) fn object(name: &str, text: &str) -> Result<Map<String, Value>, String> {
    match value(name, text)? {
        Value::Object(object) => Ok(object),
        _ => Err(format!("{name} is no JSON object")),
    }
}

/// The value in this text. `name` stands in errors.
pub(super) fn value(name: &str, text: &str) -> Result<Value, String> {
    if text.len() > TEXT_MAX {
        return Err(format!("{name} is longer than {TEXT_MAX} bytes"));
    }
    // What its own tools read, and nothing beyond.
    let options = ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    let read = parse_to_serde_value(text.trim_start_matches('\u{feff}'), &options);
    read.map_err(|error| format!("{name}: {}", shown(&error.to_string())))
}

/// The text of a string, a number or a truth value.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        _ => None,
    }
}

/// Foreign text as an error or a note may have it: a line, and not a long one.
pub(super) fn shown(foreign: &str) -> String {
    text::one_line(&text::clean(foreign, 160))
}

/// A value as a note may have it.
pub(super) fn shown_value(value: &Value) -> String {
    shown(&scalar(value).unwrap_or_else(|| value.to_string()))
}
