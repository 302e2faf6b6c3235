//! A destination more in a recipe that somebody wrote: the rest of its text stays as it is.

use serde::{Deserialize, de::IgnoredAny};
use toml::Spanned;

use super::{Egress, Recipe, RecipeError};
use crate::{checked_toml, profile::Profiles};

/// Where the keys are beside which a destination is written.
#[derive(Deserialize)]
struct Places {
    name: Spanned<IgnoredAny>,
    egress: Option<Spanned<Vec<IgnoredAny>>>,
}

/// The text of a recipe whose egress has this destination, and the recipe that it is. `source_name` stands in errors only.
///
/// # Errors
/// As of [`Recipe::parse_with`], of the text with the destination.
pub fn with_egress(
    source_name: &str,
    text: &str,
    profiles: &Profiles,
    egress: &Egress,
) -> Result<(String, Recipe), RecipeError> {
    let recipe = Recipe::parse_with(source_name, text, profiles)?;
    if recipe.egress.contains(egress) {
        return Ok((text.into(), recipe));
    }
    let Places { name, egress: list } = checked_toml::read(source_name, text, Ok)?;
    let (at, written) = match list {
        // A list that is written as tables goes on at the end, whatever table is there.
        Some(list) if !is_inline(text, list.span().start) => {
            let end = if text.ends_with('\n') { "" } else { "\n" };
            (text.len(), format!("{end}\n[[egress]]\nto = {:?}\nprivate = {}\n", egress.to, egress.private))
        }
        Some(list) => {
            let at = list.span().start + 1;
            let line = text[at..].lines().next().unwrap_or_default();
            let indent = text[at..].get(line.len()..).unwrap_or_default().trim_start_matches(['\r', '\n']);
            let indent: String = indent.chars().take_while(|letter| matches!(letter, ' ' | '\t')).collect();
            match (line.trim().is_empty(), list.get_ref().is_empty()) {
                // Of a list with a line for each, it is the first.
                (true, false) => (at, format!("\n{indent}{egress},")),
                (false, true) if line.trim_start().starts_with(']') => (at, egress.to_string()),
                _ => (at, format!("{egress}, ")),
            }
        }
        // Behind a key of the root: a table may follow.
        None => {
            let end = name.span().end;
            let line = text[end..].find('\n').map_or(text.len(), |length| end + length);
            (line, format!("\negress = [{egress}]"))
        }
    };
    let text = format!("{}{written}{}", &text[..at], &text[at..]);
    Recipe::parse_with(source_name, &text, profiles).map(|recipe| (text, recipe))
}

/// Whether the list that begins here is written as `[...]`, and not as `[[egress]]`.
fn is_inline(text: &str, at: usize) -> bool {
    let rest = &text[at..];
    rest.starts_with('[') && !rest.starts_with("[[")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const REST: &str = "base = { debian = \"bookworm\" }\nagent = { command = [\"a\"] }\n";

    #[rstest]
    #[case("name = \"x\" # its name\n", "name = \"x\" # its name\negress = [\"b.example:443\"]\n")]
    #[case("name = \"x\"\negress = []\n", "name = \"x\"\negress = [\"b.example:443\"]\n")]
    #[case("name = \"x\"\negress = [ # none\n]\n", "name = \"x\"\negress = [\"b.example:443\",  # none\n]\n")]
    #[case(
        "egress = [\"a.example\"] # of x\nname = \"x\"\n",
        "egress = [\"b.example:443\", \"a.example\"] # of x\nname = \"x\"\n"
    )]
    #[case(
        "name = \"x\"\negress = [\n  \"a.example\", # one\n  { to = \"c.lan:1\", private = true },\n]\n",
        "name = \"x\"\negress = [\n  \"b.example:443\",\n  \"a.example\", # one\n  { to = \"c.lan:1\", private = true },\n]\n"
    )]
    #[case("name = \"x\"\negress = [\"B.example\"]\n", "name = \"x\"\negress = [\"B.example\"]\n")]
    fn a_destination_is_written_beside_the_others(#[case] before: &str, #[case] after: &str) {
        let egress = Egress { to: "b.example:443".into(), private: false };
        let (text, recipe) = with_egress("x.toml", &format!("{before}{REST}"), Profiles::shipped(), &egress).unwrap();
        assert_eq!(text, format!("{after}{REST}"));
        assert!(recipe.egress.contains(&egress));
    }

    #[rstest]
    #[case("[[egress]]\nto = \"a.lan:1\"\nprivate = true\n")]
    #[case("[[egress]]\nto = \"a.lan:1\"\nprivate = true\n[size]\nvcpus = 2")]
    fn a_list_of_tables_has_one_more(#[case] tables: &str) {
        let before = format!("name = \"x\"\n{REST}{tables}");
        for egress in [("b.example:443", false), ("b.lan:1", true)] {
            let egress = Egress { to: egress.0.into(), private: egress.1 };
            let (text, recipe) = with_egress("x.toml", &before, Profiles::shipped(), &egress).unwrap();
            assert!(text.starts_with(&before) && text.contains("\n\n[[egress]]\nto = \"b."), "{text}");
            assert_eq!(recipe.egress.len(), 2);
            assert!(recipe.egress.contains(&egress));
        }
    }

    #[test]
    fn what_is_no_recipe_is_left_alone() {
        let egress = Egress { to: "b.lan:1".into(), private: true };
        let error = with_egress("x.toml", "name = 1\n", Profiles::shipped(), &egress).unwrap_err().to_string();
        assert!(error.starts_with("x.toml:1:"), "{error}");
        let (text, _) = with_egress("x.toml", &format!("name = \"x\"\n{REST}"), Profiles::shipped(), &egress).unwrap();
        assert!(text.contains("egress = [{ to = \"b.lan:1\", private = true }]\n"), "{text}");
    }
}
