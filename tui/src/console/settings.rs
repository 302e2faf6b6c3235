//! What the user has set: theme and keymap, from files of their own. What is wrong with one is told, and the default used.

use std::path::{Path, PathBuf};

use tui_core::{Keymap, Theme, notice::Kind, theme::Depth};

use super::alerts::{Alerts, Osc};

/// The settings, and what was wrong with them.
pub(super) struct Settings {
    pub(super) theme: Theme,
    pub(super) keymap: Keymap,
    pub(super) alerts: Alerts,
    /// Whether to ring when it becomes a person's turn.
    pub(super) bell: bool,
    pub(super) problems: Vec<(Kind, String)>,
}

/// Largest file that is read, in bytes; a mistake in the path should not fill the memory.
const FILE_MAX: u64 = 1 << 20;

/// Reads the user's settings.
pub(super) fn load() -> Settings {
    let folder = directories::ProjectDirs::from("", "", "pilothouse").map(|folders| folders.config_dir().to_owned());
    let variable = |name: &str| std::env::var(name).ok();
    load_from(folder.as_deref(), &variable)
}

fn load_from(folder: Option<&Path>, variable: &dyn Fn(&str) -> Option<String>) -> Settings {
    let mut problems = Vec::new();
    let config = config(folder, &mut problems);
    let named = |key: &str| config.get(key).and_then(|value| value.as_str()).map(str::to_owned);
    let theme_name = variable("PILOTHOUSE_THEME").filter(|name| !name.is_empty()).or_else(|| named("theme"));
    let theme = theme(folder, theme_name.as_deref().unwrap_or("dark"), &mut problems);
    let keymap = keymap(folder, named("keymap").as_deref().unwrap_or("default"), &mut problems);
    let (bell, alerts) = alerts(&config, variable, &mut problems);
    Settings { theme: theme.at(Depth::from_environment(variable)), keymap, alerts, bell, problems }
}

type Problems = Vec<(Kind, String)>;

fn config(folder: Option<&Path>, problems: &mut Problems) -> toml::Table {
    let Some(Ok(text)) = folder.map(|folder| read(&folder.join("config.toml"))) else { return toml::Table::new() };
    text.parse().unwrap_or_else(|error: toml::de::Error| {
        problems.push((Kind::Warning, format!("config.toml: {}", error.message())));
        toml::Table::new()
    })
}

/// Reads the table `[alerts]`: `bell = true`, `osc = "auto"`.
fn alerts(config: &toml::Table, variable: &dyn Fn(&str) -> Option<String>, problems: &mut Problems) -> (bool, Alerts) {
    let empty = toml::Table::new();
    let table = config.get("alerts").and_then(|value| value.as_table()).unwrap_or(&empty);
    let mut wrong = |text: String| problems.push((Kind::Warning, format!("config.toml: [alerts] {text}")));
    for key in table.keys().filter(|key| !["bell", "osc"].contains(&key.as_str())) {
        wrong(format!("has no `{key}`; there are bell and osc"));
    }
    let bell = match table.get("bell").map(|value| value.as_bool()) {
        Some(None) => {
            wrong("bell is true or false".into());
            true
        }
        bell => bell.flatten().unwrap_or(true),
    };
    let name = table.get("osc").map_or("auto", |value| value.as_str().unwrap_or_default());
    let osc = Osc::named(name, variable).unwrap_or_else(|| {
        wrong(format!("osc is one of {}, in quotes", Osc::NAMES.join(", ")));
        Osc::None
    });
    (bell, Alerts { osc, tmux: variable("TMUX").is_some_and(|tmux| !tmux.is_empty()) })
}

fn theme(folder: Option<&Path>, name: &str, problems: &mut Problems) -> Theme {
    let find = |name: &str| {
        let path = user_file(folder, "themes", name)?;
        Some((path.display().to_string(), read(&path).ok()?))
    };
    // The user's own file goes before the shipped one of the same name.
    let found = match find(name) {
        Some((file, text)) => Some(Theme::read(name, &file, &text, &find)),
        None => Theme::shipped(name),
    };
    let fallback = || Theme::shipped("dark").and_then(Result::ok).unwrap_or_else(Theme::plain);
    match found {
        Some(Ok(theme)) => theme,
        Some(Err(error)) => {
            problems.push((Kind::Warning, format!("{error} (the dark theme is used)")));
            fallback()
        }
        None => {
            let place = user_file(folder, "themes", name)
                .map_or_else(String::new, |path| format!("; yours would be {}", path.display()));
            problems.push((
                Kind::Warning,
                format!("There is no theme '{name}': dark and light ship with the console{place}"),
            ));
            fallback()
        }
    }
}

