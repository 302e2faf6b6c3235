//! `show`: all there is to know of one session.

use jiff::Timestamp;
use pilothouse_proto::hostd::v1::{Event, Permission, Report, Session};
use tui_core::text::dollars;

use super::{
    allow,
    args::Show,
    checkpoint, explain,
    facts::{Facts, lines, when},
    failure::Outcome,
    fleet::Fleet,
    format::{age, bytes, micros, plain, plain_lines},
    json, output,
};
use crate::{actor, usage};

/// Shows all there is to know of one session.
pub(crate) async fn run(fleet: &Fleet, options: Show) -> Outcome {
    let found = fleet.session(&options.id).await?;
    let host = found.host.name().await;
    if options.json {
        output::print_json(&json::Session::new(&host, &found.it).with_refused(&found.it).with_allowed(&found.it))?;
    } else {
        output::print(&lines(&facts(&host, &found.it), output::colour()))?;
    }
    Ok(0)
}

/// What the agent does; empty for one that never ran, or that was cut off at work.
fn activity(s: &Session) -> String {
    let gone = matches!(s.lifecycle.as_str(), "queued" | "starting" | "stopped" | "crashed");
    if gone && s.activity == "working" { String::new() } else { plain(&s.activity) }
}

/// Words about what the session's guest was last seen to use.
fn guest(s: &Session) -> String {
    let of =
        |what, free: u64, total: u64| (total > 0).then(|| format!("{what} {} free of {}", bytes(free), bytes(total)));
    let memory = of("memory", s.guest_memory_available_bytes, s.guest_memory_bytes);
    let disk = of("disk", s.guest_disk_free_bytes, s.guest_disk_bytes);
    [memory, disk].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Words for what was done last to a session, and by whom.
fn last_done(event: &Event) -> String {
    let who = actor::words(event.actor.as_ref());
    format!("{who}, {} ago: {} {}", age(event.at, Timestamp::now()), plain(&event.what), plain(&event.text))
}

/// The report that decides, and whose it is.
fn says(report: &Report) -> String {
    format!("{}, {} ago by {}", explain::words(report), age(report.at, Timestamp::now()), plain(&report.source))
}

/// What is to be allowed, and the keys that answer it.
fn permission(asked: &Permission) -> String {
    let keys = |does: &str, keys: &[String]| match keys {
        [] => format!("no key {does}"),
        keys => format!("{} {does}", plain(&keys.join(" "))),
    };
    let (allow, deny) = (keys("allows", &asked.allow), keys("denies", &asked.deny));
    format!("{} ({allow}, {deny}; `pilothouse answer`)", plain(&asked.text))
}

fn facts(host: &str, s: &Session) -> Facts {
    let deleting = if s.deleting { ", is being deleted" } else { "" };
    let memory = match s.used_bytes {
        0 if s.suspended_bytes > 0 => {
            format!("{} ({} on disk while suspended)", bytes(s.memory_bytes), bytes(s.suspended_bytes))
        }
        0 => bytes(s.memory_bytes),
        used => format!("{} (takes {} of the host, QEMU's own included)", bytes(s.memory_bytes), bytes(used)),
    };
    vec![
        ("session", plain(&s.slug)),
        ("id", plain(&s.id)),
        ("title", plain(&s.title)),
        ("fork of", plain(&s.forked_from)),
        ("host", plain(host)),
        ("owner", plain(&s.owner)),
        ("turn", format!("{}: {}", plain(&s.attention), plain(&s.reason))),
        ("since", if s.turn_since == 0 { String::new() } else { when(s.turn_since) }),
        ("vm", format!("{}{deleting}", plain(&s.lifecycle))),
        ("agent is", activity(s)),
        ("says", s.report.as_ref().map(says).unwrap_or_default()),
        ("its parts", s.records.iter().map(explain::words).collect::<Vec<_>>().join("\n")),
        ("notice", plain(&s.notice)),
        ("hooks", plain(&s.missing_hooks)),
        ("permission", s.permission.as_ref().map(permission).unwrap_or_default()),
        ("choices", s.choices.iter().map(|choice| plain(choice)).collect::<Vec<_>>().join("\n")),
        ("cause", plain_lines(&s.cause)),
        ("its console", s.cause_lines.iter().map(|line| plain(line)).collect::<Vec<_>>().join("\n")),
        ("task", plain_lines(&s.task)),
        ("environment", format!("{} (build {})", plain(&s.environment), plain(&s.build))),
        ("agent", s.command.iter().map(|word| plain(word)).collect::<Vec<_>>().join(" ")),
        ("repository", plain(&s.repository)),
        ("its clone", plain_lines(&s.repository_state)),
        ("may push to", plain(&s.branch_prefix)),
        ("size", format!("{} {}, {memory}", s.vcpus, if s.vcpus == 1 { "vcpu" } else { "vcpus" })),
        ("guest", guest(s)),
        ("checkpoints", s.checkpoints.iter().rev().map(checkpoint::words).collect::<Vec<_>>().join("\n")),
        ("on disk", if s.host_disk_bytes == 0 { String::new() } else { bytes(s.host_disk_bytes) }),
        ("budget", s.budget_micros.map(dollars).unwrap_or_default()),
        ("models", usage::of(s.usage).words()),
        ("starts", s.generation.to_string()),
        (
            "last start",
            s.phases.iter().map(|p| format!("{} {}", plain(&p.name), micros(p.micros))).collect::<Vec<_>>().join(", "),
        ),
        ("allowed", allow::allowed(s)),
        ("refused", allow::all_refused(s)),
        ("viewers", s.viewers.to_string()),
        ("last done by", s.last_event.as_ref().map(last_done).unwrap_or_default()),
        ("created", when(s.created_at)),
        ("changed", when(s.updated_at)),
    ]
}
