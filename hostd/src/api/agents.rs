//! Agent profiles as the API shows them.

use hostd_core::{
    profile::{Pin, Profile, Task},
    recipe::RecipeError,
};
use pilothouse_proto::hostd::v1::AgentProfile;

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
    }
}