fn keymap(folder: Option<&Path>, name: &str, problems: &mut Problems) -> Keymap {
    let shipped = Keymap::shipped().unwrap_or_else(|error| {
        problems.push((Kind::Error, error.to_string()));
        Keymap::default()
    });
    let Some(path) = user_file(folder, "keymaps", name) else { return shipped };
    match read(&path) {
        Ok(text) => shipped.clone().with(&path.display().to_string(), &text).unwrap_or_else(|error| {
            problems.push((Kind::Warning, format!("{error} (the default keys are used)")));
            shipped
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && name == "default" => shipped,
        Err(error) => {
            problems.push((Kind::Warning, format!("{}: {error} (the default keys are used)", path.display())));
            shipped
        }
    }
}

/// Path of a user's theme or keymap of this name; None: there is no folder, or the name is a path.
fn user_file(folder: Option<&Path>, kind: &str, name: &str) -> Option<PathBuf> {
    let plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0']);
    folder.filter(|_| plain).map(|folder| folder.join(kind).join(format!("{name}.toml")))
}

fn read(path: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_MAX).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_word_of_osc_is_in_the_documentation() {
        let text = include_str!("../../../docs/configuration.md");
        for name in super::Osc::NAMES {
            assert!(text.contains(&format!("| `\"{name}\"` | ")), "{name}");
        }
    }

    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    fn load_with(files: &[(&str, &str)], theme: Option<&str>) -> Settings {
        let folder = folder(files);
        load_from(Some(folder.path()), &|name| (name == "PILOTHOUSE_THEME").then(|| theme.map(str::to_owned)).flatten())
    }

    #[test]
    fn without_files_the_shipped_ones_are_used() {
        let settings = load_with(&[], None);
        assert_eq!((&*settings.theme.name, settings.problems.len()), ("dark", 0));
        assert_eq!(load_from(None, &|_| None).problems, []);
    }

    #[test]
    fn the_environment_goes_before_the_file() {
        let files =
            [("config.toml", "theme = \"mine\""), ("themes/mine.toml", "inherits = \"light\"\n\"text\" = \"red\"")];
        assert_eq!(load_with(&files, None).theme.name, "mine");
        assert_eq!(load_with(&files, Some("light")).theme.name, "light");
    }

    #[test]
    fn a_user_may_build_on_the_shipped_theme_of_the_same_name() {
        let settings = load_with(&[("themes/dark.toml", "inherits = \"dark\"\n\"text\" = \"red\"")], None);
        assert_eq!(settings.problems, []);
    }

    #[test]
    fn alerts_are_set_and_mistakes_in_them_told() {
        let load = |text: &str| load_with(&[("config.toml", text)], None);
        let unset = load("");
        assert_eq!((unset.bell, unset.alerts), (true, Alerts { osc: Osc::Nine, tmux: false }));
        let set = load("[alerts]\nbell = false\nosc = \"777\"");
        assert_eq!((set.bell, set.alerts), (false, Alerts { osc: Osc::Notify, tmux: false }));
        assert_eq!(set.problems, []);
        let told = load("[alerts]\nbell = 1\nosc = 9\nring = true").problems;
        assert_eq!(told.len(), 3, "{told:?}");
        assert_eq!(told[2].1, "config.toml: [alerts] osc is one of auto, 9, 777, 99, none, in quotes");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place_and_the_default_used() {
        let files = [("themes/dark.toml", "\"text\" = \"bleu\""), ("keymaps/default.toml", "[list]\nj = \"dwon\"")];
        let settings = load_with(&files, None);
        let told: Vec<_> = settings.problems.iter().map(|(_, text)| text.as_str()).collect();
        assert!(told[0].contains("themes/dark.toml:1:10: 'bleu'"), "{told:?}");
        assert!(told[1].contains("keymaps/default.toml:2:5: there is no command 'dwon'"), "{told:?}");
        assert_eq!(settings.theme.name, "dark");
        assert!(load_with(&[], Some("../x")).problems[0].1.contains("no theme '../x'"));
    }
}
