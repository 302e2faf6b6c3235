//! `explain`: which source said what of a session's agent, when, and which one decides.

use jiff::Timestamp;
use pilothouse_proto::hostd::v1::{ExplainRequest, ExplainResponse, Report, Session};

use super::{
    args::Explain,
    facts::{Facts, lines},
    failure::Outcome,
    fleet::Fleet,
    format::{age, plain, time},
    json, output,
};

/// Explains why a session stands as it does.
pub(crate) async fn run(fleet: &Fleet, options: Explain) -> Outcome {
    let found = fleet.session(&options.id).await?;
    let request = ExplainRequest { id: found.it.id.clone() };
    let answer = found.host.sessions().explain(request).await.map_err(|status| found.host.failure(&status))?;
    let explained = answer.into_inner();
    let session = explained.session.as_ref().unwrap_or(&found.it);
    if options.json {
        output::print_json(&json::Explanation::new(session, &explained))?;
    } else {
        output::print(&lines(&facts(session, &explained), output::colour()))?;
    }
    Ok(0)
}

fn facts(session: &Session, explained: &ExplainResponse) -> Facts {
    let decides = match explained.decides.as_str() {
        "" => plain(&explained.because),
        source => format!("{}: {}", plain(source), plain(&explained.because)),
    };
    let said: Vec<String> = explained.said.iter().map(line).collect();
    vec![
        ("session", plain(&session.slug)),
        ("turn", format!("{}: {}", plain(&session.attention), plain(&session.reason))),
        ("agent is", plain(&session.activity)),
        ("decides", decides),
        ("said", if said.is_empty() { "nothing, by any source".into() } else { said.join("\n") }),
        ("hooks", plain(&session.missing_hooks)),
        ("its parts", session.records.iter().map(words).collect::<Vec<_>>().join("\n")),
    ]
}

/// What a source said, and when, for a person.
fn line(report: &Report) -> String {
    let mark = if report.decides { "* " } else { "  " };
    let when = match report.at {
        0 => String::new(),
        at => format!(", since {} ({} ago)", time(at), age(at, Timestamp::now())),
    };
    format!("{mark}{}: {}{when}", plain(&report.source), words(report))
}

/// A report in words: the part, the state, how far it is, and what is said of it.
pub(crate) fn words(report: &Report) -> String {
    let part = if report.id.is_empty() { String::new() } else { format!("{}: ", plain(&report.id)) };
    let kind = if report.kind.is_empty() { String::new() } else { format!(" ({})", plain(&report.kind)) };
    let progress = report.progress.map(|progress| format!(" {progress} %")).unwrap_or_default();
    let texts: Vec<String> =
        [&report.title, &report.text].into_iter().filter(|text| !text.is_empty()).map(|text| plain(text)).collect();
    let said = if texts.is_empty() { String::new() } else { format!(": {}", texts.join(": ")) };
    let until = if report.until == 0 { String::new() } else { format!(", until {}", time(report.until)) };
    let app = if report.app.is_empty() { String::new() } else { format!(" [{}]", plain(&report.app)) };
    format!("{part}{}{kind}{progress}{said}{until}{app}", plain(&report.state))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            source: "osc-7501".into(),
            state: "blocked".into(),
            kind: "permission".into(),
            text: "Bash(\u{1b}[31mls)".into(),
            app: "claude-code".into(),
            decides: true,
            ..Report::default()
        }
    }

    #[test]
    fn a_report_is_said_in_words_and_harms_no_terminal() {
        assert_eq!(line(&report()), "* osc-7501: blocked (permission): Bash([31mls) [claude-code]");
        let part = Report {
            id: "tests/a".into(),
            state: "working".into(),
            progress: Some(40),
            title: "Unit tests".into(),
            ..Report::default()
        };
        assert_eq!(words(&part), "tests/a: working 40 %: Unit tests");
    }

    #[test]
    fn it_says_who_decides_and_why() {
        let missing_hooks = "none has reported".to_owned();
        let session = Session {
            slug: "fix".into(),
            missing_hooks,
            records: vec![Report { id: "a".into(), ..report() }],
            ..Session::default()
        };
        let because = "the best source that speaks".to_owned();
        let explained = ExplainResponse { decides: "osc-7501".into(), because, said: vec![report()], session: None };
        let out = lines(&facts(&session, &explained), false);
        for part in [
            "decides    osc-7501: the best source",
            "said       * osc-7501: blocked",
            "hooks      none has",
            "its parts  a: blocked",
        ] {
            assert!(out.contains(part), "{out}");
        }
        let json = serde_json::to_value(json::Explanation::new(&session, &explained)).unwrap();
        assert_eq!(
            (&json["decides"], &json["said"][0]["kind"], &json["said"][0]["title"]),
            (&"osc-7501".into(), &"permission".into(), &serde_json::Value::Null)
        );
    }
}
