//! What devcontainer.json, a feature and a label of an image may all say.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{
    Command, Variables, command,
    json::{self, scalar, shown, shown_value},
};
use crate::checked_toml::is_variable;

/// Most variables that are taken.
const VARIABLES_MAX: usize = 256;
/// Longest value of a variable, in bytes.
const VALUE_MAX: usize = 4096;
/// Most lines of what is not honoured.
pub(super) const IGNORED_MAX: usize = 256;

/// What devcontainer.json, a feature or an image says of how a container is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// User of the people's programs, and of the agent; None: it does not say.
    pub remote_user: Option<String>,
    /// User that the container runs as; None: it does not say.
    pub container_user: Option<String>,
    /// Variables of all programs. They may name others of the container.
    pub container_env: BTreeMap<String, String>,
    /// Variables of the remote user's programs; None: it has none of this name. They may name others of the container.
    pub remote_env: BTreeMap<String, Option<String>>,
    /// Commands that are run once the container is made.
    pub on_create: Vec<Command>,
    /// Commands that are run after those, and whenever the working tree is another.
    pub update_content: Vec<Command>,
    /// Commands that are run after those, once.
    pub post_create: Vec<Command>,
    /// Commands that are run whenever the container starts.
    pub post_start: Vec<Command>,
    /// Ports of servers that people want to look at.
    pub ports: Vec<u16>,
    /// What of it is not honoured: a line each, for people.
    pub ignored: Vec<String>,
}

/// Keys that mean nothing for a VM, or nothing else than what it does anyway.
const MEANINGLESS: [&str; 9] = [
    "$schema",
    "name",
    "init",
    "overrideCommand",
    "shutdownAction",
    "waitFor",
    "updateRemoteUserUID",
    "userEnvProbe",
    "overrideFeatureInstallOrder",
];

impl Metadata {
    /// What the label `devcontainer.metadata` of an image says: an object or a list of them, of which later ones win.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn of_label(text: &str, variables: &Variables) -> Result<Vec<Self>, String> {
        let name = "the image's label devcontainer.metadata";
        let parts = match json::value(name, text)? {
            Value::Array(parts) => parts,
            other => vec![other],
        };
        let read = |part: &Value| match part {
            Value::Object(object) => Self::read(object, "image: ", variables, &["id", "entrypoint", "customizations"]),
            _ => Err(format!("{name} has an entry that is no object")),
        };
        parts.iter().take(256).map(read).collect()
    }

    /// What an object says. `whose` stands before lines about it; of keys in `elsewhere` somebody else takes care.
    pub(super) fn read(
        object: &Map<String, Value>,
        whose: &str,
        variables: &Variables,
        elsewhere: &[&str],
    ) -> Result<Self, String> {
        let mut reader = Reader { out: Self::default(), whose, variables, of_host: BTreeSet::new() };
        for (key, value) in object.iter().filter(|(key, value)| !value.is_null() && !elsewhere.contains(&key.as_str()))
        {
            reader.key(key, value).map_err(|why| format!("{whose}{why}"))?;
        }
        let Reader { mut out, of_host, .. } = reader;
        for name in of_host {
            out.ignored.push(format!("{whose}{}", of_the_host(&name)));
        }
        out.ignored.truncate(IGNORED_MAX);
        Ok(out)
    }
}

/// Says of a variable of the host that it is not honoured.
pub(super) fn of_the_host(name: &str) -> String {
    format!("${{localEnv:{}}}: guests get no variables of the host; its default is taken, or nothing", shown(name))
}

struct Reader<'a> {
    out: Metadata,
    whose: &'a str,
    variables: &'a Variables,
    of_host: BTreeSet<String>,
}

