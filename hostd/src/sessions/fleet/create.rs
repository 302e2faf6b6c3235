//! From a request to a new session, or to the reason why not.

use hostd_core::{Effect, Session, capacity::Room, session::NewSession, text};
use ulid::Ulid;

use crate::{
    clock::now,
    environments::ReadyBuild,
    sessions::error::FleetError,
    store::{Machine, Record},
    vm::VmmInfo,
};

/// Longest title, in characters and in bytes.
const TITLE_MAX: (usize, usize) = (120, 480);
/// Longest part of a slug that comes from the title.
const SLUG_MAX: usize = 28;
/// How much of an id's random end makes a slug unique.
const SLUG_SUFFIX: usize = 4;
/// Longest task, and longest command altogether, in bytes: half of what Linux allows for one argument.
const TASK_MAX: usize = 64 << 10;
/// Most arguments of a command.
const ARGUMENTS_MAX: usize = 256;

/// What somebody asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// Name of the environment.
    pub environment: String,
    /// Empty: made from the task.
    pub title: String,
    /// May be empty.
    pub task: String,
    /// Empty: the environment's agent.
    pub command: Vec<String>,
    /// User name of whoever asks.
    pub owner: String,
}

/// Whether this host could run such a session at all.
pub(super) fn check_host(vmm: &VmmInfo, build: &ReadyBuild, room: &Room) -> Result<(), FleetError> {
    if !vmm.problems.is_empty() {
        return Err(FleetError::HostNotReady(vmm.problems.clone()));
    }
    let (needed, host) = (build.recipe.size.memory, room.memory_most());
    if needed > host {
        return Err(FleetError::TooLarge { needed, host });
    }
    Ok(())
}

/// The new session, and what is to be done first.
pub(super) fn session(order: Order, build: ReadyBuild) -> Result<(Record, Vec<Effect>), FleetError> {
    check(&order)?;
    let id = Ulid::new().to_string();
    let title = title(&order);
    let recipe = build.recipe;
    let repository = recipe.local_repository().map(str::to_owned);
    let also_read = recipe.also_read().to_vec();
    let new = NewSession {
        slug: slug(&id, &title),
        id,
        title,
        environment: order.environment,
        build: build.id,
        owner: order.owner,
        command: command(order.command, &recipe.agent, &order.task),
        directory: recipe.repository.map_or_else(|| "/".into(), |r| r.path),
        repository,
        size: recipe.size,
        typed_events: recipe.agent.typed_events,
        task: order.task,
    };
    let (session, effects) = Session::new(new, now());
    let machine = Machine {
        branch: build.branch,
        layers: build.layers,
        egress: recipe.egress,
        also_read,
        user: recipe.user,
        template: build.template,
        suspend_after: Some(recipe.suspend_after),
        cpu: recipe.cpu,
        ..Machine::default()
    };
    Ok((Record { session, machine }, effects))
}

/// From the title, and the id's random end to make it unique.
pub(super) fn slug(id: &str, title: &str) -> String {
    let suffix = id[id.len() - SLUG_SUFFIX..].to_ascii_lowercase();
    format!("{}-{suffix}", text::slug(title, SLUG_MAX))
}

fn command(own: Vec<String>, agent: &hostd_core::recipe::Agent, task: &str) -> Vec<String> {
    if !own.is_empty() {
        return own;
    }
    let task = Some(task.to_owned()).filter(|task| agent.task_argument && !task.is_empty());
    agent.command.iter().cloned().chain(task).collect()
}

fn title(order: &Order) -> String {
    let first_line = order.task.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let program = order.command.first().map_or(order.environment.as_str(), String::as_str);
    let text = [order.title.as_str(), first_line, program].into_iter().find(|t| !t.trim().is_empty());
    cut(text.unwrap_or("session"))
}

/// A title, cleaned and not too long.
pub(super) fn cut(title: &str) -> String {
    text::clean(&text::one_line(title), TITLE_MAX.1).chars().take(TITLE_MAX.0).collect()
}

fn check(order: &Order) -> Result<(), FleetError> {
    let bytes: usize = order.command.iter().map(String::len).sum();
    let problem = if order.task.len() > TASK_MAX {
        format!(
            "the task has {} bytes, at most {TASK_MAX} are possible; put the rest into a file of the repository",
            order.task.len()
        )
    } else if order.command.len() > ARGUMENTS_MAX || bytes > TASK_MAX {
        format!("the command is too long: at most {ARGUMENTS_MAX} arguments and {TASK_MAX} bytes are possible")
    } else if order.command.first().is_some_and(String::is_empty) {
        "the command's first word is empty; it must name a program".into()
    } else if order.task.contains('\0') || order.command.iter().any(|word| word.contains('\0')) {
        "neither task nor command may hold a NUL byte".into()
    } else {
        return Ok(());
    };
    Err(FleetError::Invalid(problem))
}
