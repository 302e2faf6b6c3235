//! The start of the agent.

use pilothouse_proto::guest::v1::{StartAgentRequest, StartAgentResponse, event};
use tonic::Status;

use super::{check, guest::Guest};
use crate::{
    agent::Context,
    conversation_file, environment,
    process::{Launch, LaunchError},
    user::User,
};

/// Starts the agent. An error of code `NOT_FOUND`: there is no such program; `PERMISSION_DENIED`: it may not be executed, or is none.
pub(super) fn start(guest: &Guest, request: StartAgentRequest) -> Result<StartAgentResponse, Status> {
    check::command(&request.command)?;
    if !request.anew.is_empty() {
        check::command(&request.anew)?;
    }
    check::environment(&request.environment)?;
    let window = check::window(request.columns, request.rows)?;
    let directory = if request.directory.is_empty() { "/".into() } else { request.directory };
    let user = User::find(&request.user)
        .map_err(|error| Status::failed_precondition(format!("the agent cannot be started: {error}")))?;
    let environment = environment::of(&user, [&guest.variables(), &request.environment]);
    let home = environment.get("HOME").unwrap_or(&user.home);
    let anew = !request.anew.is_empty() && !conversation_file::is_there(&request.conversation_file, home.as_ref());
    let context = Context { environment: request.environment, directory, user: user.name.clone(), anew };
    let launch = Launch {
        command: if anew { request.anew } else { request.command },
        environment,
        directory: context.directory.clone(),
        terminal: Some(window),
        user: Some(user),
    };
    let events = guest.0.events.clone();
    let ended = move |exit| events.push(event::Event::AgentExited(exit));
    let started = guest.0.agent.start(context, || guest.launch(&launch, "agent"), ended);
    let agent = started.map_err(|error| not_started(&error))?;
    // Of a repeat, what the first call began.
    let anew = guest.0.agent.context().is_some_and(|context| context.anew);
    Ok(StartAgentResponse { agent: Some(agent), anew })
}

fn not_started(error: &LaunchError) -> Status {
    let why = format!("the agent cannot be started: {error}");
    match error.code {
        127 => Status::not_found(why),
        _ if error.not_executable => Status::permission_denied(why),
        _ => Status::failed_precondition(why),
    }
}
