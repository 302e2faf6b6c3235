//! Columns that hold JSON.

use rusqlite::{Row, types::Type};
use serde::{Serialize, de::DeserializeOwned};

/// A column's value.
pub(super) fn value<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let wrong = |error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error));
    serde_json::from_str(&row.get::<_, String>(column)?).map_err(wrong)
}

/// What a column is to hold.
pub(super) fn json(value: &impl Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}
