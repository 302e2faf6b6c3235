//! Features: folders with an `install.sh`, kept in a registry or in the repository itself.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    FEATURES_MAX, Metadata, Variables, join,
    json::{self, scalar, shown, shown_value},
};
use crate::image::Reference;

/// A feature that devcontainer.json or another feature asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Name of the feature, as it is written.
    pub name: String,
    /// Values of its options.
    pub options: BTreeMap<String, String>,
}

/// Where a feature is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a registry.
    Registry(Reference),
    /// In the repository, in the folder of this path.
    Folder(String),
}

/// A feature of a devcontainer, as its devcontainer-feature.json describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// How it was asked for.
    pub asked: Asked,
    /// Where it is.
    pub place: Place,
    /// Values of all its options, by name.
    pub options: BTreeMap<String, String>,
    /// Features that must be there before it.
    pub depends_on: Vec<Asked>,
    /// Names of features that come before it where they are asked for.
    pub installs_after: Vec<String>,
    /// What it says of how the container is used.
    pub metadata: Metadata,
}

impl Asked {
    /// The features of a table, by name.
    pub(super) fn all(table: &Map<String, Value>) -> Result<Vec<Self>, String> {
        if table.len() > FEATURES_MAX {
            return Err(format!("it asks for {} features; at most {FEATURES_MAX} are installed", table.len()));
        }
        table.iter().map(|(name, value)| Self::of(name, value)).collect()
    }

    fn of(name: &str, value: &Value) -> Result<Self, String> {
        let options = match value {
            Value::Object(table) => {
                let option = |(key, value): (&String, &Value)| match scalar(value) {
                    Some(text) if !text.contains('\0') => Ok((key.clone(), text)),
                    _ => Err(format!(
                        "option {} of the feature {} is no text and no truth value",
                        shown(key),
                        shown(name)
                    )),
                };
                table.iter().map(option).collect::<Result<_, _>>()?
            }
            Value::String(version) => BTreeMap::from([("version".to_owned(), version.clone())]),
            Value::Null | Value::Bool(true) => BTreeMap::new(),
            other => {
                return Err(format!(
                    "the feature {} has the options {}; they are a table",
                    shown(name),
                    shown_value(other)
                ));
            }
        };
        Ok(Self { name: name.into(), options })
    }

    /// Where the feature is; `folder` is the devcontainer.json's in its repository.
    ///
    /// # Errors
    /// It cannot be had; says why, for people.
    pub fn place(&self, folder: &str) -> Result<Place, String> {
        let name = self.name.as_str();
        if name.starts_with("./") || name.starts_with("../") {
            return join(folder, name).map(Place::Folder).ok_or_else(|| "it is not in the repository".into());
        }
        if name.contains("://") {
            return Err("features are taken from registries and from the repository, and not from the web".into());
        }
        if !name.contains('/') {
            let name = shown(name.split(['@', ':']).next().unwrap_or(name));
            return Err(format!(
                "features have no short names any more; write ghcr.io/devcontainers/features/{name}:1"
            ));
        }
        Reference::parse(name).map(Place::Registry)
    }
}

impl Feature {
    /// Reads the `devcontainer-feature.json` of a feature that was asked for.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn parse(asked: Asked, place: Place, text: &str, variables: &Variables) -> Result<Self, String> {
        const OWN: [&str; 12] = [
            "id",
            "version",
            "options",
            "dependsOn",
            "installsAfter",
            "entrypoint",
            "documentationURL",
            "licenseURL",
            "description",
            "keywords",
            "legacyIds",
            "deprecated",
        ];
        let name = shown(&asked.name);
        let object = json::object(&name, text)?;
        let mut metadata = Metadata::read(&object, &format!("feature {name}: "), variables, &OWN)?;
        // It is for editors in every feature, and says nothing.
        metadata.ignored.retain(|line| !line.contains(": customizations: "));
        if object.get("entrypoint").is_some_and(|entrypoint| !entrypoint.is_null()) {
            metadata.ignored.push(format!(
                "feature {name}: entrypoint: nothing is started with the container; `postStartCommand` may"
            ));
        }
        let mut options = BTreeMap::new();
        for (key, option) in object.get("options").and_then(Value::as_object).into_iter().flatten().take(256) {
            options.extend(option.get("default").and_then(scalar).map(|value| (key.clone(), value)));
        }
        options.extend(asked.options.clone());
        let depends_on = match object.get("dependsOn").and_then(Value::as_object) {
            Some(table) => Asked::all(table)?,
            None => vec![],
        };
        let after = object.get("installsAfter").and_then(Value::as_array).into_iter().flatten();
        let installs_after = after.filter_map(Value::as_str).take(256).map(str::to_owned).collect();
        Ok(Self { asked, place, options, depends_on, installs_after, metadata })
    }

    /// Variables that `install.sh` finds its options in.
    #[must_use]
    pub fn variables(&self) -> BTreeMap<String, String> {
        self.options.iter().map(|(name, value)| (variable(name), value.clone())).collect()
    }

    /// What names the feature whatever its version is.
    #[must_use]
    pub fn resource(&self) -> String {
        match &self.place {
            Place::Registry(reference) => format!("{}/{}", reference.registry, reference.repository),
            Place::Folder(path) => format!("./{path}"),
        }
    }
}

/// Name of the variable for an option: letters, digits and underscores, and no digit first.
fn variable(option: &str) -> String {
    let plain: String = option.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let rest = plain.trim_start_matches(|c: char| c.is_ascii_digit() || c == '_');
    let name = if rest.len() < plain.len() { format!("_{rest}") } else { plain };
    name.to_ascii_uppercase()
}
