/// Size of a terminal in characters; each side is at least 1 and at most [`Size::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Size {
    /// Number of columns.
    pub columns: u16,
    /// Number of rows.
    pub rows: u16,
}

impl Size {
    /// Longest side that a terminal may have.
    pub const MAX: u16 = 1000;
    /// Size of a terminal before anybody asked for another.
    pub const USUAL: Self = Self { columns: 80, rows: 24 };

    /// Least size of a session's terminal: below it no program is of use, and what has no size, or is no window, says so.
    pub const LEAST: Self = Self { columns: 10, rows: 3 };

    /// Whether a session's terminal takes this size. A smaller window shows a part.
    #[must_use]
    pub fn is_usable(self) -> bool {
        self.columns >= Self::LEAST.columns && self.rows >= Self::LEAST.rows
    }

    /// The nearest allowed size to this one, which is foreign.
    #[must_use]
    pub fn clamped(columns: u32, rows: u32) -> Self {
        let side = |n: u32| u16::try_from(n.clamp(1, Self::MAX.into())).unwrap_or(Self::MAX);
        Self { columns: side(columns), rows: side(rows) }
    }
}
