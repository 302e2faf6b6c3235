//! Themes: a style for each scope, from TOML, brought down to the colours that the terminal has.

mod color;
mod file;

use ratatui::style::{Color, Modifier, Style};

pub use color::Depth;

macro_rules! scopes {
    ($($variant:ident $name:literal $doc:literal,)+) => {
        /// Something that is drawn in a style of its own.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Scope { $(#[doc = $doc] $variant,)+ }

        impl Scope {
            /// Every scope that a theme can give a style.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Name of the scope in theme files. What a theme leaves out takes the style of the part before the last dot.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

scopes! {
    Background "background" "The whole window; sets the colours that others build on.",
    Text "text" "Ordinary text.",
    Strong "text.strong" "Text that matters most: titles of sessions.",
    Dim "text.dim" "Text that matters less.",
    Brand "brand" "The name of the console.",
    Tab "tab" "Names of lists.",
    TabActive "tab.active" "The list shown.",
    Rule "rule" "Lines between parts.",
    RuleTitle "rule.title" "Headings in lines.",
    Selection "selection" "The selected row; laid over its texts.",
    SelectionMark "selection.mark" "The bar before the selected row.",
    Found "found" "What a filter has found in a row; laid over its texts.",
    Turn "turn" "Headings of groups.",
    TurnYou "turn.you" "It is your turn.",
    TurnChecks "turn.checks" "Checks run.",
    TurnOther "turn.other" "Another person's turn.",
    TurnAgent "turn.agent" "The agent's turn.",
    TurnNobody "turn.nobody" "Nobody's turn.",
    State "state" "States.",
    StateGood "state.good" "Running, done, ready, up.",
    StateBusy "state.busy" "On its way: starting, building, connecting.",
    StateAsks "state.asks" "Waits for you.",
    StateBad "state.bad" "Crashed, failed, lost.",
    StateQuiet "state.quiet" "Stopped, suspended, idle.",
    Key "key" "Keys in hints and in the help.",
    Hint "hint" "What the keys do.",
    Bar "bar" "The filled part of a gauge.",
    BarHigh "bar.high" "The filled part of a gauge that is nearly full.",
    BarEmpty "bar.empty" "The rest of a gauge.",
    Dialog "dialog" "Dialogs.",
    DialogBorder "dialog.border" "Their borders.",
    DialogTitle "dialog.title" "Their titles.",
    DialogDanger "dialog.danger" "Border and title where something is removed.",
    Field "field" "Text fields.",
    FieldFocus "field.focus" "The field that has the keyboard.",
    Placeholder "field.placeholder" "What an empty field may take.",
    Notice "notice" "Notices.",
    NoticeGood "notice.good" "Something was done.",
    NoticeWarning "notice.warning" "Something needs a look.",
    NoticeError "notice.error" "Something went wrong.",
    Status "status" "The line below an attached terminal.",
    StatusWriter "status.writer" "You write.",
    StatusObserver "status.observer" "You only watch.",
    StatusScroll "status.scroll" "You look at the history.",
    StatusLost "status.lost" "The connection is gone.",
    DiffHunk "diff.hunk" "Where a change is.",
    DiffAdded "diff.added" "Lines that are new.",
    DiffAddedPart "diff.added.part" "What is new in them.",
    DiffRemoved "diff.removed" "Lines that are gone.",
    DiffRemovedPart "diff.removed.part" "What is gone of them.",
    Terminal "terminal" "A session's terminal where the program sets no colours.",
}

/// A theme: a style for every scope.
#[derive(Clone, Debug)]
pub struct Theme {
    /// Name of the theme.
    pub name: String,
    styles: Vec<Style>,
    depth: Depth,
}

impl Theme {
    /// A theme without any style; for when even the shipped themes cannot be read.
    #[must_use]
    pub fn plain() -> Self {
        Self { name: "plain".into(), styles: Vec::new(), depth: Depth::None }
    }

    /// Style of a scope.
    #[must_use]
    pub fn style(&self, scope: Scope) -> Style {
        self.styles.get(scope as usize).copied().unwrap_or_default()
    }

    /// A program's colour, as far as the terminal has it.
    #[must_use]
    pub fn color(&self, color: Color) -> Color {
        self.depth.bring_down(color)
    }

    /// Returns the theme with the colours that a terminal has. Where there are none, what stood out by its background stands
    /// out reversed.
    #[must_use]
    pub fn at(mut self, depth: Depth) -> Self {
        self.depth = depth;
        for (scope, style) in Scope::ALL.iter().zip(&mut self.styles) {
            let stands_out = depth == Depth::None
                && style.bg.is_some()
                && matches!(
                    scope,
                    Scope::Selection
                        | Scope::TabActive
                        | Scope::Status
                        | Scope::StatusWriter
                        | Scope::StatusObserver
                        | Scope::StatusScroll
                        | Scope::StatusLost
                        | Scope::DiffAddedPart
                        | Scope::DiffRemovedPart
                );
            style.fg = style.fg.map(|c| depth.bring_down(c)).filter(|_| depth != Depth::None);
            style.bg = style.bg.map(|c| depth.bring_down(c)).filter(|_| depth != Depth::None);
            if stands_out {
                *style = style.add_modifier(Modifier::REVERSED);
            }
        }
        if depth == Depth::Ansi {
            self.keep_apart();
        }
        self
    }

    /// Keeps styles apart that come out as the same one of sixteen colours. The selection swaps the colours below it instead of
    /// covering them with one that some texts have; a surface on which dim text could not be read is as the window, and every
    /// text stands out from what is below it.
    fn keep_apart(&mut self) {
        let (ground, dim) = (self.style(Scope::Background).bg, self.style(Scope::Dim).fg);
        for (scope, style) in Scope::ALL.iter().zip(&mut self.styles) {
            let unread =
                |fg: Option<Color>, bg: Option<Color>| fg.zip(bg).is_some_and(|(fg, bg)| !color::readable(fg, bg));
            if *scope == Scope::Selection {
                *style = Style { fg: None, bg: None, ..*style }.add_modifier(Modifier::REVERSED);
            }
            if matches!(scope, Scope::Dialog | Scope::Field | Scope::FieldFocus | Scope::Status)
                && unread(dim, style.bg)
            {
                style.bg = ground;
                if *scope != Scope::Dialog {
                    *style = style.add_modifier(Modifier::UNDERLINED);
                }
            }
            let below = style.bg.or(ground);
            if unread(style.fg, below) {
                style.fg = below.map(color::contrast);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_sixteen_colours_everything_can_be_read_also_where_it_is_selected() {
        for name in ["dark", "light"] {
            let theme = Theme::shipped(name).unwrap().unwrap().at(Depth::Ansi);
            let ground = theme.style(Scope::Background).bg.unwrap();
            let dim = theme.style(Scope::Dim).fg.unwrap();
            for scope in Scope::ALL {
                let style = theme.style(*scope);
                let (fg, bg) = (style.fg.unwrap_or(dim), style.bg.unwrap_or(ground));
                assert!(color::readable(fg, bg), "{name}: {} has {fg:?} on {bg:?}", scope.name());
            }
            for surface in [Scope::Dialog, Scope::Field, Scope::FieldFocus, Scope::Status] {
                let bg = theme.style(surface).bg.unwrap_or(ground);
                assert!(color::readable(dim, bg), "{name}: dim text on {}", surface.name());
            }
            // Laid over a text it swaps that text's own colours, which differ.
            let selection = theme.style(Scope::Selection);
            assert_eq!((selection.fg, selection.bg), (None, None));
            assert!(selection.add_modifier.contains(Modifier::REVERSED));
        }
    }
}
