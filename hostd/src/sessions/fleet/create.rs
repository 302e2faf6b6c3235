//! From a request to a new session, or to the reason why not.

use hostd_core::{
    Effect, Session,
    capacity::Room,
    profile::{Profile, SESSION_ID, TASK, Task, session_id, with_session_id},
    recipe,
    session::{Message, NewSession},
    text,
    usage::dollars,
};
use ulid::Ulid;

use crate::{
    clock::now,
    environments::ReadyBuild,
    sessions::error::FleetError,
    store::{Agent, Machine, Record},
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
/// Greatest budget, in millionths of a US dollar.
const BUDGET_MAX: u64 = 1_000_000_000_000;
/// Most arguments of a command.
const ARGUMENTS_MAX: usize = 256;

/// A session that somebody asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreateSession {
    /// Name of the environment.
    pub environment: String,
    /// Title for people; empty: it is made from the task.
    pub title: String,
    /// Task that the agent is given; may be empty.
    pub task: String,
    /// Command of the agent; empty: the environment's agent.
    pub command: Vec<String>,
    /// User name of whoever asks.
    pub owner: String,
    /// Amount in millionths of a US dollar that models may cost it; 0: any; None: as the environment's recipe says.
    pub budget: Option<u64>,
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
pub(super) fn session(order: CreateSession, build: ReadyBuild) -> Result<(Record, Vec<Effect>), FleetError> {
    check(&order)?;
    let id = Ulid::new().to_string();
    let title = title(&order);
    let recipe = build.recipe;
    // Who brings a command of their own brings another agent.
    let profile = recipe.profile.clone().filter(|_| order.command.is_empty());
    let after_rate_limit = profile.as_ref().map(|profile| profile.after_rate_limit).unwrap_or_default();
    let hooks = profile.as_ref().is_some_and(|profile| !profile.hooks.is_empty());
    let answers = profile.as_ref().map(|profile| profile.answers.clone()).unwrap_or_default();
    let agent = profile.map(|profile| agent(*profile, &recipe.agent, &id));
    let conversation = agent.as_ref().map_or("", |agent| &agent.conversation);
    let first = first_message(&order, &recipe.agent)?;
    let repository = recipe.local_repository().map(str::to_owned);
    let also_read = recipe.also_read().to_vec();
    let pull_requests = recipe.repository.as_ref().map(|repository| repository.pull_requests).unwrap_or_default();
    let new = NewSession {
        slug: slug(&id, &title),
        id,
        title,
        environment: order.environment,
        build: build.id,
        owner: order.owner,
        command: command(order.command, &recipe.agent, &order.task, conversation),
        directory: recipe.directory().to_owned(),
        repository,
        size: recipe.size,
        typed_events: recipe.agent.typed_events,
        answers,
        task: order.task,
    };
    let (mut session, effects) = Session::new(new, now());
    session.after_rate_limit = after_rate_limit;
    session.hooks = hooks;
    session.restart = recipe.restart;
    session.budget = order.budget.or(recipe.budget).filter(|amount| *amount > 0);
    first.into_iter().for_each(|message| session.post(message));
    let machine = Machine {
        branch: build.branch,
        pull_requests,
        layers: build.layers,
        egress: recipe.egress,
        credentials: recipe.credentials,
        also_read,
        user: recipe.user,
        environment: recipe.environment,
        agent: agent.map(Box::new),
        template: build.template,
        suspend_after: Some(recipe.suspend_after),
        checkpoint: recipe.checkpoint,
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

/// What is kept of the profile of a session's agent, which is started so.
fn agent(profile: Profile, agent: &recipe::Agent, id: &str) -> Agent {
    let given = agent.command.iter().any(|word| word.contains(SESSION_ID));
    let conversation = given.then(|| session_id(id)).flatten().unwrap_or_default();
    Agent { profile: Profile { files: vec![], task: agent.task.clone(), ..profile }, conversation }
}

/// The task, where it is typed; None: it is not.
fn first_message(order: &CreateSession, agent: &recipe::Agent) -> Result<Option<Message>, FleetError> {
    let typed = agent.task == Task::Typed && order.command.is_empty() && !order.task.is_empty();
    if typed && order.task.len() > Session::MESSAGE {
        let (length, most) = (order.task.len(), Session::MESSAGE);
        return Err(FleetError::Invalid(format!(
            "the task has {length} bytes, at most {most} can be typed to this agent; put the rest into a file of the repository"
        )));
    }
    Ok(typed.then(|| Message::line(order.task.clone())))
}

/// The agent's command: the order's own, or the environment's, with the id of its conversation and the task.
fn command(own: Vec<String>, agent: &recipe::Agent, task: &str, conversation: &str) -> Vec<String> {
    if !own.is_empty() {
        return own;
    }
    let told = match &agent.task {
        Task::Arguments(arguments) if !task.is_empty() => &arguments[..],
        _ => &[],
    };
    let command =
        if conversation.is_empty() { agent.command.clone() } else { with_session_id(&agent.command, conversation) };
    command.into_iter().chain(told.iter().map(|word| word.replace(TASK, task))).collect()
}

fn title(order: &CreateSession) -> String {
    let first_line = order.task.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let program = order.command.first().map_or(order.environment.as_str(), String::as_str);
    let text = [order.title.as_str(), first_line, program].into_iter().find(|t| !t.trim().is_empty());
    cut(text.unwrap_or("session"))
}

/// A title, cleaned and not too long.
pub(super) fn cut(title: &str) -> String {
    text::clean(&text::one_line(title), TITLE_MAX.1).chars().take(TITLE_MAX.0).collect()
}

/// Whether a budget of so many millionths of a US dollar is possible.
pub(super) fn check_budget(micros: u64) -> Result<(), FleetError> {
    if micros <= BUDGET_MAX {
        return Ok(());
    }
    Err(FleetError::Invalid(format!("a budget is at most {}", dollars(BUDGET_MAX))))
}

fn check(order: &CreateSession) -> Result<(), FleetError> {
    check_budget(order.budget.unwrap_or_default())?;
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
