//! Tables for people: aligned, fitted to the terminal.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns of the terminal between two columns of the table.
const GAP: usize = 2;

/// How a cell stands out. Colour never says anything that its text does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    /// The cell does not stand out.
    #[default]
    Plain,
    /// The cell stands back.
    Dim,
    /// The cell is to be looked at.
    Warn,
    /// The cell says that something broke.
    Bad,
    /// The cell says that all is well.
    Good,
}

impl Tone {
    fn escape(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Dim => "\x1b[2m",
            Self::Warn => "\x1b[1;33m",
            Self::Bad => "\x1b[31m",
            Self::Good => "\x1b[32m",
        }
    }

    /// `text` in this tone, where `colour` is wanted.
    pub(crate) fn paint(self, text: &str, colour: bool) -> String {
        if colour && self != Self::Plain { format!("{}{text}\x1b[0m", self.escape()) } else { text.to_owned() }
    }
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    /// Text of the column's head.
    pub(crate) title: &'static str,
    /// Least width to which the column may be cut to fit; `None`: it is never cut.
    pub(crate) least: Option<usize>,
    /// Rank in which the column is left out to fit, highest first; 0: never.
    pub(crate) expendable: u8,
}

impl Column {
    /// Creates a column that is never cut and never left out.
    pub(crate) const fn fixed(title: &'static str) -> Self {
        Self { title, least: None, expendable: 0 }
    }

    /// Creates a column that may be cut to fit, to `least` columns of the terminal.
    pub(crate) const fn flexible(title: &'static str, least: usize) -> Self {
        Self { title, least: Some(least), expendable: 0 }
    }

    /// Lets the column be left out where there is no room, highest rank first.
    pub(crate) const fn expendable(mut self, rank: u8) -> Self {
        self.expendable = rank;
        self
    }
}

/// A cell of a table: one harmless line, and its tone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell(pub(crate) String, pub(crate) Tone);

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self(text, Tone::Plain)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self(text.into(), Tone::Plain)
    }
}

/// Draws the table, its heads first. `width` is the terminal's; without one nothing is cut.
pub(crate) fn render(columns: &[Column], rows: &[Vec<Cell>], width: Option<usize>, colour: bool) -> String {
    let natural: Vec<usize> = (columns.iter().enumerate())
        .map(|(at, column)| {
            let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.0.width());
            cells.max().unwrap_or(0).max(column.title.width())
        })
        .collect();
    let widths = match width {
        Some(width) => fit(columns, &natural, width),
        None => natural.into_iter().map(Some).collect(),
    };
    let heads: Vec<Cell> = columns.iter().map(|column| Cell(column.title.into(), Tone::Dim)).collect();
    let mut out = String::new();
    for row in std::iter::once(&heads).chain(rows) {
        out.push_str(&line(row, &widths, width, colour));
        out.push('\n');
    }
    out
}

fn line(row: &[Cell], widths: &[Option<usize>], limit: Option<usize>, colour: bool) -> String {
    let mut out = String::new();
    let mut used = 0;
    let mut pad = 0;
    for (cell, width) in row.iter().zip(widths).filter_map(|(cell, width)| Some((cell, (*width)?))) {
        // Where even the fixed columns are too wide, the line is cut at the terminal's edge.
        let room = limit.map_or(width, |limit| width.min(limit.saturating_sub(used + pad)));
        if room == 0 {
            break;
        }
        let text = truncate(&cell.0, room);
        out.push_str(&" ".repeat(pad));
        out.push_str(&cell.1.paint(&text, colour));
        used += pad + text.width();
        pad = width.saturating_sub(text.width()) + GAP;
    }
    out
}

/// Width of each column, `None` where it is left out: first flexible ones give way, the widest first, then expendable ones go.
fn fit(columns: &[Column], natural: &[usize], limit: usize) -> Vec<Option<usize>> {
    let mut widths: Vec<Option<usize>> = natural.iter().copied().map(Some).collect();
    loop {
        let total = widths.iter().flatten().map(|width| width + GAP).sum::<usize>().saturating_sub(GAP);
        if total <= limit {
            return widths;
        }
        let shrinkable = (0..columns.len())
            .filter(|&at| columns[at].least.zip(widths[at]).is_some_and(|(least, width)| width > least))
            .max_by_key(|&at| (widths[at], at));
        if let Some(at) = shrinkable {
            widths[at] = widths[at].map(|width| width - 1);
            continue;
        }
        let expendable = (0..columns.len()).filter(|&at| columns[at].expendable > 0 && widths[at].is_some());
        let Some(at) = expendable.max_by_key(|&at| columns[at].expendable) else { return widths };
        widths[at] = None;
        // Its room goes back to the flexible ones.
        for (width, natural) in widths.iter_mut().zip(natural) {
            *width = width.map(|_| *natural);
        }
    }
}

/// At most `width` columns of `text`, ended with … where something was cut.
pub(crate) fn truncate(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if used + wide + 1 > width {
            break;
        }
        used += wide;
        out.push(c);
    }
    if width > 0 {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const COLUMNS: [Column; 3] =
        [Column::fixed("NAME"), Column::flexible("TITLE", 5), Column::fixed("AGE").expendable(1)];

    fn table(width: Option<usize>) -> String {
        let rows = vec![
            vec!["alpha".into(), "fix the parser of dates".into(), "3m".into()],
            vec!["b".into(), "猫の世話".into(), "12h".into()],
        ];
        render(&COLUMNS, &rows, width, false)
    }

    #[rstest]
    #[case(
        None,
        "NAME   TITLE                    AGE\nalpha  fix the parser of dates  3m\nb      猫の世話                 12h\n"
    )]
    #[case(
        Some(35),
        "NAME   TITLE                    AGE\nalpha  fix the parser of dates  3m\nb      猫の世話                 12h\n"
    )]
    #[case(Some(24), "NAME   TITLE         AGE\nalpha  fix the par…  3m\nb      猫の世話      12h\n")]
    #[case(Some(19), "NAME   TITLE    AGE\nalpha  fix th…  3m\nb      猫の世…  12h\n")]
    #[case(Some(14), "NAME   TITLE\nalpha  fix th…\nb      猫の世…\n")]
    #[case(Some(9), "NAME   T…\nalpha  f…\nb      …\n")]
    #[case(Some(3), "NA…\nal…\nb\n")]
    #[case(Some(0), "\n\n\n")]
    fn tables_fit(#[case] width: Option<usize>, #[case] want: &str) {
        assert_eq!(table(width), want);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in 0..60 {
            for line in table(Some(width)).lines() {
                assert!(line.width() <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn colour_does_not_change_the_layout() {
        let rows = vec![vec![Cell("a".into(), Tone::Bad), "b".into(), "c".into()]];
        let text = render(&COLUMNS, &rows, Some(80), true);
        assert_eq!(text.lines().nth(1), Some("\x1b[31ma\x1b[0m     b      c"));
    }

    #[rstest]
    #[case("abc", 3, "abc")]
    #[case("abcd", 3, "ab…")]
    #[case("猫猫", 3, "猫…")]
    #[case("猫猫", 2, "…")]
    #[case("abc", 0, "")]
    fn cutting_counts_columns(#[case] text: &str, #[case] width: usize, #[case] want: &str) {
        assert_eq!(truncate(text, width), want);
    }
}
