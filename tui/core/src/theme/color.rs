//! Colours: reading them, and bringing them down to what a terminal has.

use ratatui::style::Color;

/// Number of colours that a terminal has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// The terminal has none, or the user wants none.
    None,
    /// The terminal has sixteen colours.
    Ansi,
    /// The terminal has 256 colours.
    Indexed,
    /// The terminal has all colours.
    True,
}

impl Depth {
    /// The depth that the environment tells of the terminal. `get` reads a variable; unset and empty are the same.
    #[must_use]
    pub fn from_environment(get: impl Fn(&str) -> Option<String>) -> Self {
        let get = |name| get(name).filter(|value| !value.is_empty()).unwrap_or_default();
        let (term, colors) = (get("TERM"), get("COLORTERM"));
        if !get("NO_COLOR").is_empty() || term == "dumb" {
            Self::None
        } else if colors == "truecolor" || colors == "24bit" || term.ends_with("-direct") {
            Self::True
        } else if term.contains("256color") || ["alacritty", "foot", "xterm-kitty", "wezterm"].contains(&&*term) {
            Self::Indexed
        } else {
            Self::Ansi
        }
    }

    /// The nearest colour that the terminal has.
    #[must_use]
    pub fn bring_down(self, color: Color) -> Color {
        match (self, color) {
            (Self::None, _) => Color::Reset,
            (Self::Indexed, Color::Rgb(r, g, b)) => Color::Indexed(to_indexed(r, g, b)),
            (Self::Ansi, Color::Rgb(r, g, b)) => to_ansi(r, g, b),
            (Self::Ansi, Color::Indexed(n)) if n >= 16 => {
                let (r, g, b) = of_indexed(n);
                to_ansi(r, g, b)
            }
            (_, color) => color,
        }
    }
}

const ANSI: [(&str, Color, (u8, u8, u8)); 16] = [
    ("black", Color::Black, (0, 0, 0)),
    ("red", Color::Red, (205, 49, 49)),
    ("green", Color::Green, (13, 188, 121)),
    ("yellow", Color::Yellow, (229, 229, 16)),
    ("blue", Color::Blue, (36, 114, 200)),
    ("magenta", Color::Magenta, (188, 63, 188)),
    ("cyan", Color::Cyan, (17, 168, 205)),
    ("gray", Color::Gray, (200, 200, 200)),
    ("dark-gray", Color::DarkGray, (102, 102, 102)),
    ("light-red", Color::LightRed, (241, 76, 76)),
    ("light-green", Color::LightGreen, (35, 209, 139)),
    ("light-yellow", Color::LightYellow, (245, 245, 67)),
    ("light-blue", Color::LightBlue, (59, 142, 234)),
    ("light-magenta", Color::LightMagenta, (214, 112, 214)),
    ("light-cyan", Color::LightCyan, (41, 184, 219)),
    ("white", Color::White, (255, 255, 255)),
];

/// Parses `#rrggbb`, a number of the 256, `default`, or the name of one of the sixteen.
pub(super) fn parse(text: &str) -> Option<Color> {
    if text == "default" {
        return Some(Color::Reset);
    }
    if let Some((_, color, _)) = ANSI.iter().find(|(name, ..)| *name == text) {
        return Some(*color);
    }
    if let Some(hex) = text.strip_prefix('#') {
        let number = u32::from_str_radix(hex, 16).ok().filter(|_| hex.len() == 6 && !hex.starts_with('+'))?;
        let [_, r, g, b] = number.to_be_bytes();
        return Some(Color::Rgb(r, g, b));
    }
    text.parse().ok().map(Color::Indexed)
}

/// Whether text of the one of sixteen colours can be read on the other.
pub(super) fn readable(fg: Color, bg: Color) -> bool {
    match (rgb(fg), rgb(bg)) {
        (Some(fg), Some(bg)) => light(fg).abs_diff(light(bg)) >= 60,
        _ => fg != bg,
    }
}

/// Black or white, whichever can be read better.
pub(super) fn contrast(bg: Color) -> Color {
    if rgb(bg).is_some_and(|bg| light(bg) > 127) { Color::Black } else { Color::White }
}

fn rgb(color: Color) -> Option<(u8, u8, u8)> {
    ANSI.iter().find(|(_, known, _)| *known == color).map(|(.., rgb)| *rgb)
}

/// Lightness of a colour, from 0 to 255.
fn light((r, g, b): (u8, u8, u8)) -> u32 {
    (299 * u32::from(r) + 587 * u32::from(g) + 114 * u32::from(b)) / 1000
}

fn distance(a: (u8, u8, u8), b: (u8, u8, u8)) -> u32 {
    let d = |x: u8, y: u8| u32::from(x.abs_diff(y)).pow(2);
    2 * d(a.0, b.0) + 4 * d(a.1, b.1) + 3 * d(a.2, b.2)
}

const STEPS: [u8; 6] = [0, 95, 135, 175, 215, 255];

fn of_indexed(n: u8) -> (u8, u8, u8) {
    match n {
        0..=15 => ANSI[usize::from(n)].2,
        16..=231 => {
            let n = usize::from(n - 16);
            (STEPS[n / 36], STEPS[n / 6 % 6], STEPS[n % 6])
        }
        _ => {
            let gray = 8 + 10 * (n - 232);
            (gray, gray, gray)
        }
    }
}

fn to_indexed(r: u8, g: u8, b: u8) -> u8 {
    (16..=255).min_by_key(|&n| distance(of_indexed(n), (r, g, b))).unwrap_or(16)
}

fn to_ansi(r: u8, g: u8, b: u8) -> Color {
    ANSI.iter().min_by_key(|(_, _, rgb)| distance(*rgb, (r, g, b))).map_or(Color::Reset, |(_, color, _)| *color)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_read_in_all_spellings() {
        assert_eq!(parse("#ff8000"), Some(Color::Rgb(255, 128, 0)));
        assert_eq!(parse("light-blue"), Some(Color::LightBlue));
        assert_eq!(parse("208"), Some(Color::Indexed(208)));
        assert_eq!(parse("default"), Some(Color::Reset));
        for bad in ["", "#ff80", "#gg0000", "#+12345", "256", "bleu"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn colours_come_down_to_what_there_is() {
        let orange = Color::Rgb(255, 135, 0);
        assert_eq!(Depth::True.bring_down(orange), orange);
        assert_eq!(Depth::Indexed.bring_down(orange), Color::Indexed(208));
        assert_eq!(Depth::Ansi.bring_down(Color::Rgb(250, 80, 70)), Color::LightRed);
        assert_eq!(Depth::None.bring_down(orange), Color::Reset);
    }

    #[test]
    fn the_environment_says_how_many() {
        let depth = |vars: &[(&str, &str)]| {
            Depth::from_environment(|name| vars.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
        };
        assert_eq!(depth(&[("TERM", "xterm-256color"), ("NO_COLOR", "1")]), Depth::None);
        assert_eq!(depth(&[("TERM", "xterm-256color"), ("NO_COLOR", "")]), Depth::Indexed);
        assert_eq!(depth(&[("TERM", "tmux-256color"), ("COLORTERM", "truecolor")]), Depth::True);
        assert_eq!(depth(&[("TERM", "linux")]), Depth::Ansi);
    }
}
