//! The shape of a recipe's TOML. Values keep where they stand, so that a check can point at them.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};
use toml::Spanned;

type Text = Spanned<String>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct Recipe {
    pub(super) name: Text,
    pub(super) base: Spanned<Base>,
    pub(super) repository: Option<Repository>,
    #[serde(default)]
    pub(super) setup: Vec<Text>,
    pub(super) user: Option<Spanned<User>>,
    #[serde(default)]
    pub(super) environment: BTreeMap<Text, Text>,
    pub(super) agent: Spanned<Agent>,
    pub(super) ci: Option<Spanned<Ci>>,
    #[serde(default)]
    pub(super) size: Size,
    #[serde(default)]
    pub(super) cpu: Cpu,
    #[serde(default)]
    pub(super) warm: Warm,
    #[serde(default)]
    pub(super) suspend: Suspend,
    pub(super) restart: Option<Spanned<Restart>>,
    pub(super) checkpoint: Option<Spanned<Checkpoint>>,
    pub(super) budget: Option<Spanned<f64>>,
    #[serde(default)]
    pub(super) egress: Vec<Spanned<Egress>>,
    #[serde(default)]
    pub(super) credentials: Vec<Text>,
}

/// A destination: `"host:port"`, or a table that says more of it.
pub(super) struct Egress {
    pub(super) to: String,
    pub(super) private: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with the keys to and private")]
struct EgressTable {
    to: String,
    #[serde(default)]
    private: bool,
}

impl<'de> Deserialize<'de> for Egress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Egress;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, or a table with the keys to and private")
            }

            fn visit_str<E: de::Error>(self, to: &str) -> Result<Egress, E> {
                Ok(Egress { to: to.to_owned(), private: false })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Egress, A::Error> {
                let EgressTable { to, private } = EgressTable::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Egress { to, private })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with the key debian, oci or devcontainer")]
pub(super) struct Base {
    pub(super) debian: Option<Text>,
    pub(super) oci: Option<Text>,
    pub(super) devcontainer: Option<Spanned<Devcontainer>>,
    pub(super) credential: Option<Text>,
    #[serde(default)]
    pub(super) registries: Vec<Text>,
    #[serde(default)]
    pub(super) packages: Vec<Text>,
}

/// A devcontainer.json: its path, or `true` for wherever the repository has one.
pub(super) struct Devcontainer(pub(super) Option<String>);

impl<'de> Deserialize<'de> for Devcontainer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Devcontainer;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the path of a devcontainer.json in the repository, or true")
            }

            fn visit_str<E: de::Error>(self, path: &str) -> Result<Devcontainer, E> {
                Ok(Devcontainer(Some(path.to_owned())))
            }

            fn visit_bool<E: de::Error>(self, is_there: bool) -> Result<Devcontainer, E> {
                if is_there {
                    Ok(Devcontainer(None))
                } else {
                    Err(E::invalid_value(de::Unexpected::Bool(false), &self))
                }
            }
        }
        deserializer.deserialize_any(Either)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with the keys url and path")]
pub(super) struct Repository {
    pub(super) url: Text,
    pub(super) branch: Option<Text>,
    pub(super) path: Text,
    #[serde(default)]
    pub(super) read: Vec<Text>,
    pub(super) pull_requests: Option<Text>,
}

/// The agent: the name of a profile, or a table that says more of it.
#[derive(Default)]
pub(super) struct Agent {
    pub(super) profile: Option<Text>,
    pub(super) command: Option<Spanned<Vec<Text>>>,
    pub(super) task_argument: Option<bool>,
    pub(super) typed_events: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with the key profile or command")]
struct AgentTable {
    profile: Option<Text>,
    command: Option<Spanned<Vec<Text>>>,
    task_argument: Option<bool>,
    typed_events: Option<bool>,
}

impl<'de> Deserialize<'de> for Agent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Agent;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of an agent profile, or a table with the key profile or command")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Agent, E> {
                // Where it stands is where the agent does.
                Ok(Agent { profile: Some(Spanned::new(0..0, name.to_owned())), ..Agent::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Agent, A::Error> {
                let AgentTable { profile, command, task_argument, typed_events } =
                    AgentTable::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Agent { profile, command, task_argument, typed_events })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// The user: a name, or a table that says more of it.
#[derive(Default)]
pub(super) struct User {
    pub(super) name: Option<String>,
    pub(super) sudo: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with the keys name and sudo")]
struct UserTable {
    name: Option<String>,
    sudo: Option<bool>,
}

impl<'de> Deserialize<'de> for User {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = User;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, or a table with the keys name and sudo")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<User, E> {
                Ok(User { name: Some(name.to_owned()), sudo: None })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<User, A::Error> {
                let UserTable { name, sudo } = UserTable::deserialize(MapAccessDeserializer::new(map))?;
                Ok(User { name, sudo })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with the key command or checks")]
pub(super) struct Ci {
    pub(super) command: Option<Spanned<Vec<Text>>>,
    #[serde(default)]
    pub(super) checks: Vec<Spanned<CiCheck>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with the keys name and command")]
pub(super) struct CiCheck {
    pub(super) name: Text,
    pub(super) command: Spanned<Vec<Text>>,
    pub(super) timeout: Option<Text>,
    pub(super) required: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table of vcpus, memory and disk")]
pub(super) struct Size {
    pub(super) vcpus: Option<Spanned<i64>>,
    pub(super) memory: Option<Text>,
    pub(super) disk: Option<Text>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table of nested and counters")]
pub(super) struct Cpu {
    #[serde(default)]
    pub(super) nested: bool,
    #[serde(default)]
    pub(super) counters: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table of min and max")]
pub(super) struct Warm {
    pub(super) min: Option<Spanned<i64>>,
    pub(super) max: Option<Spanned<i64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with the keys on, backoff and most")]
pub(super) struct Restart {
    pub(super) on: Option<Text>,
    pub(super) backoff: Option<Text>,
    pub(super) most: Option<Spanned<i64>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with the key after")]
pub(super) struct Suspend {
    pub(super) after: Option<Text>,
}

/// How often checkpoints are taken: a time, or a table that says more.
pub(super) struct Checkpoint {
    pub(super) every: String,
    pub(super) keep: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with the keys every and keep")]
struct CheckpointTable {
    every: String,
    keep: Option<i64>,
}

impl<'de> Deserialize<'de> for Checkpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Checkpoint;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, or a table with the keys every and keep")
            }

            fn visit_str<E: de::Error>(self, every: &str) -> Result<Checkpoint, E> {
                Ok(Checkpoint { every: every.to_owned(), keep: None })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Checkpoint, A::Error> {
                let CheckpointTable { every, keep } = CheckpointTable::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Checkpoint { every, keep })
            }
        }
        deserializer.deserialize_any(Either)
    }
}
