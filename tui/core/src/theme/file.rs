//! Theme files: scopes with their styles, a palette of names, and another theme to build on.

use std::collections::BTreeMap;

use ratatui::style::{Color, Modifier, Style};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{Depth, Scope, Theme, color};
use crate::{
    files::{FileError, Source},
    fuzzy,
};

/// The themes that ship with the console: name and text. The first is the default.
const SHIPPED: [(&str, &str); 2] =
    [("dark", include_str!("../../../../themes/dark.toml")), ("light", include_str!("../../../../themes/light.toml"))];

/// Most themes that may build on each other; more is a circle.
const INHERITS_MAX: usize = 8;

type Palette = BTreeMap<String, Color>;
type Styles = BTreeMap<&'static str, Style>;

impl Theme {
    /// The theme of this name that ships with the console; None: there is none.
    #[must_use]
    pub fn shipped(name: &str) -> Option<Result<Self, FileError>> {
        let (name, text) = SHIPPED.iter().find(|(shipped, _)| *shipped == name)?;
        Some(Self::read(name, &format!("themes/{name}.toml"), text, &|_| None))
    }

    /// Reads a theme; `find` gives the file name and text of the theme that it builds on, if that is not a shipped one.
    ///
    /// # Errors
    /// The first thing wrong with the file or those below it.
    pub fn read(
        name: &str,
        file: &str,
        text: &str,
        find: &dyn Fn(&str) -> Option<(String, String)>,
    ) -> Result<Self, FileError> {
        let (styles, _) = load(Source { file, text }, find, 0)?;
        Ok(Self {
            name: name.into(),
            styles: Scope::ALL.iter().map(|s| inherited(&styles, s.name())).collect(),
            depth: Depth::True,
        })
    }
}

/// The style of a scope, or of the part before its last dot.
fn inherited(styles: &Styles, name: &str) -> Style {
    match (styles.get(name), name.rsplit_once('.')) {
        (Some(style), _) => *style,
        (None, Some((before, _))) => inherited(styles, before),
        (None, None) => Style::default(),
    }
}

fn load(
    source: Source,
    find: &dyn Fn(&str) -> Option<(String, String)>,
    depth: usize,
) -> Result<(Styles, Palette), FileError> {
    let table = source.parse()?;
    let (mut styles, mut palette) = match table.get("inherits") {
        Some(name) => base(source, name, find, depth)?,
        None => Default::default(),
    };
    if let Some(value) = table.get("palette") {
        read_palette(source, value, &mut palette)?;
    }
    let mut lines: Vec<_> =
        table.iter().filter(|(name, _)| !["inherits", "palette"].contains(&name.as_ref().as_ref())).collect();
    lines.sort_by_key(|(name, _)| name.span().start);
    for (name, value) in lines {
        let Some(scope) = Scope::ALL.iter().find(|s| s.name() == name.as_ref()) else {
            let near = fuzzy::nearest(name.as_ref(), Scope::ALL.iter().map(|s| s.name()));
            let hint =
                near.map_or("see themes/dark.toml for all of them".into(), |near| format!("did you mean '{near}'?"));
            return Err(source.error(name.span(), format!("there is no scope '{}'; {hint}", name.as_ref())));
        };
        styles.insert(scope.name(), style(source, value, &palette)?);
    }
    Ok((styles, palette))
}

fn base(
    source: Source,
    name: &Spanned<DeValue>,
    find: &dyn Fn(&str) -> Option<(String, String)>,
    depth: usize,
) -> Result<(Styles, Palette), FileError> {
    let DeValue::String(wanted) = name.as_ref() else {
        return Err(source.error(name.span(), "expected the name of a theme, like \"dark\""));
    };
    if depth >= INHERITS_MAX {
        return Err(source
            .error(name.span(), format!("themes build on each other more than {INHERITS_MAX} deep, or in a circle")));
    }
    // A user's `dark` may build on the shipped `dark`: the shipped one goes first.
    if let Some((shipped, text)) = SHIPPED.iter().find(|(shipped, _)| *shipped == wanted.as_ref()) {
        return load(Source { file: &format!("themes/{shipped}.toml"), text }, &|_| None, depth + 1);
    }
    match find(wanted) {
        Some((file, text)) => load(Source { file: &file, text: &text }, find, depth + 1),
        None => Err(source.error(name.span(), format!("there is no theme '{wanted}'; dark and light always are"))),
    }
}

fn read_palette(source: Source, value: &Spanned<DeValue>, palette: &mut Palette) -> Result<(), FileError> {
    let DeValue::Table(table) = value.as_ref() else {
        return Err(
            source.error(value.span(), "expected a table of colours, like [palette] with lines like sky = \"#88c0d0\"")
        );
    };
    let mut lines: Vec<_> = table.iter().collect();
    lines.sort_by_key(|(name, _)| name.span().start);
    for (name, value) in lines {
        let color = read_color(source, value, &Palette::new())?;
        palette.insert(name.as_ref().to_string(), color);
    }
    Ok(())
}

fn read_color(source: Source, value: &Spanned<DeValue>, palette: &Palette) -> Result<Color, FileError> {
    let DeValue::String(text) = value.as_ref() else {
        return Err(source
            .error(value.span(), "expected a colour, like \"#88c0d0\", \"208\", \"red\" or a name of the palette"));
    };
    palette.get(text.as_ref()).copied().or_else(|| color::parse(text)).ok_or_else(|| {
        let text = crate::text::one_line(text, 60);
        source.error(value.span(), format!("'{text}' is no colour and no name of the palette; write \"#rrggbb\", \"0\" to \"255\", \"red\", \"light-red\" or \"default\""))
    })
}

