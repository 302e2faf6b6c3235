//! Colours and attributes that text is written in (SGR), also those that the engine does not know.

use crate::sequence::{Csi, Field};

/// Colours and attributes of the next text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Pen {
    flags: u16,
    /// Kind of underline: 0 none, 1 plain, 2 double, 3 curly, 4 dotted, 5 dashed.
    underline: u8,
    foreground: Color,
    background: Color,
    underline_color: Color,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Color {
    #[default]
    Default,
    Index(u8),
    Rgb(u8, u8, u8),
}

/// Attributes that are on or off: their bit, what sets them, and whether the engine knows them.
const FLAGS: [(u16, u16, bool); 8] = [
    (1 << 0, 1, true),
    (1 << 1, 2, true),
    (1 << 2, 3, true),
    (1 << 3, 5, false),
    (1 << 4, 7, true),
    (1 << 5, 8, false),
    (1 << 6, 9, false),
    (1 << 7, 53, false),
];
const BOLD: u16 = 1 << 0;
/// Those that the engine does not know.
const BEYOND: u16 = 1 << 3 | 1 << 5 | 1 << 6 | 1 << 7;
const DIM: u16 = 1 << 1;

impl Pen {
    /// Carries out `CSI ... m`.
    pub(crate) fn apply(&mut self, csi: &Csi<'_>) {
        let mut fields = csi.fields().peekable();
        if fields.peek().is_none() {
            *self = Self::default();
        }
        while let Some(field) = fields.next() {
            let mut parts = field.parts();
            let first = parts.next().flatten().unwrap_or(0);
            match first {
                38 | 48 | 58 => {
                    let color = if field.is_divided() { divided(field) } else { listed(&mut fields) };
                    if let Some(color) = color {
                        *self.color(first) = color;
                    }
                }
                4 => self.underline = u8::try_from(parts.next().flatten().unwrap_or(1)).unwrap_or(1).min(5),
                _ => self.simple(first),
            }
        }
    }

    fn color(&mut self, which: u16) -> &mut Color {
        match which {
            38 => &mut self.foreground,
            48 => &mut self.background,
            _ => &mut self.underline_color,
        }
    }

    fn simple(&mut self, number: u16) {
        let index = |from: u16, bright: u8| Color::Index(u8::try_from(number - from).unwrap_or(0) + bright);
        match number {
            0 => *self = Self::default(),
            21 => self.underline = 2,
            22 => self.flags &= !(BOLD | DIM),
            24 => self.underline = 0,
            23 | 25 | 27..=29 | 55 => {
                let set = if number == 55 { 53 } else { number - 20 };
                self.flags &= !flag(set);
            }
            30..=37 => self.foreground = index(30, 0),
            39 => self.foreground = Color::Default,
            40..=47 => self.background = index(40, 0),
            49 => self.background = Color::Default,
            59 => self.underline_color = Color::Default,
            90..=97 => self.foreground = index(90, 8),
            100..=107 => self.background = index(100, 8),
            6 => self.flags |= flag(5),
            _ => self.flags |= flag(number),
        }
    }

    /// The pen that a cell is written in.
    pub(crate) fn of(cell: &vt100::Cell) -> Self {
        let color = |color| match color {
            vt100::Color::Default => Color::Default,
            vt100::Color::Idx(n) => Color::Index(n),
            vt100::Color::Rgb(r, g, b) => Color::Rgb(r, g, b),
        };
        let on = [(cell.bold(), 1), (cell.dim(), 2), (cell.italic(), 3), (cell.inverse(), 7)];
        Self {
            flags: on.into_iter().filter(|(on, _)| *on).fold(0, |flags, (_, set)| flags | flag(set)),
            underline: u8::from(cell.underline()),
            foreground: color(cell.fgcolor()),
            background: color(cell.bgcolor()),
            underline_color: Color::Default,
        }
    }

