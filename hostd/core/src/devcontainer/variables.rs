//! `${...}` in the values of devcontainer.json.

use std::collections::{BTreeMap, BTreeSet};

/// What stands for variables of devcontainer.json.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables {
    /// Absolute path of the repository in the guest.
    pub folder: String,
    /// What `${devcontainerId}` is: the same for each build of the environment.
    pub id: String,
}

impl Variables {
    /// The text with what it names. Variables of the container stay: they are known later. Names of the host's variables, which
    /// guests do not get, go to `of_host`.
    pub(super) fn fill(&self, text: &str, of_host: &mut BTreeSet<String>) -> String {
        let base = self.folder.rsplit('/').next().unwrap_or_default();
        replace(text, |name| match name {
            "containerWorkspaceFolder" | "localWorkspaceFolder" => Some(self.folder.clone()),
            "containerWorkspaceFolderBasename" | "localWorkspaceFolderBasename" => Some(base.to_owned()),
            "devcontainerId" => Some(self.id.clone()),
            name => {
                let (variable, default) = with_default(name.strip_prefix("localEnv:").or(name.strip_prefix("env:"))?);
                of_host.insert(variable.to_owned());
                Some(default.to_owned())
            }
        })
    }
}

/// The text with the variables of the container that it names.
pub(super) fn of_container(text: &str, environment: &BTreeMap<String, String>) -> String {
    replace(text, |name| {
        let (variable, default) = with_default(name.strip_prefix("containerEnv:")?);
        Some(environment.get(variable).map_or(default, String::as_str).to_owned())
    })
}

fn with_default(name: &str) -> (&str, &str) {
    name.split_once(':').unwrap_or((name, ""))
}

/// The text with what `value` has for each `${NAME}`; others, such as a shell's, stay as they are.
fn replace(text: &str, mut value: impl FnMut(&str) -> Option<String>) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let end = from.find('}');
        match end.and_then(|end| Some((end, value(&from[2..end])?))) {
            Some((end, value)) => {
                out.push_str(&value);
                rest = &from[end + 1..];
            }
            None => {
                out.push_str("${");
                rest = &from[2..];
            }
        }
    }
    out + rest
}
