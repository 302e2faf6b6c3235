//! What was found, in words.

use crate::cli::{
    format::{bytes, plain},
    json::{Held, Reached, Tried},
};

/// `stays` has the bytes of an environment that was made for this and stays; None: it was there before.
pub(super) fn of(tried: &Tried<'_>, stays: Option<u64>) -> String {
    let mut text = String::new();
    for line in tried.screen.lines() {
        text.push_str(&format!("  │ {line}\n"));
    }
    let mut say = |what: &str, how: String| text.push_str(&format!("{what:<12}{how}\n"));
    say("starts", starts(tried));
    if let Some(version) = tried.version {
        say("version", version.to_owned());
    }
    for held in tried.credentials {
        say("logged in", login(held));
    }
    for Reached { destination, why, .. } in tried.reaches {
        say("reaches", why.as_ref().map_or(destination.clone(), |why| format!("{destination}: no, {why}")));
    }
    match (tried.answered, tried.answer_ms) {
        (None, _) => say("answers", "nothing was asked: its profile gives it no task".into()),
        (Some(true), millis) => say("answers", format!("yes, after {}", seconds(millis.unwrap_or(0)))),
        (Some(false), _) => say("answers", format!("no: {}", tried.stands.unwrap_or("the agent does not run"))),
    }
    say("gone", "its session, with the VM".into());
    if let Some(size) = stays {
        let name = plain(tried.environment);
        say("stays", format!("the environment {name} ({}): the next time nothing need be built", bytes(size)));
    }
    text
}

fn starts(tried: &Tried<'_>) -> String {
    match (tried.error, tried.first_output_ms) {
        (Some(error), _) if !tried.starts => format!("no: {error}"),
        (_, Some(millis)) => format!("yes, first output after {}", seconds(millis)),
        (_, None) => "no".into(),
    }
}

fn login(Held { name, held, accepted, why }: &Held) -> String {
    match (held, accepted, why) {
        (true, Some(true), _) => format!("{name}: its hosts take the secret"),
        (true, None, None) => format!("{name}: the host has it; whether it is taken cannot be asked"),
        (_, _, why) => format!("{name}: no, {}", why.as_deref().unwrap_or("it is not taken")),
    }
}

/// Milliseconds as seconds, with a tenth.
fn seconds(millis: u64) -> String {
    format!("{}.{} s", millis / 1000, millis % 1000 / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried<'a>(credentials: &'a [Held]) -> Tried<'a> {
        Tried {
            profile: "codex",
            host: "madeup",
            environment: "try-codex",
            starts: true,
            version: Some("codex-cli 1.2.3"),
            first_output_ms: Some(12_345),
            error: None,
            screen: "hello",
            answered: Some(true),
            answer_ms: Some(20_050),
            stands: None,
            reaches: &[],
            credentials,
        }
    }

    #[test]
    fn what_works_is_said_with_its_times() {
        let held = [Held { name: "openai".into(), held: true, accepted: Some(true), why: None }];
        let text = "  │ hello\nstarts      yes, first output after 12.3 s\nversion     codex-cli 1.2.3\n\
                    logged in   openai: its hosts take the secret\nanswers     yes, after 20.0 s\n\
                    gone        its session, with the VM\n\
                    stays       the environment try-codex (1 MiB): the next time nothing need be built\n";
        assert_eq!(of(&tried(&held), Some(1 << 20)), text);
    }

    #[test]
    fn what_does_not_work_says_why() {
        let refused = Some("api.openai.com does not take the secret: it answered 401".to_owned());
        let held = [Held { name: "openai".into(), held: true, accepted: Some(false), why: refused }];
        let silent = Tried { answered: Some(false), answer_ms: None, stands: Some("working"), ..tried(&held) };
        let text = of(&silent, None);
        assert!(
            text.contains("openai: no, api.openai.com does not take") && text.contains("answers     no: working\n")
        );
        assert!(!text.contains("stays"), "{text}");
        let ended = Tried { starts: false, error: Some("it did not go on: exit code 1"), answered: None, ..silent };
        assert!(of(&ended, None).contains("starts      no: it did not go on: exit code 1\n"));
        assert!(of(&ended, None).contains("nothing was asked"));
    }
}
