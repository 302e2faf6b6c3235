//! Tab stops of a terminal: where they stand, and which is next.

use std::collections::BTreeSet;

/// Columns of the widest terminal that has stops of its own.
const COLUMNS_MAX: u16 = 1024;

/// Every eighth column, until a program sets others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tabs(Option<BTreeSet<u16>>);

impl Tabs {
    fn stops(&mut self) -> &mut BTreeSet<u16> {
        self.0.get_or_insert_with(|| (8..COLUMNS_MAX).step_by(8).collect())
    }

    /// Sets a stop at this column, from 0.
    pub(crate) fn set(&mut self, column: u16) {
        if column < COLUMNS_MAX {
            self.stops().insert(column);
        }
    }

    /// Removes the stop at this column, from 0.
    pub(crate) fn clear(&mut self, column: u16) {
        self.stops().remove(&column);
    }

    /// Removes all stops.
    pub(crate) fn clear_all(&mut self) {
        self.0 = Some(BTreeSet::new());
    }

    /// The stop after this column; the last column where there is none.
    pub(crate) fn next(&self, column: u16, columns: u16) -> u16 {
        let next = match &self.0 {
            None => Some((column / 8 + 1).saturating_mul(8)),
            Some(stops) => stops.range(column.saturating_add(1)..).next().copied(),
        };
        next.unwrap_or(columns).min(columns.saturating_sub(1))
    }

    /// The stop before this column; the first column where there is none.
    pub(crate) fn before(&self, column: u16) -> u16 {
        match &self.0 {
            None => column.saturating_sub(1) / 8 * 8,
            Some(stops) => stops.range(..column).next_back().copied().unwrap_or(0),
        }
    }

    /// Sets the stops on a terminal of `columns` columns that has the usual ones; moves its cursor.
    pub(crate) fn write(&self, columns: u16, out: &mut Vec<u8>) {
        let Some(stops) = &self.0 else { return };
        out.extend_from_slice(b"\x1b[3g");
        for stop in stops.range(..columns) {
            out.extend_from_slice(format!("\x1b[{}G\x1bH", stop + 1).as_bytes());
        }
    }
}
