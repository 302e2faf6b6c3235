//! `${...}` in the values of devcontainer.json.

use std::collections::{BTreeMap, BTreeSet};

/// Longest text that variables of the container make, in bytes.
pub(super) const TEXT_MAX: usize = 32 << 10;
/// Most variables of an environment.
const COUNT_MAX: usize = 512;
/// Most bytes of an environment's variables together.
const SUM_MAX: usize = 256 << 10;

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
        // What is put in is the recipe's own or stands in the text, so that the text's own bound does.
        let filled = replace(text, usize::MAX, |name| match name {
            "containerWorkspaceFolder" | "localWorkspaceFolder" => Some(self.folder.clone()),
            "containerWorkspaceFolderBasename" | "localWorkspaceFolderBasename" => Some(base.to_owned()),
            "devcontainerId" => Some(self.id.clone()),
            name => {
                let (variable, default) = with_default(name.strip_prefix("localEnv:").or(name.strip_prefix("env:"))?);
                of_host.insert(variable.to_owned());
                Some(default.to_owned())
            }
        });
        filled.unwrap_or_default()
    }
}

/// The text with the variables of the container that it names, at most [`TEXT_MAX`] bytes.
pub(super) fn of_container(text: &str, environment: &BTreeMap<String, String>) -> Result<String, String> {
    replace(text, TEXT_MAX, |name| {
        let (variable, default) = with_default(name.strip_prefix("containerEnv:")?);
        Some(environment.get(variable).map_or(default, String::as_str).to_owned())
    })
}

/// Refuses more variables than an environment has.
pub(super) fn bounded(environment: &BTreeMap<String, String>) -> Result<(), String> {
    if environment.len() > COUNT_MAX {
        return Err(format!("it has {} variables; at most {COUNT_MAX} are taken", environment.len()));
    }
    let sum: usize = environment.iter().map(|(name, value)| name.len() + value.len()).sum();
    if sum > SUM_MAX {
        return Err(format!("its variables have {sum} bytes together; at most {SUM_MAX} are taken"));
    }
    Ok(())
}

fn with_default(name: &str) -> (&str, &str) {
    name.split_once(':').unwrap_or((name, ""))
}

/// The text with what `value` has for each `${NAME}`; others, such as a shell's, stay as they are. An
/// error says that it would be longer than `most` bytes.
fn replace(text: &str, most: usize, mut value: impl FnMut(&str) -> Option<String>) -> Result<String, String> {
    let long = || format!("its variables make a text of more than {most} bytes");
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
        if out.len() > most {
            return Err(long());
        }
    }
    out.push_str(rest);
    if out.len() > most { Err(long()) } else { Ok(out) }
}
