//! `ls`: every session of every host, those that wait for a person first.

use jiff::Timestamp;
use pilothouse_proto::hostd::v1::Session;
use tui_core::text;

use super::{
    args::Ls,
    failure::{Failure, Outcome},
    fleet::Fleet,
    format::{age, plain},
    json, output,
    table::{Cell, Column, Tone, render},
};

/// Lists the sessions of all hosts.
pub(crate) async fn run(fleet: &Fleet, options: Ls) -> Outcome {
    let answers = fleet.sessions().await?;
    let mut sessions: Vec<(String, Session)> = Vec::new();
    let names: Vec<_> =
        answers.iter().map(|answer| (answer.it.0.clone(), answer.host.address.endpoint.place())).collect();
    for (host, answer) in tui_core::fleet::told_apart(&names).into_iter().zip(answers) {
        let (_, of_host) = answer.it;
        sessions.extend(of_host.into_iter().map(|session| (host.clone(), session)));
    }
    if options.json {
        sessions.sort_by(|(_, a), (_, b)| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        let all: Vec<_> =
            sessions.iter().map(|(host, session)| json::Session::new(host, session).with_refused(session)).collect();
        output::print_json(&all)?;
    } else {
        print(fleet, sessions)?;
    }
    Ok(0)
}

fn print(fleet: &Fleet, mut sessions: Vec<(String, Session)>) -> Result<(), Failure> {
    if sessions.is_empty() {
        output::note("no sessions; `pilothouse new --env NAME TASK` starts one");
        return Ok(());
    }
    sessions.sort_by_key(|(_, session)| (rank(&session.attention), session.created_at));
    let many = fleet.hosts().len() > 1;
    let mut columns = vec![
        // Never cut: people copy it.
        Column::fixed("SESSION"),
        Column::fixed("STATE"),
        Column::fixed("TURN"),
        Column::flexible("WHY", 20),
        Column::flexible("TITLE", 20).expendable(4),
        Column::flexible("ENVIRONMENT", 8).expendable(3),
        // How it is kept: whether its VM runs, is on disk, or is on its way.
        Column::fixed("VM").expendable(5),
        Column::fixed("AGE").expendable(2),
    ];
    let costs = sessions.iter().any(|(_, session)| session.usage.is_some());
    if costs {
        columns.extend([Column::fixed("TOKENS").expendable(7), Column::fixed("COST").expendable(6)]);
    }
    if many {
        columns.insert(5, Column::flexible("HOST", 8).expendable(1));
    }
    let now = Timestamp::now();
    let rows: Vec<_> = sessions.iter().map(|(host, session)| row(many.then_some(host), costs, session, now)).collect();
    output::print(&render(&columns, &rows, output::width(), output::colour()))
}

fn row(host: Option<&String>, costs: bool, session: &Session, now: Timestamp) -> Vec<Cell> {
    let mut row: Vec<Cell> = vec![
        plain(&session.slug).into(),
        Cell(plain(state(session)), state_tone(state(session))),
        Cell(plain(&session.attention), turn_tone(&session.attention)),
        why(session).into(),
        plain(&session.title).into(),
        plain(&session.environment).into(),
        Cell(plain(&session.lifecycle), state_tone(&session.lifecycle)),
        age(since(session), now).into(),
    ];
    if costs {
        row.extend(cost(session));
    }
    if let Some(host) = host {
        row.insert(5, plain(host).into());
    }
    row
}

/// Tokens and cost of the session's models; empty: there were no answers.
fn cost(session: &Session) -> [Cell; 2] {
    let Some(usage) = session.usage else { return Default::default() };
    let parts = [usage.input_tokens, usage.cache_read_tokens, usage.cache_write_tokens, usage.output_tokens];
    let all = parts.into_iter().fold(0, u64::saturating_add);
    [text::tokens(all).into(), text::dollars(usage.cost_micros).into()]
}

/// Why it is whose turn it is, and that its agent may wait for what it is not let through to.
fn why(session: &Session) -> String {
    let refused = match session.refused.len() {
        0 => return plain(&session.reason),
        1 => "1 destination refused".to_owned(),
        count => format!("{count} destinations refused"),
    };
    let reason = plain(&session.reason);
    if reason.is_empty() { refused } else { format!("{refused}; {reason}") }
}

/// A word for what the session's turn is about, however it is kept. Older hosts say no such word.
fn state(session: &Session) -> &str {
    match session.word.as_str() {
        "" if session.deleting => "deleting",
        "" if session.lifecycle == "running" => &session.activity,
        "" => &session.lifecycle,
        word => word,
    }
}

/// Since when it has been the turn of whoever has it.
fn since(session: &Session) -> i64 {
    if session.turn_since == 0 { session.updated_at } else { session.turn_since }
}

/// Tone of a session's state.
fn state_tone(state: &str) -> Tone {
    match state {
        "crashed" | "failed" => Tone::Bad,
        "done" => Tone::Good,
        "stopped" | "queued" | "deleting" | "suspended" => Tone::Dim,
        _ => Tone::Plain,
    }
}

/// Tone of a turn.
fn turn_tone(turn: &str) -> Tone {
    match turn {
        "you" => Tone::Warn,
        "nobody" => Tone::Dim,
        _ => Tone::Plain,
    }
}

fn rank(attention: &str) -> usize {
    ["you", "checks", "other", "agent", "nobody"].iter().position(|turn| *turn == attention).unwrap_or(5)
}
