//! `triage`: what led to the end of sessions, and what can be done about it.

use jiff::Timestamp;
use pilothouse_proto::hostd::v1::{Choice, Sample, Triage as Ended, TriageRequest};

use super::{
    args::Triage,
    facts::{Facts, lines, when},
    failure::{Failure, Outcome},
    fleet::{Fleet, Host},
    format::{age, bytes, plain},
    json, output,
    table::{Cell, Column, Tone, render},
};

/// Most bars of a curve.
const CURVE: usize = 60;
/// Bars of a curve, the lowest first.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Shows what led to the end of one session, or lists all that have ended badly.
pub(crate) async fn run(fleet: &Fleet, options: Triage) -> Outcome {
    let asked = async |host: &Host, id: String| {
        let answer = host.ask(host.sessions().triage(TriageRequest { id })).await?;
        Ok::<_, Failure>((host.name().await, answer.sessions))
    };
    let all: Vec<(String, Ended)> = match &options.id {
        Some(id) => {
            let found = fleet.session(id).await?;
            let (host, ended) = asked(found.host, found.it.id.clone()).await?;
            ended.into_iter().map(|ended| (host.clone(), ended)).collect()
        }
        None => {
            let answers = fleet.gather(async |host: &Host| asked(host, String::new()).await).await?;
            let of_host =
                |(host, ended): (String, Vec<Ended>)| ended.into_iter().map(move |ended| (host.clone(), ended));
            answers.into_iter().flat_map(|answer| of_host(answer.it)).collect()
        }
    };
    if options.json {
        let all: Vec<_> = all.iter().map(|(host, ended)| json::Triage::new(host, ended)).collect();
        output::print_json(&all)?;
    } else if options.id.is_some() {
        for (host, ended) in &all {
            output::print(&lines(&facts(host, ended), output::colour()))?;
        }
    } else {
        list(&all, fleet.hosts().len() > 1)?;
    }
    Ok(0)
}

fn list(all: &[(String, Ended)], many: bool) -> Result<(), Failure> {
    if all.is_empty() {
        output::note("nothing has crashed");
        return Ok(());
    }
    let mut columns = vec![
        // Never cut: people copy it.
        Column::fixed("SESSION"),
        Column::fixed("CAUSE"),
        Column::flexible("WHY", 30),
        Column::flexible("MEMORY", 10).expendable(1),
        Column::fixed("AGE").expendable(2),
    ];
    if many {
        columns.insert(3, Column::flexible("HOST", 8).expendable(3));
    }
    let row = |(host, ended): &(String, Ended)| {
        let session = ended.session.clone().unwrap_or_default();
        let mut row: Vec<Cell> = vec![
            plain(&session.slug).into(),
            Cell(plain(&session.cause_word), Tone::Bad),
            plain(&session.reason).into(),
            curve(ended.samples.iter().map(|sample| sample.memory_bytes), 12).into(),
            age(session.turn_since, Timestamp::now()).into(),
        ];
        if many {
            row.insert(3, plain(host).into());
        }
        row
    };
    let rows: Vec<_> = all.iter().map(row).collect();
    output::print(&render(&columns, &rows, output::width(), output::colour()))
}

fn facts(host: &str, ended: &Ended) -> Facts {
    let session = ended.session.clone().unwrap_or_default();
    let several = |all: &[String]| all.iter().map(|line| plain(line)).collect::<Vec<_>>().join("\n");
    let of = |value: fn(&Sample) -> u64, words: fn(u64) -> String| story(&ended.samples, value, words);
    vec![
        ("session", plain(&session.slug)),
        ("host", plain(host)),
        ("cause", plain(&session.cause_word)),
        ("why", plain(&session.reason)),
        ("since", if session.turn_since == 0 { String::new() } else { when(session.turn_since) }),
        ("its panic", several(&session.cause_lines)),
        ("its console", several(&ended.console)),
        ("its terminal", several(&ended.terminal)),
        ("memory", of(|sample| sample.memory_bytes, bytes)),
        ("cpu", of(|sample| sample.cpu_percent.into(), |percent| format!("{percent} %"))),
        ("disk", of(|sample| sample.disk_bytes, bytes)),
        ("guest memory", of(|sample| sample.guest_memory_left_bytes, |left| format!("{} left", bytes(left)))),
        ("guest disk", of(|sample| sample.guest_disk_left_bytes, |left| format!("{} left", bytes(left)))),
        ("you can", ended.choices.iter().map(|choice| can(choice, &session.slug)).collect::<Vec<_>>().join("\n")),
    ]
}

/// What can be done, with its command, and what that loses.
fn can(choice: &Choice, slug: &str) -> String {
    let command = match choice.word.as_str() {
        "delete" => format!("pilothouse rm {}", plain(slug)),
        word => format!("pilothouse {} {}", plain(word), plain(slug)),
    };
    let loses = match choice.loses.as_str() {
        "" => "loses nothing".into(),
        loses => format!("loses {}", plain(loses)),
    };
    format!("{command}: {}; {loses}", plain(&choice.does))
}

/// How a value went, from its first to its last; empty where it was never known.
fn story(samples: &[Sample], value: fn(&Sample) -> u64, words: fn(u64) -> String) -> String {
    let values: Vec<u64> = samples.iter().map(value).collect();
    let (Some(first), Some(last)) = (values.first(), values.last()) else { return String::new() };
    if values.iter().all(|value| *value == 0) {
        return String::new();
    }
    let seconds = match (samples.first(), samples.last()) {
        (Some(first), Some(last)) => last.at.saturating_sub(first.at) / 1000,
        _ => 0,
    };
    let most = values.iter().max().copied().unwrap_or_default();
    let curve = curve(values.iter().copied(), CURVE);
    format!("{curve}\n{} to {} in {seconds} s, at most {}", words(*first), words(*last), words(most))
}

/// A curve of these values, the last ones of at most so many, from nothing to the highest of them.
fn curve(values: impl DoubleEndedIterator<Item = u64>, most: usize) -> String {
    let mut values: Vec<u64> = values.rev().take(most).collect();
    values.reverse();
    let highest = values.iter().max().copied().unwrap_or_default().max(1);
    let bar = |value: u64| {
        let part = u128::from(value) * (BARS.len() as u128 - 1) / u128::from(highest);
        usize::try_from(part).ok().and_then(|part| BARS.get(part)).copied().unwrap_or(BARS[0])
    };
    values.into_iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_goes_from_nothing_to_its_highest() {
        assert_eq!(curve([0, 50, 100].into_iter(), 9), "▁▄█");
        assert_eq!(curve([9, 9, 0, 0, 7].into_iter(), 3), "▁▁█");
        assert_eq!(curve([u64::MAX, 0].into_iter(), 9), "█▁");
        assert_eq!(curve([].into_iter(), 9), "");
    }

    #[test]
    fn how_a_value_went_is_told_in_words_too() {
        let sample = |at, memory_bytes| Sample { at, memory_bytes, ..Sample::default() };
        let samples = [sample(5000, 1 << 20), sample(10_000, 4 << 20), sample(15_000, 2 << 20)];
        assert_eq!(story(&samples, |s| s.memory_bytes, bytes), "▂█▄\n1 MiB to 2 MiB in 10 s, at most 4 MiB");
        assert_eq!(story(&samples, |s| s.guest_disk_left_bytes, bytes), "");
        assert_eq!(story(&[], |s| s.memory_bytes, bytes), "");
    }
}
