//! Dockerfiles that are simple enough to be followed in a VM: one stage, whose instructions are run one after the other.
//!
//! What cannot be followed is refused with its line, before anything is built: an environment that lacks a part of what its
//! Dockerfile says would be another one.

mod expand;
mod lines;
mod steps;

use std::collections::BTreeMap;

use serde_json::Value;

use super::{json::shown, metadata::IGNORED_MAX};
use crate::{checked_toml::is_variable, image::Reference};
use expand::{expand, pairs, words};
use lines::{Line, logical};

/// Most instructions that a Dockerfile may have.
const INSTRUCTIONS_MAX: usize = 512;

/// A Dockerfile of one stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dockerfile {
    /// Path of the file in its repository.
    path: String,
    /// Arguments before the stage, with their defaults.
    before: Vec<(String, Option<String>)>,
    /// Image that the stage is made from, with arguments that are not filled in.
    from: String,
    /// Line of that.
    from_line: usize,
    instructions: Vec<Instruction>,
    /// What of it is not honoured: a line each, for people.
    pub ignored: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Instruction {
    line: usize,
    does: Does,
}

/// What an instruction does.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Does {
    /// Runs a text by the shell.
    Shell(String),
    /// Runs words as they are.
    Run(Vec<String>),
    Variables(Vec<(String, String)>),
    Argument(String, Option<String>),
    Folder(String),
    User(String),
    Copy(Copying),
    /// From here on, texts are run by these words and the text.
    By(Vec<String>),
}

/// What is copied, with variables that are not filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Copying {
    sources: Vec<String>,
    target: String,
    owner: Option<String>,
    mode: Option<String>,
}

impl Dockerfile {
    /// Reads a Dockerfile; `path` is the file's in its repository, and `target` the stage that is wanted.
    ///
    /// # Errors
    /// The line that cannot be followed here, and why; it says what to do.
    pub fn parse(path: &str, text: &str, target: Option<&str>) -> Result<Self, String> {
        let fail = |line: usize, why: &str| {
            format!(
                "{path}:{line}: {why}; have the recipe's `setup` do it, or name an image that has it in devcontainer.json"
            )
        };
        let mut file = Self {
            path: path.into(),
            before: vec![],
            from: String::new(),
            from_line: 0,
            instructions: vec![],
            ignored: vec![],
        };
        let lines = logical(text).map_err(|(line, why)| fail(line, &why))?;
        if lines.len() > INSTRUCTIONS_MAX {
            return Err(format!(
                "{path}: it has {} instructions; at most {INSTRUCTIONS_MAX} are followed",
                lines.len()
            ));
        }
        for line in &lines {
            file.line(line, target).map_err(|why| fail(line.number, &why))?;
        }
        if file.from.is_empty() {
            return Err(format!("{path}: it has no FROM"));
        }
        file.ignored.truncate(IGNORED_MAX);
        Ok(file)
    }

