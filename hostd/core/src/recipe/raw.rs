//! The shape of a recipe's TOML. Values keep where they stand, so that a check can point at them.

use std::fmt;

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
    pub(super) base: Base,
    pub(super) repository: Option<Repository>,
    #[serde(default)]
    pub(super) setup: Vec<Text>,
    pub(super) user: Option<Text>,
    pub(super) agent: Agent,
    pub(super) ci: Option<Spanned<Ci>>,
    #[serde(default)]
    pub(super) size: Size,
    #[serde(default)]
    pub(super) cpu: Cpu,
    #[serde(default)]
    pub(super) warm: Warm,
    #[serde(default)]
    pub(super) suspend: Suspend,
    #[serde(default)]
    pub(super) egress: Vec<Spanned<Egress>>,
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
#[serde(deny_unknown_fields, expecting = "a table with the key debian")]
pub(super) struct Base {
    pub(super) debian: Text,
    #[serde(default)]
    pub(super) packages: Vec<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with the keys url and path")]
pub(super) struct Repository {
    pub(super) url: Text,
    pub(super) branch: Option<Text>,
    pub(super) path: Text,
    #[serde(default)]
    pub(super) read: Vec<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with the key command")]
pub(super) struct Agent {
    pub(super) command: Spanned<Vec<Text>>,
    #[serde(default)]
    pub(super) task_argument: bool,
    #[serde(default)]
    pub(super) typed_events: bool,
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

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with the key after")]
pub(super) struct Suspend {
    pub(super) after: Option<Text>,
}
