//! What an image says of how programs run in it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::manifest::CONFIG_MAX;
use crate::{checked_toml::is_variable, devcontainer::TEXT_MAX};

/// Most variables that are taken of an image.
const VARIABLES_MAX: usize = 256;
/// Longest value, path or name that is taken, in bytes.
const VALUE_MAX: usize = 4096;

/// The configuration of an image, as far as it is heeded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Variables of programs.
    pub environment: BTreeMap<String, String>,
    /// Absolute path of the folder where programs begin; empty: `/`.
    pub directory: String,
    /// User that programs run as, a name or a number; empty: root.
    pub user: String,
    /// Group that they run as, a name or a number; empty: the user's own.
    pub group: String,
    /// Name of the processor's architecture; empty: it does not say.
    pub architecture: String,
    /// What its label `devcontainer.metadata` says, in JSON; empty: it has none.
    pub metadata: String,
    /// What of it is not heeded: a line each, for people.
    pub ignored: Vec<String>,
}

/// What an environment has of its image, where its recipe does not say otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Defaults {
    /// Variables of programs.
    pub environment: BTreeMap<String, String>,
    /// Absolute path of the folder where programs begin; empty: `/`.
    pub directory: String,
    /// Login name of the user that programs run as; empty: root.
    pub user: String,
    /// Whether the image has `/bin/sh`.
    pub shell: bool,
    /// What its label `devcontainer.metadata` says, in JSON; empty: it has none; None: nobody has looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
}

/// Variables that say how to get out: of where the image was made, and not of here.
const PROXIES: [&str; 5] = ["http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"];
/// Variables that say who somebody is.
const PERSONAL: [&str; 4] = ["HOME", "USER", "LOGNAME", "SHELL"];

impl Defaults {
    /// Login name of the user that programs run as.
    #[must_use]
    pub fn login(&self) -> &str {
        if self.user.is_empty() { crate::recipe::ROOT } else { &self.user }
    }

    /// Variables of programs that run as this user; in front of their PATH is `folder`.
    #[must_use]
    pub fn variables(&self, user: &str, folder: &str) -> BTreeMap<String, String> {
        let mut variables = self.environment.clone();
        variables.retain(|name, value| {
            let is_proxy = PROXIES.iter().any(|proxy| name.eq_ignore_ascii_case(proxy));
            let is_others = PERSONAL.contains(&name.as_str()) && user != self.login();
            !(is_proxy || is_others || name == "PATH" && value.is_empty())
        });
        if let Some(path) = variables.get_mut("PATH") {
            *path = format!("{folder}:{path}");
        }
        variables
    }
}

#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    config: Option<RawConfig>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawConfig {
    env: Option<Vec<String>>,
    working_dir: Option<String>,
    user: Option<String>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    volumes: Option<serde_json::Value>,
    healthcheck: Option<serde_json::Value>,
    exposed_ports: Option<serde_json::Value>,
    labels: Option<BTreeMap<String, serde_json::Value>>,
}

impl Config {
    /// Reads the configuration of an image.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() as u64 > CONFIG_MAX {
            return Err(format!("its configuration is longer than {CONFIG_MAX} bytes"));
        }
        let raw: Raw =
            serde_json::from_slice(bytes).map_err(|error| format!("its configuration makes no sense: {error}"))?;
        if !raw.os.is_empty() && raw.os != "linux" {
            return Err(format!("it is an image for {}, and guests run Linux", crate::text::clean(&raw.os, 32)));
        }
        let mut config = Self { architecture: crate::text::clean(&raw.architecture, 32), ..Self::default() };
        let inner = raw.config.unwrap_or_default();
        config.variables(inner.env.unwrap_or_default());
        config.folder(inner.working_dir.as_deref().unwrap_or_default());
        config.user(inner.user.as_deref().unwrap_or_default());
        let metadata = inner.labels.as_ref().and_then(|labels| labels.get("devcontainer.metadata"));
        let metadata = metadata.and_then(serde_json::Value::as_str).filter(|text| text.len() <= TEXT_MAX);
        config.metadata = metadata.unwrap_or_default().to_owned();
        let commands = [("ENTRYPOINT", &inner.entrypoint), ("CMD", &inner.cmd)];
        for (name, _) in commands.into_iter().filter(|(_, words)| words.as_ref().is_some_and(|words| !words.is_empty()))
        {
            config.ignored.push(format!("the image's {name} is not run: a session runs its agent"));
        }
        let rest = [("VOLUME", inner.volumes), ("HEALTHCHECK", inner.healthcheck), ("EXPOSE", inner.exposed_ports)];
        let said = |value: &Option<serde_json::Value>| value.as_ref().is_some_and(|value| !value.is_null());
        for (name, _) in rest.iter().filter(|(_, value)| said(value)) {
            config.ignored.push(format!("the image's {name} has no effect"));
        }
        Ok(config)
    }

    fn variables(&mut self, all: Vec<String>) {
        for line in all {
            let Some((name, value)) = line.split_once('=') else { continue };
            let fits = is_variable(name) && value.len() <= VALUE_MAX && !value.contains('\0');
            if fits && self.environment.len() < VARIABLES_MAX {
                self.environment.insert(name.into(), value.into());
            } else {
                let name = crate::text::one_line(&crate::text::clean(name, 64));
                self.ignored.push(format!("the image's variable {name} cannot be taken"));
            }
        }
        self.ignored.truncate(VARIABLES_MAX);
    }

    fn folder(&mut self, path: &str) {
        let inner = || path.split('/').filter(|part| !part.is_empty() && *part != ".");
        let fits = path.starts_with('/')
            && path.len() <= VALUE_MAX
            && !path.contains(|c: char| c.is_control())
            && inner().next() != Some("lost+found")
            && inner().all(|part| part != ".." && part.len() <= 255);
        if fits && inner().next().is_some() {
            self.directory = inner().fold(String::new(), |path, part| path + "/" + part);
        } else if !fits && !path.is_empty() {
            self.ignored
                .push("the image's WORKDIR is no absolute path, or the file system's own, and is not heeded".into());
        }
    }

    fn user(&mut self, user: &str) {
        let (name, group) = user.split_once(':').unwrap_or((user, ""));
        if is_name_or_number(name) && is_name_or_number(group) {
            (self.user, self.group) = (name.into(), group.into());
        } else {
            self.ignored.push("the image's USER is no name and no number, and is not heeded".into());
        }
    }
}

/// Whether a text is a name of a user or a group, or the number of one; an empty one is.
fn is_name_or_number(text: &str) -> bool {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    // The last one says that there is none.
    let fits = !is_number || text.parse::<u32>().is_ok_and(|id| id != u32::MAX);
    text.len() <= 32 && plain && fits && !text.starts_with('-')
}
