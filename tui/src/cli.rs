//! The command line: one module for each command. What they share is in `args`, `failure`, `fleet`, `output`, `table`.

mod agent;
mod allow;
mod answer;
mod args;
mod attach;
mod budget;
mod bundle;
mod checkpoint;
mod checks;
mod complete;
mod cp;
mod credential;
mod diff;
mod environment;
mod events;
mod exec;
mod explain;
mod facts;
pub(crate) mod failure;
mod fleet;
mod fork;
mod format;
mod forward;
mod git_remote;
mod host;
mod json;
mod list;
mod log;
mod new;
mod open;
mod output;
mod remove;
mod repo;
mod rescue;
mod restart;
mod resume;
mod review;
mod send;
mod show;
mod suspend;
mod table;
mod terminal;
mod triage;
mod usage;
mod wait;
mod waiting;

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
};

use clap::{CommandFactory as _, Parser};

use crate::client::Hosts;
use args::{Arguments, Command, HostCommand};
use failure::{Failure, Outcome};
use fleet::Fleet;

/// Parses the arguments, runs the command or the console, reports what went wrong.
pub(crate) fn main() -> ExitCode {
    if complete::answered(Arguments::command) {
        return ExitCode::SUCCESS;
    }
    // Usage errors and --help end here, with exit code 2 and 0.
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Of what was asked for, like --help, it matters whether it arrived.
            if let Err(broken) = error.print()
                && !error.use_stderr()
            {
                return output::broken(&broken).report();
            }
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    speak_plainly_when_broken();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::failed(format!("cannot start: {error}")).report(),
    };
    let outcome = runtime.block_on(run(arguments));
    // A thread that still waits for a key must not keep us.
    runtime.shutdown_background();
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.report(),
    }
}

async fn run(arguments: Arguments) -> Outcome {
    if let Some(Command::Completions { shell }) = arguments.command {
        return complete::script(shell);
    }
    // Its address names the host.
    if let Some(Command::GitRemote { address, .. }) = &arguments.command {
        return git_remote::run(address).await;
    }
    // These are about hosts that are not there yet, or not any more.
    if let Some(Command::Host(HostCommand::Add { .. } | HostCommand::Rm { .. })) = &arguments.command
        && let Some(Command::Host(command)) = arguments.command
    {
        return host::edit(command).await;
    }
    let default = std::env::var_os("PILOTHOUSE_HOST").map(|host| host.to_string_lossy().into_owned());
    let hosts = Hosts::load()?.choose(&arguments.hosts, default.as_deref())?;
    let Some(command) = arguments.command else {
        return console(hosts).await;
    };
    let fleet = Fleet::new(hosts);
    match command {
        Command::New(options) => new::run(&fleet, options).await,
        Command::Ls(options) => list::run(&fleet, options).await,
        Command::Show(options) => show::run(&fleet, options).await,
        Command::Attach(options) => attach::run(&fleet, options).await,
        Command::Exec(options) => exec::run(&fleet, options).await,
        Command::Open(options) => open::run(&fleet, options).await,
        Command::Forward(options) => forward::run(&fleet, options).await,
        Command::Cp(options) => cp::run(&fleet, options).await,
        Command::Send(options) => send::run(&fleet, options).await,
        Command::Allow(options) => allow::run(&fleet, options).await,
        Command::Answer(options) => answer::run(&fleet, options).await,
        Command::Log(options) => log::run(&fleet, options).await,
        Command::Events(options) => events::run(&fleet, options).await,
        Command::Rescue(options) => rescue::run(&fleet, options).await,
        Command::Bundle(options) => bundle::run(&fleet, options).await,
        Command::Triage(options) => triage::run(&fleet, options).await,
        Command::Explain(options) => explain::run(&fleet, options).await,
        Command::Rm(options) => remove::run(&fleet, options).await,
        Command::Wait(options) => wait::run(&fleet, options).await,
        Command::Restart(options) => restart::run(&fleet, options).await,
        Command::Checkpoint(options) => checkpoint::run(&fleet, options).await,
        Command::Suspend(options) => suspend::run(&fleet, options).await,
        Command::Resume(options) => resume::run(&fleet, options).await,
        Command::Diff(options) => diff::run(&fleet, options).await,
        Command::Review(command) => review::run(&fleet, command).await,
        Command::Checks(command) => checks::run(&fleet, command).await,
        Command::Repo(command) => repo::run(&fleet, command).await,
        Command::Fork(options) => fork::run(&fleet, options).await,
        Command::Host(command) => host::run(&fleet, command).await,
        Command::Credential(command) => credential::run(&fleet, command).await,
        Command::Usage(options) => usage::run(&fleet, options).await,
        Command::Budget(options) => budget::run(&fleet, options).await,
        Command::Env(command) => environment::run(&fleet, command).await,
        Command::Agent(command) => agent::run(&fleet, command).await,
        Command::GitRemote { address, .. } => git_remote::run(&address).await,
        Command::Completions { shell } => complete::script(shell),
    }
}

async fn console(hosts: Vec<crate::client::HostAddress>) -> Outcome {
    if !(io::stdin().is_terminal() && output::is_terminal()) {
        let hint = "`pilothouse ls` lists the sessions, `pilothouse --help` the other commands";
        return Err(Failure::usage("the console needs a terminal on stdin and stdout").hint(hint));
    }
    match crate::console::run(hosts).await {
        Ok(()) => Ok(0),
        Err(error) => Err(Failure::failed(format!("{error:#}"))),
    }
}

/// A panic is our mistake; the user gets their terminal back and a line that can be reported.
fn speak_plainly_when_broken() {
    std::panic::set_hook(Box::new(|panic| {
        if pilothouse_terminal::guard::is_guarded() {
            return;
        }
        terminal::restore();
        output::note(&format!("error: pilothouse broke, which is its own mistake: {panic}"));
    }));
}