    fn line(&mut self, line: &Line, target: Option<&str>) -> Result<(), String> {
        let (name, rest) = line.text.split_once(char::is_whitespace).unwrap_or((&line.text, ""));
        let (name, rest) = (name.to_ascii_uppercase(), rest.trim());
        if self.from.is_empty() && !matches!(name.as_str(), "FROM" | "ARG") {
            return Err(format!("{} stands before FROM", shown(&name)));
        }
        let does = match name.as_str() {
            "FROM" => return self.stage(line.number, rest, target),
            "ARG" => {
                for (name, value) in pairs_or_names(rest)? {
                    named(&name)?;
                    if self.before.len() + self.instructions.len() > INSTRUCTIONS_MAX {
                        return Err(format!("with its arguments it has more than {INSTRUCTIONS_MAX} instructions"));
                    }
                    if self.from.is_empty() {
                        self.before.push((name, value));
                    } else {
                        self.instructions.push(Instruction { line: line.number, does: Does::Argument(name, value) });
                    }
                }
                return Ok(());
            }
            "RUN" => self.run(line.number, rest)?,
            "ENV" => Does::Variables(variables(rest)?),
            "WORKDIR" => Does::Folder(unquoted(rest)?),
            "USER" => Does::User(unquoted(rest)?),
            "COPY" => copy(rest)?,
            "SHELL" => Does::By(list(rest).ok_or("SHELL wants a list of texts")?),
            "CMD" | "ENTRYPOINT" | "HEALTHCHECK" | "STOPSIGNAL" => {
                self.ignored.push(format!("{}:{}: {name}: a session runs its agent", self.path, line.number));
                return Ok(());
            }
            "LABEL" | "EXPOSE" | "MAINTAINER" => return Ok(()),
            "VOLUME" => {
                self.ignored.push(format!("{}:{}: VOLUME: the folder is on the VM's own disk", self.path, line.number));
                return Ok(());
            }
            "ADD" => return Err("ADD unpacks archives and fetches from the web; write COPY, or RUN with curl".into()),
            other => return Err(format!("{} is not known here", shown(other))),
        };
        self.instructions.push(Instruction { line: line.number, does });
        Ok(())
    }

    fn stage(&mut self, number: usize, rest: &str, target: Option<&str>) -> Result<(), String> {
        if !self.from.is_empty() {
            return Err(
                "a second FROM makes it a Dockerfile of several stages, of which none is built apart here".into()
            );
        }
        let mut words: Vec<&str> = rest.split_whitespace().collect();
        if words.first().is_some_and(|word| word.starts_with("--platform=")) {
            self.ignored
                .push(format!("{}:{number}: FROM --platform: guests are as the host's processor is", self.path));
            words.remove(0);
        }
        let (image, stage) = match words[..] {
            [image] => (image, None),
            [image, by, stage] if by.eq_ignore_ascii_case("as") => (image, Some(stage)),
            _ => return Err("FROM wants an image, and AS a name".into()),
        };
        if image == "scratch" {
            return Err("FROM scratch has no system in it".into());
        }
        if let Some(target) = target.filter(|target| Some(*target) != stage) {
            return Err(format!("the stage {} of build.target is not the one that is there", shown(target)));
        }
        (self.from, self.from_line) = (image.into(), number);
        Ok(())
    }

    fn run(&mut self, number: usize, rest: &str) -> Result<Does, String> {
        let mut rest = rest;
        while let Some(flag) = rest.strip_prefix("--") {
            let (flag, behind) = flag.split_once(char::is_whitespace).ok_or("RUN has a flag and no command")?;
            if !flag.starts_with("mount=type=cache") && !flag.starts_with("mount=type=tmpfs") {
                return Err(format!("RUN --{} cannot be had here", shown(flag)));
            }
            let said =
                format!("{}:{number}: RUN --mount: what it would keep or throw away is on the VM's disk", self.path);
            self.ignored.push(said);
            rest = behind.trim_start();
        }
        if has_document(rest) {
            return Err("RUN has a text behind << ; write it as commands with && between them".into());
        }
        match list(rest) {
            Some(words) if words.is_empty() => Err("RUN has no command".into()),
            Some(words) => Ok(Does::Run(words)),
            None if rest.is_empty() => Err("RUN has no command".into()),
            None => Ok(Does::Shell(rest.into())),
        }
    }

    /// The image that it is made from, with these values of arguments.
    ///
    /// # Errors
    /// It is no name of an image; says where.
    pub fn image(&self, arguments: &BTreeMap<String, String>) -> Result<Reference, String> {
        let known = self.globals(arguments)?;
        let fail = |why: String| format!("{}:{}: FROM {}: {why}", self.path, self.from_line, shown(&self.from));
        let name = expand(&self.from, &known).map_err(fail)?;
        let fail = |why: String| format!("{}:{}: FROM {}: {why}", self.path, self.from_line, shown(&name));
        Reference::parse(&name).map_err(fail)
    }

