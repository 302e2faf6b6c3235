//! `agent try`: an agent in a VM of its own, which is asked one thing, looked at from outside, and gone again.

mod guest;
mod terminal;
mod words;

use std::time::{Duration, Instant};

use pilothouse_proto::hostd::v1::{
    AgentProfile, Build, BuildRequest, CheckCredentialRequest, CreateRequest, DeleteRequest, Environment,
    ListCredentialsRequest, Session,
};
use tokio::time::timeout;

use super::find;
use crate::cli::{
    args::Try,
    credential::meaning,
    environment::build::{self, INTERRUPTED},
    failure::{Failure, Outcome},
    fleet::{Fleet, Host},
    format::plain,
    json::{self, Held, Reached},
    output,
    terminal::{Signals, exit_code_of},
    wait, waiting,
};
use terminal::Seen;

/// Longest wait for the VM.
const PATIENCE: Duration = Duration::from_secs(300);
/// What the agent is asked.
const QUESTION: &str = "Write the words amber and falcon together as one word, in capital letters. Answer with that word alone, without tools.";
/// What no screen has before the model has answered: the question has it in no form.
const ANSWER: &str = "AMBERFALCON";
/// What a profile says of an agent that is not told its task, and so is asked nothing.
const UNTOLD: &str = "untold";

/// Tries the profile, and says what it found.
pub(super) async fn run(fleet: &Fleet, options: Try) -> Outcome {
    let found = find(fleet, &options.name).await?;
    let (host, profile) = (found.host, &found.it);
    if !profile.error.is_empty() {
        return Err(Failure::failed(plain(&profile.error)));
    }
    let environment = match &options.env {
        Some(name) => known(fleet, profile, name).await?,
        None => match build::build(host, recipe(profile, &options.debian)).await? {
            Some(built) => built.environment,
            None => return Ok(INTERRUPTED),
        },
    };
    let mut signals = Signals::catch().map_err(|error| Failure::failed(format!("signals: {error}")))?;
    let asks = profile.task != UNTOLD;
    let task = if asks { QUESTION.to_owned() } else { String::new() };
    let title = format!("try {}", profile.name);
    let order = CreateRequest { environment: environment.name.clone(), title, task, ..Default::default() };
    let began = Instant::now();
    let created = waiting::shown("starting the session", host.sessions().create(order)).await;
    let session = created.map_err(|status| host.failure(&status))?.into_inner();
    let looked = tokio::select! {
        looked = look(host, profile, &session, began) => Ok(looked),
        signal = signals.next() => Err(signal),
    };
    delete(host, &session).await?;
    let looked = match looked {
        Ok(looked) => looked,
        Err(signal) => return Ok(exit_code_of(signal)),
    };
    let tried = json::Tried {
        profile: &profile.name,
        host: &host.name().await,
        environment: &environment.name,
        starts: looked.seen.starts(),
        version: looked.version.as_deref(),
        first_output_ms: looked.seen.first_output.map(millis),
        error: looked.seen.ended.as_deref(),
        screen: &looked.seen.screen,
        answered: asks.then_some(looked.seen.answered.is_some()),
        answer_ms: looked.seen.answered.map(millis),
        stands: looked.seen.stands.as_deref().filter(|_| looked.seen.answered.is_none()),
        reaches: &looked.reaches,
        credentials: &looked.credentials,
    };
    if options.json {
        output::print_json(&tried)?;
    } else {
        let stays = options.env.is_none().then(|| environment.build.as_ref().map_or(0, size));
        output::print(&words::of(&tried, stays))?;
    }
    Ok(u8::from(!tried.starts || tried.answered == Some(false)))
}

fn recipe(profile: &AgentProfile, debian: &str) -> BuildRequest {
    let name = &profile.name;
    let recipe = format!(
        "name = \"try-{name}\"\nbase = {{ debian = \"{debian}\" }}\nagent = \"{name}\"\nsize = {{ disk = \"4GiB\" }}\n"
    );
    BuildRequest { name: String::new(), recipe, source: "agent try".into() }
}