    /// Returns the part of the pen that the engine's cells have no room for; None where there is no such part. An underline's style and colour go together.
    pub(crate) fn beyond(&self) -> Option<Self> {
        let styled = self.underline > 1 || (self.underline == 1 && self.underline_color != Color::Default);
        if self.flags & BEYOND == 0 && !styled {
            return None;
        }
        let (underline, underline_color) =
            if styled { (self.underline, self.underline_color) } else { Default::default() };
        Some(Self { flags: self.flags & BEYOND, underline, underline_color, ..Self::default() })
    }

    /// Returns the pen with its underline in the text's colour.
    pub(crate) fn without_underline_color(self) -> Self {
        Self { underline_color: Color::Default, ..self }
    }

    /// Returns the pen with a part that the engine's cells have no room for.
    pub(crate) fn with(self, beyond: Self) -> Self {
        let underline = if beyond.underline > 0 { beyond.underline } else { self.underline };
        let flags = self.flags | beyond.flags;
        Self { flags, underline, underline_color: beyond.underline_color, ..self }
    }

    /// Kind of underline: 0 none, 1 plain, 2 double, 3 curly, 4 dotted, 5 dashed.
    #[cfg(test)]
    pub(crate) fn underline_style(&self) -> u8 {
        self.underline
    }

    /// Whether the attribute is on that this number of SGR sets.
    pub(crate) fn has(&self, set: u16) -> bool {
        self.flags & flag(set) != 0
    }

    /// Writes what takes a terminal from the engine's part of a look to all of it.
    pub(crate) fn write_more(&self, out: &mut Vec<u8>) {
        let on = FLAGS.iter().filter(|(bit, ..)| self.flags & bit != 0).map(|(_, set, _)| set.to_string());
        let style = (self.underline > 1).then(|| format!("4:{}", self.underline));
        let color = match self.underline_color {
            Color::Default => None,
            Color::Index(n) => Some(format!("58;5;{n}")),
            Color::Rgb(r, g, b) => Some(format!("58;2;{r};{g};{b}")),
        };
        sequence(on.chain(style).chain(color), out);
    }

    /// Writes what takes a terminal back to the engine's part of the look.
    pub(crate) fn write_end(&self, out: &mut Vec<u8>) {
        let off = |set: u16| if set == 53 { 55 } else { set + 20 };
        let flags = FLAGS.iter().filter(|(bit, ..)| self.flags & bit != 0).map(|(_, set, _)| off(*set).to_string());
        let style = (self.underline > 1).then(|| "4".to_owned());
        let color = (self.underline_color != Color::Default).then(|| "59".to_owned());
        sequence(flags.chain(style).chain(color), out);
    }

    /// Whether the pen is as in a fresh terminal.
    pub(crate) fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// Whether blank cells that the pen leaves have a colour.
    pub(crate) fn fills(&self) -> bool {
        self.background != Color::Default
    }

    /// The pen of blank cells that this one leaves: its background alone.
    pub(crate) fn blank(&self) -> Self {
        Self { background: self.background, ..Self::default() }
    }

    /// Writes the parts of the pen that the engine knows.
    pub(crate) fn write_known(&self, out: &mut Vec<u8>) {
        self.write_parts(out, true);
    }

    /// Writes all of the pen, for a terminal that may know more.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        self.write_parts(out, false);
    }

    fn write_parts(&self, out: &mut Vec<u8>, known: bool) {
        out.extend_from_slice(b"\x1b[0");
        let mut put = |text: &str| out.extend_from_slice(text.as_bytes());
        for (bit, set, is_known) in FLAGS {
            if self.flags & bit != 0 && (is_known || !known) {
                put(&format!(";{set}"));
            }
        }
        match self.underline {
            0 => {}
            style @ 2.. if !known => put(&format!(";4:{style}")),
            _ => put(";4"),
        }
        for (color, which) in [(self.foreground, 38), (self.background, 48), (self.underline_color, 58)] {
            if known && which == 58 {
                continue;
            }
            match color {
                Color::Default => {}
                Color::Index(n @ 0..=7) if which != 58 => put(&format!(";{}", which - 8 + u16::from(n))),
                Color::Index(n) => put(&format!(";{which};5;{n}")),
                Color::Rgb(r, g, b) => put(&format!(";{which};2;{r};{g};{b}")),
            }
        }
        out.push(b'm');
    }
}