    /// Values of the arguments before the stage.
    fn globals(&self, arguments: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, String> {
        let mut known = BTreeMap::new();
        for (name, default) in &self.before {
            let default = default.as_ref().map(|text| expand(text, &known)).transpose()?;
            known.extend(arguments.get(name).cloned().or(default).map(|value| (name.clone(), value)));
            super::variables::bounded(&known)?;
        }
        Ok(known)
    }
}

/// A text with these variables filled in, as in a Dockerfile.
pub(super) fn expand_one(text: &str, known: &BTreeMap<String, String>) -> Result<String, String> {
    expand(text, known)
}

fn copy(rest: &str) -> Result<Does, String> {
    let (mut owner, mut mode, mut rest) = (None, None, rest);
    while let Some(flag) = rest.strip_prefix("--") {
        let (flag, behind) = flag.split_once(char::is_whitespace).ok_or("COPY has a flag and no files")?;
        match flag.split_once('=').unwrap_or((flag, "")) {
            ("chown", value) => owner = Some(value.to_owned()),
            ("chmod", value) => mode = Some(value.to_owned()),
            ("link", _) => {}
            ("from", from) => return Err(format!("COPY --from={} copies from another stage or image", shown(from))),
            (other, _) => return Err(format!("COPY --{} cannot be had here", shown(other))),
        }
        rest = behind.trim_start();
    }
    if has_document(rest) {
        return Err("COPY has a text behind << ; put the file into the repository".into());
    }
    let mut paths = match list(rest) {
        Some(paths) => paths,
        None => words(rest)?,
    };
    let target = paths.pop().filter(|_| !paths.is_empty()).ok_or("COPY wants what is copied, and where to")?;
    if paths.iter().any(|path| path.split('/').any(|part| part == "..")) {
        return Err("COPY copies from outside its context".into());
    }
    Ok(Does::Copy(Copying { sources: paths, target, owner, mode }))
}

/// The texts of a JSON list; None: it is none.
fn list(text: &str) -> Option<Vec<String>> {
    match serde_json::from_str(text.trim()) {
        Ok(Value::Array(words)) => words.into_iter().map(|word| word.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

/// Whether a text of the Dockerfile itself is to be read as input, from a word behind `<<`.
fn has_document(text: &str) -> bool {
    text.match_indices("<<").any(|(at, _)| {
        let word = text[at + 2..].trim_start_matches('-').trim_start_matches(['"', '\'']);
        !text[at + 2..].starts_with('<')
            && !text[..at].ends_with('<')
            && word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
    })
}

/// `NAME=VALUE` and `NAME`.
fn pairs_or_names(text: &str) -> Result<Vec<(String, Option<String>)>, String> {
    let pair = |word: String| match word.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (word, None),
    };
    let all: Vec<_> = words(text)?.into_iter().map(pair).collect();
    if all.is_empty() { Err("ARG wants a name".into()) } else { Ok(all) }
}

/// Variables in either way to write them: `NAME=VALUE ...`, or one `NAME VALUE`.
fn variables(text: &str) -> Result<Vec<(String, String)>, String> {
    let all = match pairs(text)? {
        Some(all) => all,
        None => {
            let (name, value) = text.split_once(char::is_whitespace).ok_or("ENV wants a name and a value")?;
            vec![(name.into(), value.trim().into())]
        }
    };
    if all.len() > INSTRUCTIONS_MAX {
        return Err(format!("ENV has more than {INSTRUCTIONS_MAX} variables"));
    }
    all.iter().try_for_each(|(name, _)| named(name))?;
    Ok(all)
}

/// Refuses what is no name of a variable.
fn named(name: &str) -> Result<(), String> {
    if is_variable(name) { Ok(()) } else { Err(format!("{} cannot be the name of a variable", shown(name))) }
}

fn unquoted(text: &str) -> Result<String, String> {
    match &words(text)?[..] {
        [one] => Ok(one.clone()),
        _ => Err("it wants one word".into()),
    }
}
