//! The shape of a profile's TOML. Values keep where they stand, so that a check can point at them.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor, value::SeqAccessDeserializer},
};
use toml::Spanned;

type Text = Spanned<String>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct Profile {
    pub(super) name: Text,
    pub(super) about: Text,
    #[serde(default)]
    pub(super) packages: Vec<Text>,
    #[serde(default)]
    pub(super) npm: Vec<Spanned<Pin>>,
    #[serde(default)]
    pub(super) python: Vec<Spanned<Pin>>,
    #[serde(default)]
    pub(super) programs: Vec<Spanned<Program>>,
    pub(super) check: Option<Check>,
    pub(super) command: Spanned<Vec<Text>>,
    pub(super) task: Option<Spanned<Task>>,
    pub(super) typed_events: Option<bool>,
    pub(super) user: Text,
    #[serde(default)]
    pub(super) sudo: bool,
    #[serde(default)]
    pub(super) environment: BTreeMap<Text, Text>,
    #[serde(default)]
    pub(super) egress: Vec<Text>,
    #[serde(default)]
    pub(super) credentials: Vec<Text>,
    pub(super) memory: Option<Text>,
    #[serde(default)]
    pub(super) files: Vec<Spanned<File>>,
    #[serde(default)]
    pub(super) hooks: Vec<Text>,
    #[serde(default)]
    pub(super) titles: Vec<Spanned<Mark>>,
    #[serde(default)]
    pub(super) patterns: Vec<Spanned<Mark>>,
    #[serde(default)]
    pub(super) answers: Answers,
    pub(super) resume: Option<Spanned<Vec<Text>>>,
    pub(super) conversation_file: Option<Text>,
    pub(super) conversation_moved_by: Option<Text>,
    #[serde(default)]
    pub(super) rehearse: bool,
    pub(super) after_rate_limit: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with the keys package and version")]
pub(super) struct Pin {
    pub(super) package: Text,
    pub(super) version: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with the keys name and file or module")]
pub(super) struct Program {
    pub(super) name: Text,
    pub(super) file: Option<Text>,
    pub(super) interpreter: Option<Text>,
    pub(super) module: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with the keys command and prints")]
pub(super) struct Check {
    pub(super) command: Spanned<Vec<Text>>,
    pub(super) prints: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with the keys path and text")]
pub(super) struct File {
    pub(super) path: Text,
    pub(super) mode: Option<Text>,
    pub(super) text: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with the keys contains and means")]
pub(super) struct Mark {
    pub(super) contains: Text,
    pub(super) means: Text,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table of allow and deny")]
pub(super) struct Answers {
    #[serde(default)]
    pub(super) allow: Vec<Text>,
    #[serde(default)]
    pub(super) deny: Vec<Text>,
}

/// How the task is given: arguments, or a word.
pub(super) enum Task {
    Word(String),
    Arguments(Vec<Text>),
}

impl<'de> Deserialize<'de> for Task {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Task;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of arguments, or \"typed\"")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Task, E> {
                Ok(Task::Word(word.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Task, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(Task::Arguments)
            }
        }
        deserializer.deserialize_any(Either)
    }
}