/// Writes one SGR sequence of these codes, if there are any.
fn sequence(codes: impl Iterator<Item = String>, out: &mut Vec<u8>) {
    let codes: Vec<_> = codes.collect();
    if !codes.is_empty() {
        out.extend_from_slice(format!("\x1b[{}m", codes.join(";")).as_bytes());
    }
}

fn flag(set: u16) -> u16 {
    FLAGS.iter().find(|(_, number, _)| *number == set).map_or(0, |(bit, ..)| *bit)
}

/// Colour in `38:5:n`, `38:2:r:g:b` or `38:2::r:g:b`.
fn divided(field: Field<'_>) -> Option<Color> {
    let parts: Vec<Option<u16>> = field.parts().take(8).collect();
    let part = |at: usize| Some(parts.get(at).copied().flatten().unwrap_or(0));
    match parts.get(1).copied().flatten()? {
        5 => index(part(2)),
        2 if parts.len() >= 6 => rgb(part(3), part(4), part(5)),
        2 => rgb(part(2), part(3), part(4)),
        _ => None,
    }
}

/// Colour in `38;5;n` or `38;2;r;g;b`.
fn listed<'a>(fields: &mut impl Iterator<Item = Field<'a>>) -> Option<Color> {
    let mut next = || fields.next().map(|field| field.parts().next().flatten().unwrap_or(0));
    match next()? {
        5 => index(next()),
        2 => {
            let (r, g, b) = (next(), next(), next());
            rgb(r, g, b)
        }
        _ => None,
    }
}

fn index(n: Option<u16>) -> Option<Color> {
    Some(Color::Index(u8::try_from(n?).ok()?))
}

fn rgb(r: Option<u16>, g: Option<u16>, b: Option<u16>) -> Option<Color> {
    Some(Color::Rgb(u8::try_from(r?).ok()?, u8::try_from(g?).ok()?, u8::try_from(b?).ok()?))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::underline_color("58;2;7;1;4", "0", "0;58;2;7;1;4")]
    #[case::underline_color_index("58;5;4", "0", "0;58;5;4")]
    #[case::black_underline("32;4;58;2;0;0;0", "0;4;32", "0;4;32;58;2;0;0;0")]
    #[case::curly("4:3", "0;4", "0;4:3")]
    #[case::no_underline("4;4:0", "0", "0")]
    #[case::standard_rgb("38:2::255:0:7", "0;38;2;255;0;7", "0;38;2;255;0;7")]
    #[case::short_rgb("48:2:255:0:7;1", "0;1;48;2;255;0;7", "0;1;48;2;255;0;7")]
    #[case::bright("97;100", "0;38;5;15;48;5;8", "0;38;5;15;48;5;8")]
    #[case::struck("9;5;8;53;2", "0;2", "0;2;5;8;9;53")]
    #[case::ended("1;2;3;7;9;53;22;23;27;29;55", "0", "0")]
    #[case::nothing("31;", "0", "0")]
    #[case::too_large("38;5;300;1", "0;1", "0;1")]
    fn colours_and_attributes(#[case] given: &str, #[case] known: &str, #[case] all: &str) {
        let mut pen = Pen::default();
        pen.apply(&Csi::parse(format!("\x1b[{given}m").as_bytes()).unwrap());
        let (mut engine, mut viewer) = (Vec::new(), Vec::new());
        pen.write_known(&mut engine);
        pen.write(&mut viewer);
        assert_eq!(String::from_utf8(engine).unwrap(), format!("\x1b[{known}m"));
        assert_eq!(String::from_utf8(viewer).unwrap(), format!("\x1b[{all}m"));
    }
}
