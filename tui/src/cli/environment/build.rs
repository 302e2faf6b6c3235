//! `env build`: builds an environment and shows how it goes.

mod progress;

use std::{
    io::{self, Read},
    path::Path,
};

use pilothouse_proto::hostd::v1::{
    BuildDone, BuildProgress, BuildRequest, Environment, build_progress::Progress as Part,
};
use tokio::time::interval;
use tonic::Streaming;

use crate::cli::{
    failure::{Failure, Outcome},
    fleet::{Fleet, Host},
    format::plain,
    json, output, waiting,
};
use progress::Progress;

/// Largest recipe that is read, in bytes.
const RECIPE_MAX: u64 = 1 << 20;
/// Exit code after Ctrl-C, as shells have it.
pub(crate) const INTERRUPTED: u8 = 130;

/// Builds the environment that `what` names: a recipe's file or a known environment.
pub(crate) async fn run(fleet: &Fleet, what: &str, json: bool) -> Outcome {
    let (host, request) = if is_file(what) {
        (fleet.only("build")?, from_file(what)?)
    } else {
        let host = match fleet.hosts() {
            [host] => host,
            _ => fleet.environment(what).await?.host,
        };
        (host, BuildRequest { name: what.to_owned(), ..Default::default() })
    };
    let Some(Built { environment, cached, took }) = build(host, request).await? else { return Ok(INTERRUPTED) };
    if json {
        output::print_json(&json::Environment::new(&host.name().await, &environment))?;
    } else {
        let how = if cached { "was built before".into() } else { format!("built in {took}") };
        output::print(&format!("{} is ready ({how})\n", plain(&environment.name)))?;
    }
    Ok(0)
}

/// A build that is done.
pub(crate) struct Built {
    /// The environment as it is now.
    pub(crate) environment: Environment,
    /// Whether nothing had to be done.
    pub(crate) cached: bool,
    /// How long it took, in words.
    pub(crate) took: String,
}

/// Builds an environment and shows how it goes. None: the user has stopped watching, which was told.
pub(crate) async fn build(host: &Host, request: BuildRequest) -> Result<Option<Built>, Failure> {
    let mut environments = host.environments();
    let parts = waiting::shown("waiting for the host's answer", environments.build(request)).await;
    let parts = parts.map_err(|status| host.failure(&status))?.into_inner();
    let mut progress = Progress::new();
    let done = tokio::select! {
        done = follow(host, parts, &mut progress) => done?,
        _ = tokio::signal::ctrl_c() => {
            progress.clear();
            output::note("the build goes on; `pilothouse env ls` shows how it ends");
            return Ok(None);
        }
    };
    let BuildDone { environment, cached } = done;
    let environment = environment.ok_or_else(|| Failure::failed("the host did not say what it built"))?;
    Ok(Some(Built { environment, cached, took: progress.took() }))
}

fn is_file(what: &str) -> bool {
    what.contains('/') || Path::new(what).extension().is_some_and(|extension| extension == "toml")
}

fn from_file(path: &str) -> Result<BuildRequest, Failure> {
    let unreadable = |error: io::Error| Failure::usage(format!("cannot read {path}: {error}"));
    let mut recipe = String::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(RECIPE_MAX + 1).read_to_string(&mut recipe).map_err(unreadable)?;
    if recipe.len() as u64 > RECIPE_MAX {
        return Err(Failure::usage(format!("{path} is larger than {RECIPE_MAX} bytes: no recipe")));
    }
    Ok(BuildRequest { name: String::new(), recipe, source: path.to_owned() })
}

async fn follow(
    host: &Host,
    mut parts: Streaming<BuildProgress>,
    progress: &mut Progress,
) -> Result<BuildDone, Failure> {
    let mut ticks = interval(waiting::TICK);
    loop {
        let message = tokio::select! {
            message = parts.message() => message,
            _ = ticks.tick() => {
                progress.tick();
                continue;
            }
        };
        let part = match message {
            Ok(Some(message)) => message.progress,
            Ok(None) => return Err(progress.failed(Failure::failed("the host ended the build without a word"))),
            Err(status) => return Err(progress.failed(host.failure(&status))),
        };
        match part {
            Some(Part::Step(step)) => progress.step(step.number, step.count, &plain(&step.name)),
            Some(Part::Output(line)) => progress.output(plain(&line)),
            Some(Part::Passing(line)) => progress.passing(plain(&line)),
            Some(Part::Done(done)) => {
                progress.clear();
                return Ok(done);
            }
            None => {}
        }
    }
}
