//! Agent profiles as the API shows them.

use hostd_core::{
    keys::Key,
    profile::{Mark, Pin, Profile, Task},
    recipe::RecipeError,
};
use pilothouse_proto::hostd::v1::{AgentProfile, agent_profile};

/// What a profile that is not a host's own says of where it came from.
const SHIPPED: &str = "shipped";

pub(super) fn profile(name: &str, profile: Result<(&Profile, Option<&str>), &RecipeError>) -> AgentProfile {
    let (profile, source) = match profile {
        Ok(found) => found,
        Err(error) => {
            let (source, error) = (error.source_name.clone(), error.to_string());
            return AgentProfile { name: name.into(), source, error, ..AgentProfile::default() };
        }
    };
    let pins = |pins: &[Pin], between: &str| {
        pins.iter().map(|Pin { package, version }| format!("{package}{between}{version}")).collect()
    };
    let marks = |marks: &[Mark]| {
        let mark =
            |mark: &Mark| agent_profile::Mark { contains: mark.contains.clone(), means: mark.means.word().into() };
        marks.iter().map(mark).collect()
    };
    let keys = |keys: &[Key]| keys.iter().map(ToString::to_string).collect();
    AgentProfile {
        name: name.into(),
        source: source.unwrap_or(SHIPPED).into(),
        error: String::new(),
        about: profile.about.clone(),
        command: profile.command.clone(),
        packages: profile.packages.clone(),
        npm: pins(&profile.npm, "@"),
        python: pins(&profile.python, "=="),
        user: profile.user.clone(),
        sudo: profile.sudo,
        environment: profile.environment.clone().into_iter().collect(),
        egress: profile.egress.clone(),
        credentials: profile.credentials.clone(),
        memory_bytes: profile.memory.unwrap_or(0),
        files: profile.files.iter().map(|file| file.path.clone()).collect(),
        hooks: profile.hooks.clone(),
        resume: profile.resume.clone(),
        check: profile.check.as_ref().map(|check| check.command.clone()).unwrap_or_default(),
        task: match &profile.task {
            Task::Untold => "untold".into(),
            Task::Typed => "typed".into(),
            Task::Arguments(arguments) => arguments.join(" "),
        },
        titles: marks(&profile.titles),
        patterns: marks(&profile.patterns),
        allow: keys(&profile.answers.allow),
        deny: keys(&profile.answers.deny),
        after_rate_limit: profile.after_rate_limit.word().into(),
        conversation_file: profile.conversation_file.clone(),
        rehearse: profile.rehearse,
    }
}
