//! hostd's log, on stderr: how it is written, and how many warnings and errors it has.
//!
//! What concerns a session is said inside a span with the session's id and slug, and what is done on somebody's behalf inside one
//! with the actor, whatever module says it: see `of_session` and `on_behalf`.

use std::{io::IsTerminal as _, sync::LazyLock};

use hostd_core::{Actor, text};

use prometheus_client::metrics::{counter::Counter, family::Family};
use tracing::{Event, Level, Span, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{LevelFilter, ParseError},
    layer::{Context, SubscriberExt as _},
    util::SubscriberInitExt as _,
};

/// Longest name of an actor in the log, in bytes.
const NAME: usize = 128;

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// A JSON object a line, for programs.
    Json,
}

/// Begins the log. `RUST_LOG` says what it has, and where that is not set what is of this level, e.g. `info`, and worse.
///
/// # Errors
/// The level is none.
pub fn begin(format: Format, level: &str) -> Result<(), ParseError> {
    let filter = EnvFilter::try_from_default_env().or_else(|_| EnvFilter::try_new(level))?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match format {
        Format::Text => counted(lines.with_ansi(std::io::stderr().is_terminal()), filter).init(),
        Format::Json => counted(lines.json().flatten_event(true).with_current_span(false), filter).init(),
    }
    Ok(())
}

/// A log with these lines, of which the filter says what is written: what it hides is counted all the same.
fn counted<L: Layer<Registry> + Send + Sync>(lines: L, filter: EnvFilter) -> impl Subscriber + Send + Sync {
    // Each beside the other on the registry: joined by `and_then` the one's filter would be the other's, too.
    tracing_subscriber::registry().with(lines.with_filter(filter)).with(Counting.with_filter(LevelFilter::WARN))
}

/// The span of what concerns a session. It is there whatever the log has: what is worth a line is worth its session.
pub(crate) fn of_session(id: &str, slug: &str) -> Span {
    tracing::error_span!("session", id, slug)
}

/// The span of what is done on somebody's behalf.
pub(crate) fn on_behalf(actor: &Actor) -> Span {
    let name = text::clean(&text::one_line(&actor.to_string()), NAME);
    tracing::error_span!("for", actor = name, kind = actor.kind())
}

/// Labels of a count: level, and part of hostd.
type Labels = [(&'static str, &'static str); 2];

/// As the log itself, these are of the whole process.
static COUNTS: LazyLock<Family<Labels, Counter>> = LazyLock::new(|| {
    let counts = Family::default();
    for level in ["error", "warn"] {
        drop(counts.get_or_create(&labels(level, "daemon")));
    }
    counts
});

/// Number of warnings and errors, by the part of hostd that said them.
pub(crate) fn counts() -> &'static Family<Labels, Counter> {
    &COUNTS
}

/// Counts warnings and errors of a log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counting;

impl<S: Subscriber> Layer<S> for Counting {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            _ => return,
        };
        COUNTS.get_or_create(&labels(level, part(event.metadata().target()))).inc();
    }
}

fn labels(level: &'static str, part: &'static str) -> Labels {
    [("level", level), ("part", part)]
}

/// The part of hostd that a target names: `gateway` of `hostd::gateway::forward`, `vm` of `hostd_vm::qemu`.
fn part(target: &'static str) -> &'static str {
    let mut names = target.split("::");
    match (names.next(), names.next()) {
        (Some("hostd"), Some(module)) => module,
        (Some("hostd"), None) => "daemon",
        (Some(name), _) => name.strip_prefix("hostd_").unwrap_or("other"),
        (None, _) => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written to a log.
    #[derive(Clone, Default)]
    struct Written(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

    impl std::io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_has_its_session_and_its_actor_whatever_the_log_has() {
        let written = Written::default();
        let to = written.clone();
        let lines = tracing_subscriber::fmt::layer().with_writer(move || to.clone());
        let lines = lines.json().flatten_event(true).with_current_span(false);
        let log = tracing_subscriber::registry().with(EnvFilter::new("warn")).with(lines);
        tracing::subscriber::with_default(log, || {
            let _session = of_session("01J", "fix").entered();
            let _actor = on_behalf(&Actor::person("sam\u{1b}[2J\nx")).entered();
            tracing::warn!(why = "it does not fit", "not suspended");
        });
        let line: serde_json::Value = serde_json::from_slice(&written.0.lock().unwrap()).unwrap();
        assert_eq!((&line["level"], &line["why"]), (&"WARN".into(), &"it does not fit".into()));
        let [session, actor] = line["spans"].as_array().unwrap().as_slice() else { panic!("{line}") };
        assert_eq!((&session["id"], &session["slug"]), (&"01J".into(), &"fix".into()));
        assert_eq!(actor["kind"], "person");
        let name = actor["actor"].as_str().unwrap();
        assert!(name.starts_with("sam") && !name.contains(['\n', '\u{1b}']), "{name:?}");
    }

    #[test]
    fn warnings_and_errors_are_counted_by_part() {
        assert_eq!(
            [part("hostd::gateway::forward"), part("hostd_vm::qemu"), part("hyper::proto")],
            ["gateway", "vm", "other"]
        );
        let of = |level| COUNTS.get_or_create(&labels(level, "log")).get();
        let before = [of("warn"), of("error")];
        let written = Written::default();
        let to = written.clone();
        let lines = tracing_subscriber::fmt::layer().with_writer(move || to.clone());
        // Whether the log shows them or not.
        tracing::subscriber::with_default(counted(lines, EnvFilter::new("hostd::log=error")), || {
            tracing::warn!("one");
            tracing::info!("none");
            tracing::error!("another");
            tracing::error!("a third");
        });
        assert_eq!([of("warn"), of("error")], [before[0] + 1, before[1] + 2]);
        let written = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert_eq!((written.lines().count(), written.contains("one")), (2, false), "{written}");
    }
}
