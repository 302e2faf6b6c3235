//! `new`: starts a session.

use pilothouse_proto::hostd::v1::CreateRequest;

use super::{
    args::New,
    failure::{Failure, Outcome},
    fleet::{Fleet, Host},
    format::plain,
    json, output, waiting,
};

/// Starts it on the host meant, or the one that has the environment.
pub(crate) async fn run(fleet: &Fleet, options: New) -> Outcome {
    if options.command.first().is_some_and(String::is_empty) {
        return Err(Failure::usage("the command after -- is empty"));
    }
    let host = place(fleet, &options.env).await?;
    let request = CreateRequest {
        environment: options.env,
        title: options.title.unwrap_or_default(),
        task: options.task.join(" "),
        command: options.command,
        budget_micros: options.budget,
    };
    let mut sessions = host.sessions();
    let created = waiting::shown("starting the session", sessions.create(request)).await;
    let created = created.map_err(|status| host.failure(&status))?.into_inner();
    if options.json {
        output::print_json(&json::Session::new(&host.name().await, &created))?;
    } else {
        output::print(&format!("{}\n", plain(&created.id)))?;
        if output::is_terminal() {
            let slug = plain(&created.slug);
            output::note(&format!("{slug} starts; `pilothouse attach {slug}` brings its terminal here"));
        }
    }
    Ok(0)
}

/// Finds the host for a new session. With one host, that one says what is wrong with the environment; with several, the
/// environment decides.
async fn place<'a>(fleet: &'a Fleet, environment: &str) -> Result<&'a Host, Failure> {
    match fleet.hosts() {
        [host] => Ok(host),
        _ => Ok(fleet.environment(environment).await?.host),
    }
}
