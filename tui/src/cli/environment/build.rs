//! `env build`: builds an environment and shows how it goes.

use std::{
    io::{self, IsTerminal, Read},
    path::Path,
};

use pilothouse_proto::hostd::v1::{BuildDone, BuildProgress, BuildRequest, build_progress::Progress};
use tonic::Streaming;

use crate::cli::{
    failure::{Failure, Outcome, USAGE},
    fleet::{Fleet, Host},
    format::{micros, plain},
    json, output,
    table::{Tone, truncate},
};

/// Largest recipe read, in bytes.
const RECIPE_MAX: u64 = 1 << 20;
/// Lines of output kept for the case that it fails.
const KEPT_LINES: usize = 200;
/// Exit code after Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;

/// Builds what `what` names: a recipe's file or a known environment.
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
    let progress = host.environments().build(request).await.map_err(|status| host.failure(&status))?.into_inner();
    let mut screen = Screen::new();
    let done = tokio::select! {
        done = follow(host, progress, &mut screen) => done?,
        _ = tokio::signal::ctrl_c() => {
            screen.clear();
            output::note("the build goes on; `pilothouse env ls` shows how it ends");
            return Ok(INTERRUPTED);
        }
    };
    let Some(environment) = done.environment else {
        return Err(Failure::failed("the host did not say what it built"));
    };
    if json {
        output::print_json(&json::Environment::new(&host.name().await, &environment))?;
    } else {
        let took = micros(u64::try_from(screen.started.elapsed().as_micros()).unwrap_or(u64::MAX));
        let how = if done.cached { "was built before".into() } else { format!("built in {took}") };
        output::print(&format!("{} is ready ({how})\n", plain(&environment.name)))?;
    }
    Ok(0)
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
    mut progress: Streaming<BuildProgress>,
    screen: &mut Screen,
) -> Result<BuildDone, Failure> {
    loop {
        let message = match progress.message().await {
            Ok(Some(message)) => message,
            Ok(None) => return Err(Failure::failed("the host ended the build without a word")),
            Err(status) => {
                let failure = host.failure(&status);
                screen.failed(failure.exit != USAGE && status.message().lines().count() <= 1);
                return Err(failure);
            }
        };
        match message.progress {
            Some(Progress::Step(step)) => screen.step(step.number, step.count, &plain(&step.name)),
            Some(Progress::Output(line)) => screen.output(plain(&line)),
            Some(Progress::Done(done)) => {
                screen.clear();
                return Ok(done);
            }
            None => {}
        }
    }
}

/// Progress on stderr: one living line on a terminal, plain lines elsewhere.
struct Screen {
    live: bool,
    step: String,
    kept: std::collections::VecDeque<String>,
    started: std::time::Instant,
}

impl Screen {
    fn new() -> Self {
        let live = io::stderr().is_terminal() && std::env::var_os("TERM").is_some_and(|term| term != "dumb");
        Self { live, step: String::new(), kept: Default::default(), started: std::time::Instant::now() }
    }

    fn step(&mut self, number: u32, count: u32, name: &str) {
        self.clear();
        self.kept.clear();
        self.step = format!("[{number}/{count}] {name}");
        // On a terminal too, steps stay above the living line.
        output::note(&self.step);
    }

    fn output(&mut self, line: String) {
        if self.live {
            let width = output::stderr_width().saturating_sub(1);
            let line = Tone::Dim.paint(&truncate(&format!("      {line}"), width), output::colour());
            output::write_stderr(&format!("\r\x1b[K{line}"));
        } else {
            output::note(&format!("      {line}"));
        }
        if self.kept.len() == KEPT_LINES {
            self.kept.pop_front();
        }
        self.kept.push_back(line);
    }

    /// Shows what the failed step said, where it was not to be seen yet and the host does not repeat it.
    fn failed(&mut self, show: bool) {
        self.clear();
        if self.live && show {
            self.kept.iter().for_each(|line| output::note(&format!("      {line}")));
        }
    }

    fn clear(&self) {
        if self.live {
            output::write_stderr("\r\x1b[K");
        }
    }
}
