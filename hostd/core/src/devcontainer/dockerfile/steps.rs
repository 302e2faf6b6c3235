//! From a Dockerfile to the steps of a build, once it is known what its image says.

use std::{collections::BTreeMap, sync::Arc};

use super::{Dockerfile, Does, Instruction, expand};
use crate::{
    devcontainer::{
        json::shown,
        metadata::is_login,
        plan::{Step, Task},
        variables::bounded,
    },
    image::Defaults,
    recipe::ROOT,
};

/// How the shell runs a text.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// What has come of the instructions so far.
struct State<'a> {
    file: &'a Dockerfile,
    /// Path in the guest that it copies from.
    context: &'a str,
    defaults: Defaults,
    arguments: BTreeMap<String, String>,
    shell: Vec<String>,
    steps: Vec<Step>,
    /// What is known, as the last step has it; None: it is another since.
    shared: Option<Arc<BTreeMap<String, String>>>,
}

impl Dockerfile {
    /// Steps of the stage on an image that says this, and what it says itself then. `context` is a path in the guest, and
    /// `architecture` the guests' as Go has it.
    ///
    /// # Errors
    /// The line that cannot be followed, and why.
    pub(in crate::devcontainer) fn steps(
        &self,
        image: &Defaults,
        arguments: &BTreeMap<String, String>,
        context: &str,
        architecture: &str,
    ) -> Result<(Vec<Step>, Defaults), String> {
        let mut globals = self.globals(arguments)?;
        let of_platform = [
            ("TARGETARCH", architecture.to_owned()),
            ("TARGETOS", "linux".into()),
            ("TARGETPLATFORM", format!("linux/{architecture}")),
            ("BUILDARCH", architecture.into()),
            ("BUILDPLATFORM", format!("linux/{architecture}")),
        ];
        for (name, value) in of_platform {
            globals.entry(name.into()).or_insert(value);
        }
        let mut state = State {
            file: self,
            context,
            defaults: image.clone(),
            arguments: BTreeMap::new(),
            shell: SHELL.map(str::to_owned).into(),
            steps: vec![],
            shared: None,
        };
        for instruction in &self.instructions {
            let done = state.follow(instruction, arguments, &globals);
            done.map_err(|why| format!("{}:{}: {why}", self.path, instruction.line))?;
        }
        Ok((state.steps, state.defaults))
    }
}

impl State<'_> {
    fn follow(
        &mut self,
        instruction: &Instruction,
        given: &BTreeMap<String, String>,
        globals: &BTreeMap<String, String>,
    ) -> Result<(), String> {
        match &instruction.does {
            Does::Shell(text) => {
                let words = self.shell.iter().cloned().chain([text.clone()]).collect();
                self.step(instruction, &format!("RUN {text}"), Task::Run(words));
            }
            Does::Run(words) => self.step(instruction, &format!("RUN {}", words.join(" ")), Task::Run(words.clone())),
            Does::By(words) => self.shell.clone_from(words),
            Does::Variables(all) => {
                // Of one instruction all see what was before it.
                let known = self.known();
                for (name, value) in all {
                    self.defaults.environment.insert(name.clone(), expand(value, &known)?);
                    bounded(&self.defaults.environment)?;
                }
                self.shared = None;
            }
            Does::Argument(name, default) => {
                let default = default.as_ref().map(|text| expand(text, &self.known())).transpose()?;
                let value = given.get(name).cloned().or(default).or_else(|| globals.get(name).cloned());
                self.arguments.extend(value.map(|value| (name.clone(), value)));
                bounded(&self.arguments)?;
                self.shared = None;
            }
            Does::Folder(path) => {
                let path = self.inside(&expand(path, &self.known())?);
                let words = ["mkdir", "-p", "--", path.as_str()].map(str::to_owned).into();
                self.step_as(ROOT, instruction, &format!("WORKDIR {path}"), Task::Run(words));
                self.defaults.directory = path;
            }
            Does::User(name) => {
                let name = expand(name, &self.known())?;
                let name = name.split(':').next().unwrap_or_default();
                let name = if name == "0" { ROOT } else { name };
                if !is_login(name) {
                    return Err(format!("USER {}: name a user, and no number", shown(name)));
                }
                self.defaults.user = name.into();
            }
            Does::Copy(copying) => {
                let known = self.known();
                let filled = |text: &String| expand(text, &known);
                let sources = copying.sources.iter().map(filled).collect::<Result<Vec<_>, _>>()?;
                let sources = sources.iter().map(|path| path.trim_start_matches('/').to_owned()).collect::<Vec<_>>();
                if sources.iter().any(|path| path.split('/').any(|part| part == "..")) {
                    return Err("COPY copies from outside its context".into());
                }
                let target = filled(&copying.target)?;
                let title = format!("COPY {} {target}", sources.join(" "));
                let owner = copying.owner.as_ref().map(filled).transpose()?.unwrap_or_default();
                let mode = copying.mode.as_ref().map(filled).transpose()?.unwrap_or_default();
                let target = self.inside(&target);
                let task = Task::Copy { context: self.context.into(), sources, target, owner, mode };
                self.step_as(ROOT, instruction, &title, task);
            }
        }
        Ok(())
    }

    /// What the Dockerfile's own variables stand for: those of the image win.
    fn known(&self) -> BTreeMap<String, String> {
        let mut known = self.arguments.clone();
        known.extend(self.defaults.environment.clone());
        known
    }

    /// An absolute path; a relative one is in the present folder. A slash at its end stays.
    fn inside(&self, path: &str) -> String {
        let folder = self.defaults.directory.trim_end_matches('/');
        match path {
            "." | "./" => format!("{folder}/"),
            path if path.starts_with('/') => path.into(),
            path => format!("{folder}/{}", path.trim_start_matches("./")),
        }
    }

    fn step(&mut self, instruction: &Instruction, what: &str, task: Task) {
        let user = self.defaults.login().to_owned();
        self.step_as(&user, instruction, what, task);
    }

    fn step_as(&mut self, user: &str, instruction: &Instruction, what: &str, task: Task) {
        let environment = self.shared.take().unwrap_or_else(|| Arc::new(self.known()));
        self.shared = Some(environment.clone());
        let folder = self.defaults.directory.as_str();
        self.steps.push(Step {
            title: format!("{}:{}: {}", shown(&self.file.path), instruction.line, shown(what)),
            user: user.into(),
            directory: if folder.is_empty() { "/".into() } else { folder.into() },
            environment,
            task,
        });
    }
}