/// The environment of this name, which must be one of the profile's program.
async fn known(fleet: &Fleet, profile: &AgentProfile, name: &str) -> Result<Environment, Failure> {
    let environment = fleet.environment(name).await?.it;
    if environment.agent.first() == profile.command.first() {
        return Ok(environment);
    }
    let agent = plain(environment.agent.first().map_or("nothing", String::as_str));
    let (name, profile) = (plain(name), plain(&profile.name));
    Err(Failure::usage(format!("the agent of the environment `{name}` is {agent}, not {profile}")))
}

/// Bytes of a build on disk, without the base, which others may share.
fn size(build: &Build) -> u64 {
    build.size_bytes.saturating_add(build.template_bytes)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What was found while there was a VM.
#[derive(Default)]
struct Looked {
    seen: Seen,
    version: Option<String>,
    reaches: Vec<Reached>,
    credentials: Vec<Held>,
}

/// Looks at a session until its agent has answered, or will not.
async fn look(host: &Host, profile: &AgentProfile, session: &Session, began: Instant) -> Looked {
    let mut looked = Looked { credentials: held(host, profile).await, ..Looked::default() };
    let up = timeout(PATIENCE, waiting::shown("waiting for the VM", wait::until_running(host, &session.id))).await;
    if up.is_err() {
        looked.seen.ended = Some(format!("its VM did not run within {} s", PATIENCE.as_secs()));
        return looked;
    }
    let answer = (profile.task != UNTOLD).then_some(ANSWER);
    looked.seen = terminal::watch(host, &session.id, began, answer).await;
    if looked.seen.starts() {
        let facts = async {
            tokio::join!(
                guest::version(host, &session.id, &profile.check),
                guest::ways(host, &session.id, &profile.egress)
            )
        };
        (looked.version, looked.reaches) = waiting::shown("asking for its version and a way to its model", facts).await;
    }
    looked
}

/// Deletes the session, whatever came of it.
async fn delete(host: &Host, session: &Session) -> Result<(), Failure> {
    let request = DeleteRequest { id: session.id.clone() };
    let deleted = waiting::shown("deleting the session", host.sessions().delete(request)).await;
    let left = |status| host.failure(&status).hint(format!("`pilothouse rm {}` deletes its session", session.slug));
    deleted.map(drop).map_err(left)
}

/// Whether the host has each of the profile's credentials, and whether the credential's own hosts take it.
async fn held(host: &Host, profile: &AgentProfile) -> Vec<Held> {
    let mut all = Vec::new();
    for name in &profile.credentials {
        let asked = format!("asking whether the credential {} is taken", plain(name));
        all.push(waiting::shown(&asked, taken(host, name)).await);
    }
    all
}

async fn taken(host: &Host, name: &str) -> Held {
    let held = |held, accepted, why: Option<String>| Held { name: name.to_owned(), held, accepted, why };
    let listed = match host.ask(host.credentials().list(ListCredentialsRequest {})).await {
        Ok(listed) => listed,
        Err(failure) => return held(false, None, Some(failure.message)),
    };
    match listed.credentials.iter().find(|credential| credential.name == name) {
        None => {
            let why = format!("the host has none of this name; describe it in {}", plain(&listed.path));
            return held(false, None, Some(why));
        }
        Some(found) if !found.readable => return held(false, None, Some(plain(&found.problem))),
        Some(_) => {}
    }
    match host.ask(host.credentials().check(CheckCredentialRequest { name: name.to_owned() })).await {
        Ok(checked) => {
            let refusal = checked.answers.iter().find(|it| !meaning(it).1);
            let why = refusal.map(|it| format!("{} {}", plain(&it.host), meaning(it).0));
            held(true, (!checked.answers.is_empty()).then_some(why.is_none()), why)
        }
        Err(failure) => held(true, None, Some(failure.message)),
    }
}