fn style(source: Source, value: &Spanned<DeValue>, palette: &Palette) -> Result<Style, FileError> {
    match value.as_ref() {
        DeValue::String(_) => Ok(Style::default().fg(read_color(source, value, palette)?)),
        DeValue::Table(table) => style_table(source, table, palette),
        _ => {
            Err(source
                .error(value.span(), "expected a colour, or a table like { fg = \"red\", modifiers = [\"bold\"] }"))
        }
    }
}

fn style_table(source: Source, table: &DeTable, palette: &Palette) -> Result<Style, FileError> {
    let mut style = Style::default();
    for (name, value) in table {
        match name.as_ref().as_ref() {
            "fg" => style.fg = Some(read_color(source, value, palette)?),
            "bg" => style.bg = Some(read_color(source, value, palette)?),
            "modifiers" => style = style.add_modifier(modifiers(source, value)?),
            other => {
                let other = crate::text::one_line(other, 60);
                return Err(
                    source.error(name.span(), format!("'{other}' is not known here; a style has fg, bg and modifiers"))
                );
            }
        }
    }
    Ok(style)
}

fn modifiers(source: Source, value: &Spanned<DeValue>) -> Result<Modifier, FileError> {
    const KNOWN: [(&str, Modifier); 6] = [
        ("bold", Modifier::BOLD),
        ("dim", Modifier::DIM),
        ("italic", Modifier::ITALIC),
        ("underlined", Modifier::UNDERLINED),
        ("reversed", Modifier::REVERSED),
        ("crossed-out", Modifier::CROSSED_OUT),
    ];
    const EXPECTED: &str = "expected a list of bold, dim, italic, underlined, reversed, crossed-out";
    let DeValue::Array(words) = value.as_ref() else { return Err(source.error(value.span(), EXPECTED)) };
    let mut all = Modifier::empty();
    for word in words.iter() {
        let name = word.as_ref().as_str().unwrap_or_default();
        match KNOWN.iter().find(|(known, _)| *known == name) {
            Some((_, modifier)) => all |= *modifier,
            None => return Err(source.error(word.span(), EXPECTED)),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn shipped_themes_are_good_and_style_every_scope() {
        for (name, text) in SHIPPED {
            let theme = Theme::shipped(name).unwrap().unwrap();
            assert_eq!(theme.name, name);
            for scope in Scope::ALL {
                assert!(text.contains(&format!("\"{}\" =", scope.name())), "{name} says nothing of {}", scope.name());
            }
        }
    }

    #[test]
    fn a_theme_builds_on_another() {
        let mine = "inherits = \"house\"\n\"state.bad\" = \"blood\"\n[palette]\nblood = \"#aa0000\"";
        let house = ("house.toml".to_owned(), "inherits = \"dark\"\n\"state.good\" = \"#00aa00\"".to_owned());
        let theme = Theme::read("mine", "mine.toml", mine, &|name| (name == "house").then(|| house.clone())).unwrap();
        assert_eq!(theme.style(Scope::StateBad).fg, Some(Color::Rgb(0xaa, 0, 0)));
        assert_eq!(theme.style(Scope::StateGood).fg, Some(Color::Rgb(0, 0xaa, 0)));
        let dark = Theme::shipped("dark").unwrap().unwrap();
        assert_eq!(theme.style(Scope::Key), dark.style(Scope::Key));
    }

    #[test]
    fn what_is_left_out_takes_the_style_of_its_parent() {
        let theme = Theme::read("t", "t.toml", "\"state\" = \"red\"", &|_| None).unwrap();
        assert_eq!(theme.style(Scope::StateGood).fg, Some(Color::Red));
        assert_eq!(theme.style(Scope::Text), Style::default());
    }

    #[test]
    fn without_colours_the_selection_still_stands_out() {
        let theme = Theme::shipped("dark").unwrap().unwrap().at(Depth::None);
        assert!(theme.style(Scope::Selection).add_modifier.contains(Modifier::REVERSED));
        for scope in Scope::ALL {
            assert_eq!((theme.style(*scope).fg, theme.style(*scope).bg), (None, None));
        }
    }

    #[rstest]
    #[case("\"txet\" = \"red\"", 1, 1, "did you mean 'text'?")]
    #[case("\n\"text\" = \"bleu\"", 2, 10, "'bleu' is no colour")]
    #[case("\"text\" = 3", 1, 10, "expected a colour, or a table")]
    #[case("\"text\" = { fgg = \"red\" }", 1, 12, "fg, bg and modifiers")]
    #[case("\"text\" = { modifiers = [\"bold\", \"loud\"] }", 1, 33, "expected a list of bold")]
    #[case("\"text\" = { modifiers = \"bold\" }", 1, 24, "expected a list of bold")]
    #[case("inherits = \"nowhere\"", 1, 12, "there is no theme 'nowhere'")]
    #[case("inherits = 3", 1, 12, "expected the name of a theme")]
    #[case("inherits = \"self\"", 1, 12, "in a circle")]
    #[case("palette = 3", 1, 11, "expected a table of colours")]
    #[case("[palette]\nsky = \"#12345\"", 2, 7, "is no colour")]
    #[case("\"text\" = \"red", 1, 14, "")]
    fn bad_files_say_where(#[case] text: &str, #[case] line: usize, #[case] column: usize, #[case] says: &str) {
        let find = |name: &str| (name == "self").then(|| ("t.toml".to_owned(), "inherits = \"self\"".to_owned()));
        let error = Theme::read("t", "t.toml", text, &find).unwrap_err();
        assert_eq!((error.line, error.column), (line, column), "{error}");
        assert!(error.message.contains(says), "{error}");
    }
}
