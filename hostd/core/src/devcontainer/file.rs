//! devcontainer.json itself.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{
    Asked, FEATURES_MAX, Metadata, Variables, folder_of, join,
    json::{self, scalar, shown, shown_value},
    metadata::of_the_host,
};

/// What a devcontainer.json says, as far as a VM can have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Path of the file in its repository.
    pub path: String,
    /// What the container is made from.
    pub source: Source,
    /// Features that it has.
    pub features: Vec<Asked>,
    /// Features that come before others, the first one first.
    pub order: Vec<String>,
    /// The rest of it.
    pub metadata: Metadata,
}

/// What a container is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An image of this name.
    Image(String),
    /// What a Dockerfile makes.
    Dockerfile {
        /// Path of the Dockerfile in the repository.
        path: String,
        /// Path of the folder in the repository that it copies from; empty: the repository's own.
        context: String,
        /// Values of its arguments.
        arguments: BTreeMap<String, String>,
        /// Stage that is wanted; None: the last.
        target: Option<String>,
    },
}

/// Keys that are read here.
const OWN: [&str; 6] = ["image", "build", "dockerFile", "context", "features", "overrideFeatureInstallOrder"];

impl File {
    /// Reads a devcontainer.json. `path` is the file's in its repository.
    ///
    /// # Errors
    /// What is wrong with it, or cannot be had in a VM at all, for people; it says what to do.
    pub fn parse(path: &str, text: &str, variables: &Variables) -> Result<Self, String> {
        let object = json::object(path, text)?;
        let failed = |why: String| format!("{path}: {why}");
        let mut metadata = Metadata::read(&object, "", variables, &OWN).map_err(failed)?;
        if object.contains_key("dockerComposeFile") {
            let why = "it has `dockerComposeFile`, and an environment is one system: name another devcontainer.json, with `image` \
                       or `build`, in the recipe's base";
            return Err(failed(why.into()));
        }
        let mut of_host = BTreeSet::new();
        let mut fill = |text: &str| variables.fill(text, &mut of_host);
        let source = source(path, &object, &mut fill, &mut metadata).map_err(failed)?;
        metadata.ignored.extend(of_host.iter().map(|name| of_the_host(name)));
        let features = match object.get("features") {
            None | Some(Value::Null) => vec![],
            Some(Value::Object(features)) => Asked::all(features).map_err(failed)?,
            Some(other) => return Err(failed(format!("features is {}; it is a table", shown_value(other)))),
        };
        let order = object.get("overrideFeatureInstallOrder").and_then(Value::as_array).into_iter().flatten();
        let order = order.filter_map(Value::as_str).take(FEATURES_MAX).map(str::to_owned).collect();
        Ok(Self { path: path.into(), source, features, order, metadata })
    }
}

fn source(
    path: &str,
    object: &Map<String, Value>,
    fill: &mut impl FnMut(&str) -> String,
    metadata: &mut Metadata,
) -> Result<Source, String> {
    let build = object.get("build").and_then(Value::as_object);
    let of_build = |key: &str| build.and_then(|build| build.get(key)).and_then(Value::as_str);
    // The older way to say it.
    let dockerfile = of_build("dockerfile").or_else(|| object.get("dockerFile").and_then(Value::as_str));
    let Some(dockerfile) = dockerfile else {
        return match object.get("image").and_then(Value::as_str) {
            Some(name) => Ok(Source::Image(fill(name))),
            None => Err("it has neither `image` nor `build.dockerfile`; give it one of them".into()),
        };
    };
    let context = of_build("context").or_else(|| object.get("context").and_then(Value::as_str)).unwrap_or(".");
    let mut inside = |key: &str, text: &str| {
        let text = fill(text);
        join(folder_of(path), &text).ok_or_else(|| format!("{key} is {}, which is not in the repository", shown(&text)))
    };
    let (dockerfile, context) = (inside("build.dockerfile", dockerfile)?, inside("build.context", context)?);
    let mut arguments = BTreeMap::new();
    let args = build.and_then(|build| build.get("args")).and_then(Value::as_object);
    for (name, value) in args.into_iter().flatten().take(256) {
        match scalar(value) {
            Some(value) => drop(arguments.insert(name.clone(), fill(&value))),
            None => metadata.ignored.push(format!("build.args {}: it is no text", shown(name))),
        }
    }
    for key in build.into_iter().flat_map(Map::keys) {
        if !["dockerfile", "context", "args", "target"].contains(&key.as_str()) {
            metadata.ignored.push(format!("build.{}: nothing is built by Docker here", shown(key)));
        }
    }
    Ok(Source::Dockerfile { path: dockerfile, context, arguments, target: of_build("target").map(str::to_owned) })
}