impl Reader<'_> {
    fn key(&mut self, key: &str, value: &Value) -> Result<(), String> {
        match key {
            "remoteUser" => self.out.remote_user = Some(self.user(key, value)?),
            "containerUser" => self.out.container_user = Some(self.user(key, value)?),
            "containerEnv" => self.container_env(value)?,
            "remoteEnv" => self.remote_env(value)?,
            "onCreateCommand" => self.out.on_create = self.commands(key, value)?,
            "updateContentCommand" => self.out.update_content = self.commands(key, value)?,
            "postCreateCommand" => self.out.post_create = self.commands(key, value)?,
            "postStartCommand" => self.out.post_start = self.commands(key, value)?,
            "forwardPorts" | "appPort" => self.ports(key, value),
            "runArgs" => self.run_args(value),
            "mounts" => self.mounts(value),
            "initializeCommand" => self.ignore(key, "it would run on the host, and is not run"),
            "postAttachCommand" => self.ignore(key, "nobody attaches as an editor does, and it is not run"),
            "workspaceFolder" => {
                let path = value.as_str().map(|path| self.fill(path)).unwrap_or_default();
                if path.trim_end_matches('/') != self.variables.folder {
                    let folder = &self.variables.folder;
                    let why = format!("the repository is at {folder}, as the recipe's `repository.path` says");
                    self.ignore(&format!("{key} {}", shown(&path)), &why);
                }
            }
            "workspaceMount" => self.ignore(key, "the repository is cloned, and nothing of the host is mounted"),
            "customizations" | "extensions" | "settings" | "devPort" => self.ignore(key, "it is for editors"),
            "portsAttributes" | "otherPortsAttributes" => {
                self.ignore(key, "it is for editors; ports are reached by `pilothouse forward`")
            }
            "hostRequirements" => self.ignore(key, "the recipe's `size` says what its VMs get"),
            "secrets" => self.ignore(key, "secrets stay on the host; name them as `credentials` in the recipe"),
            "privileged" | "capAdd" | "securityOpt" => {
                let says_nothing = value == &Value::Bool(false) || value.as_array().is_some_and(Vec::is_empty);
                if !says_nothing {
                    self.ignore(key, "it has no effect: the VM is the guest's own, and its root may do all in it");
                }
            }
            key if MEANINGLESS.contains(&key) => {}
            key => self.ignore(&shown(key), "it is not known here"),
        }
        Ok(())
    }

    fn ignore(&mut self, what: &str, why: &str) {
        self.out.ignored.push(format!("{}{what}: {why}", self.whose));
    }

    fn fill(&mut self, text: &str) -> String {
        self.variables.fill(text, &mut self.of_host)
    }

    fn commands(&mut self, key: &str, value: &Value) -> Result<Vec<Command>, String> {
        let (variables, of_host) = (self.variables, &mut self.of_host);
        let title = format!("{}{key}", self.whose);
        command::commands(&title, value, &mut |text| variables.fill(text, of_host))
    }

    fn user(&mut self, key: &str, value: &Value) -> Result<String, String> {
        let name = value.as_str().map(|name| self.fill(name)).unwrap_or_default();
        if is_login(&name) {
            return Ok(name);
        }
        let allowed = "the name of a user of letters, digits, dot, underscore and dash, at most 32, and no number";
        Err(format!("{key} is {}; allowed: {allowed}", shown_value(value)))
    }

    fn container_env(&mut self, value: &Value) -> Result<(), String> {
        for (name, value) in table("containerEnv", value)? {
            if let Some(value) = self.variable("containerEnv", name, value) {
                self.out.container_env.insert(name.clone(), value);
            }
        }
        Ok(())
    }

    fn remote_env(&mut self, value: &Value) -> Result<(), String> {
        for (name, value) in table("remoteEnv", value)? {
            if value.is_null() {
                self.out.remote_env.insert(name.clone(), None);
            } else if let Some(value) = self.variable("remoteEnv", name, value) {
                self.out.remote_env.insert(name.clone(), Some(value));
            }
        }
        Ok(())
    }

    /// The value of a variable; None: it cannot be taken.
    fn variable(&mut self, key: &str, name: &str, value: &Value) -> Option<String> {
        let value = scalar(value).map(|value| self.fill(&value));
        let fits = |value: &String| value.len() <= VALUE_MAX && !value.contains('\0');
        let fitting = value.filter(fits).filter(|_| is_variable(name));
        if fitting.is_none() {
            self.ignore(&format!("{key} {}", shown(name)), "its name or its value cannot be a variable's");
        }
        fitting
    }

    fn ports(&mut self, key: &str, value: &Value) {
        let alone = [value.clone()];
        for port in value.as_array().map_or(&alone[..], Vec::as_slice) {
            let text = scalar(port).unwrap_or_default();
            let (host, number) = text.rsplit_once(':').unwrap_or(("localhost", &text));
            match number.parse::<u16>() {
                // Of appPort the first is the host's, which is whichever `forward` is told.
                Ok(number @ 1..) if key == "appPort" || matches!(host, "localhost" | "127.0.0.1" | "0.0.0.0") => {
                    if !self.out.ports.contains(&number) {
                        self.out.ports.push(number);
                    }
                }
                Ok(1..) => self.ignore(&format!("{key} {}", shown(&text)), "it is a port of another container"),
                _ => self.ignore(&format!("{key} {}", shown_value(port)), "it is no port"),
            }
        }
    }

    fn mounts(&mut self, value: &Value) {
        for mount in value.as_array().into_iter().flatten() {
            let field = |text: &str, name: &str| {
                text.split(',')
                    .filter_map(|part| part.split_once('='))
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| value.to_owned())
            };
            let of = |name: &str| match mount {
                Value::String(text) => field(text, name),
                other => other.get(name).and_then(Value::as_str).map(str::to_owned),
            };
            let target = of("target").or_else(|| of("dst")).or_else(|| of("destination")).unwrap_or_default();
            let why = match of("type").as_deref() {
                Some("bind") | None => {
                    "files of the host are not given to guests; `pilothouse cp` copies what is wanted"
                }
                Some("tmpfs") => "the folder is on the VM's disk",
                Some(_) => "the folder is on the VM's own disk, and is shared with nobody",
            };
            self.ignore(&format!("mounts {}", shown(&target)), why);
        }
    }

    fn run_args(&mut self, value: &Value) {
        let mut words = value.as_array().into_iter().flatten().filter_map(Value::as_str);
        while let Some(word) = words.next() {
            let variable = match word {
                "-e" | "--env" => words.next(),
                word => word.strip_prefix("--env="),
            };
            match variable.and_then(|variable| variable.split_once('=')) {
                Some((name, value)) => {
                    if let Some(value) = self.variable("runArgs", name, &Value::String(value.into())) {
                        self.out.container_env.insert(name.into(), value);
                    }
                }
                None => self.ignore(
                    &format!("runArgs {}", shown(variable.unwrap_or(word))),
                    "there is no container to be run with it",
                ),
            }
        }
    }
}

fn table<'a>(key: &str, value: &'a Value) -> Result<impl Iterator<Item = (&'a String, &'a Value)>, String> {
    let table = value.as_object().ok_or_else(|| format!("{key} is no table of variables"))?;
    Ok(table.iter().take(VARIABLES_MAX))
}

/// Whether a name can be a user's: never a number.
pub(super) fn is_login(name: &str) -> bool {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    plain && begins && name.len() <= 32
}
