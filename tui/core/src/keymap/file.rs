//! Keymap files: tables named by a condition, of chords and the commands that they run.

use std::collections::BTreeMap;

use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

use super::{Keymap, Layer, Node};
use crate::{
    Command,
    files::{FileError, Source},
    fuzzy,
    key::Key,
    when::When,
};

/// Text of the keymap that ships with the console.
const DEFAULT: &str = include_str!("../../../../keymaps/default.toml");

impl Keymap {
    /// The keymap that ships with the console.
    ///
    /// # Errors
    /// Never, unless the file in this tree is broken; a test reads it.
    pub fn shipped() -> Result<Self, FileError> {
        Self::default().with("keymaps/default.toml", DEFAULT)
    }

    /// Adds the layers of a file over those already there. `file` is its name for messages.
    ///
    /// # Errors
    /// The first thing wrong with the file; nothing of it is taken then.
    pub fn with(mut self, file: &str, text: &str) -> Result<Self, FileError> {
        let source = Source { file, text };
        let mut tables: Vec<_> = source.parse()?.into_iter().collect();
        // A table's place in the file is its rank.
        tables.sort_by_key(|(name, _)| name.span().start);
        for (name, value) in &tables {
            self.layers.push(layer(source, name, value)?);
        }
        Ok(self)
    }
}

fn layer(source: Source, name: &Spanned<DeString>, value: &Spanned<DeValue>) -> Result<Layer, FileError> {
    let when = When::parse(name.as_ref()).map_err(|message| source.error(name.span(), message))?;
    let DeValue::Table(table) = value.as_ref() else {
        return Err(source.error(value.span(), "expected a table of keys, like [list] with lines like j = \"down\""));
    };
    Ok(Layer { when, root: bindings(source, table)? })
}

fn bindings(source: Source, table: &DeTable) -> Result<BTreeMap<Key, Node>, FileError> {
    let mut root = BTreeMap::new();
    let mut lines: Vec<_> = table.iter().collect();
    lines.sort_by_key(|(keys, _)| keys.span().start);
    for (keys, value) in lines {
        let chord = Key::parse_chord(keys.as_ref()).map_err(|error| source.error(keys.span(), error.to_string()))?;
        let node = command(source, value)?;
        insert(&mut root, &chord, node).map_err(|message| source.error(keys.span(), message))?;
    }
    Ok(root)
}

fn command(source: Source, value: &Spanned<DeValue>) -> Result<Node, FileError> {
    let DeValue::String(name) = value.as_ref() else {
        return Err(source.error(value.span(), "expected the name of a command, like \"down\""));
    };
    if name == "none" {
        return Ok(Node::Nothing);
    }
    Command::by_name(name).map(Node::Run).ok_or_else(|| {
        let near = fuzzy::nearest(name, Command::ALL.iter().map(|c| c.name()));
        let hint = near.map_or("the help (?) lists them all".into(), |near| format!("did you mean '{near}'?"));
        source.error(value.span(), format!("there is no command '{}'; {hint}", crate::text::one_line(name, 60)))
    })
}

fn insert(nodes: &mut BTreeMap<Key, Node>, chord: &[Key], node: Node) -> Result<(), String> {
    let written = crate::key::chord(chord);
    let Some((key, rest)) = chord.split_first() else { return Ok(()) };
    if rest.is_empty() {
        return match nodes.insert(*key, node) {
            None => Ok(()),
            Some(_) => Err(format!("'{written}' is bound twice here, or is the beginning of a longer chord")),
        };
    }
    match nodes.entry(*key).or_insert_with(|| Node::More(BTreeMap::new())) {
        Node::More(more) => insert(more, rest, node),
        _ => Err(format!("'{key}' is bound here itself and cannot begin '{written}'")),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::{
        keymap::Meaning,
        when::{Condition, Conditions},
    };

    fn here(condition: Condition) -> Conditions {
        Conditions::default().with(Condition::Always).with(condition)
    }

    #[test]
    fn the_shipped_keymap_is_good_and_reaches_every_command() {
        let keymap = Keymap::shipped().unwrap();
        let bound: Vec<_> = keymap.bindings().into_iter().map(|b| b.command).collect();
        for command in Command::ALL {
            assert!(bound.contains(command), "{} has no key", command.name());
        }
    }

    #[test]
    fn the_users_file_goes_first_and_can_unbind() {
        let keymap =
            Keymap::shipped().unwrap().with("mine", "[list]\nj = \"up\"\nk = \"none\"\n\"z z\" = \"quit\"").unwrap();
        let list = here(Condition::List);
        let meaning = |chord: &str| keymap.meaning(&Key::parse_chord(chord).unwrap(), list);
        assert_eq!(meaning("j"), Meaning::Run(Command::Up));
        assert_eq!(meaning("k"), Meaning::Nothing);
        assert_eq!(meaning("z"), Meaning::More);
        assert_eq!(meaning("z z"), Meaning::Run(Command::Quit));
        assert_eq!(meaning("down"), Meaning::Run(Command::Down));
    }

    #[rstest]
    #[case("j = \"down\"", 1, 1, "'j' is no condition")]
    #[case("list = \"down\"", 1, 8, "expected a table")]
    #[case("[nowhere]\nj = \"down\"", 1, 2, "'nowhere' is no condition")]
    #[case("[list]\nj = \"dwon\"", 2, 5, "did you mean 'down'?")]
    #[case("[list]\nj = 3", 2, 5, "expected the name of a command")]
    #[case("[list]\n\"hyper-j\" = \"down\"", 2, 1, "'hyper-j' is no key")]
    #[case("[list]\n\"\" = \"down\"", 2, 1, "is no key")]
    #[case("[list]\ng = \"top\"\n\"g g\" = \"top\"", 3, 1, "cannot begin")]
    #[case("[list]\n\"g g\" = \"top\"\ng = \"top\"", 3, 1, "bound twice")]
    #[case("[list]\n\"ctrl-5\" = \"top\"\n\"ctrl-]\" = \"top\"", 3, 1, "bound twice")]
    #[case("[list]\nj = \"down\"\nj = \"up\"", 3, 1, "duplicate key")]
    #[case("[list\nj = \"down\"", 1, 6, "")]
    fn bad_files_say_where(#[case] text: &str, #[case] line: usize, #[case] column: usize, #[case] says: &str) {
        let error = Keymap::default().with("mine.toml", text).unwrap_err();
        assert_eq!((error.line, error.column), (line, column), "{error}");
        assert!(error.message.contains(says), "{error}");
        assert!(error.to_string().starts_with(&format!("mine.toml:{line}:{column}: ")));
    }
}
