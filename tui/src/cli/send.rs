//! `send`: types a message to the agent, or presses keys on its terminal.

use std::{
    fs,
    io::{self, IsTerminal as _, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use pilothouse_proto::hostd::v1::SendRequest;

use super::{
    args::Send,
    failure::{Failure, Outcome},
    fleet::Fleet,
    format::plain,
    json, output, waiting,
};

/// Longest message that is read, in bytes; a host takes less and says so.
const READ_MAX: u64 = 1 << 20;

/// A message, and the file that keeps it until it was sent.
struct Text {
    text: String,
    file: Option<PathBuf>,
}

/// Types a message to an agent, or presses keys for it.
pub(crate) async fn run(fleet: &Fleet, options: Send) -> Outcome {
    let found = fleet.session(&options.id).await?;
    let Text { text, file } = match (&options.text[..], options.key.is_empty()) {
        ([], false) => Text { text: String::new(), file: None },
        ([], true) => asked(&plain(&found.it.slug))?,
        (words, _) => Text { text: words.join(" "), file: None },
    };
    let request = SendRequest { id: found.it.id.clone(), text, no_enter: options.no_enter, keys: options.key };
    let what = waiting::before_it_runs(&found.it).unwrap_or_else(|| format!("sending to {}", plain(&found.it.slug)));
    let mut sessions = found.host.sessions();
    let sent = waiting::shown(&what, sessions.send(request)).await.map_err(|status| found.host.failure(&status));
    if let (Err(failure), Some(file)) = (&sent, &file) {
        return Err(failure.clone().hint(format!("what you wrote is kept in {}", file.display())));
    }
    sent?;
    if let Some(file) = file {
        // What is left of it harms nobody.
        let _ = fs::remove_file(file);
    }
    if options.json {
        output::print_json(&json::Session::new(&found.host.name().await, &found.it))?;
    }
    Ok(0)
}

/// The message that is on stdin, or that a person writes now.
fn asked(slug: &str) -> Result<Text, Failure> {
    if io::stdin().is_terminal() {
        return written(slug);
    }
    let mut text = String::new();
    io::stdin()
        .take(READ_MAX)
        .read_to_string(&mut text)
        .map_err(|error| Failure::failed(format!("the message on stdin cannot be read: {error}")))?;
    Ok(Text { text: text.trim_end_matches('\n').to_owned(), file: None })
}

/// The message that a person writes in their editor.
fn written(slug: &str) -> Result<Text, Failure> {
    let editor =
        ["VISUAL", "EDITOR"].iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    let editor = editor.ok_or_else(|| {
        Failure::usage("no message is given, and neither VISUAL nor EDITOR names an editor to write it in")
            .hint("give the message as arguments or on stdin")
    })?;
    let file = std::env::temp_dir().join(format!("pilothouse-{slug}-{}.txt", std::process::id()));
    let wrong = |what: &str, error: io::Error| Failure::failed(format!("{} cannot be {what}: {error}", file.display()));
    fs::File::options().write(true).create_new(true).mode(0o600).open(&file).map_err(|error| wrong("made", error))?;
    let text = edited(&editor, &file)?;
    if text.trim().is_empty() {
        let _ = fs::remove_file(&file);
        return Err(Failure::failed("the message is empty: nothing was sent"));
    }
    Ok(Text { text: text.trim_end().to_owned(), file: Some(file) })
}

/// Runs the editor, which may have arguments of its own, on a file, and reads that.
fn edited(editor: &str, file: &Path) -> Result<String, Failure> {
    let command = format!("{editor} \"$1\"");
    let ended = Command::new("sh").args(["-c", &command, "sh"]).arg(file).status();
    let kept = || format!("what you wrote is kept in {}", file.display());
    match ended {
        Ok(status) if status.success() => {}
        Ok(status) => {
            return Err(Failure::failed(format!("the editor ended with {status}: nothing was sent")).hint(kept()));
        }
        Err(error) => return Err(Failure::failed(format!("the editor cannot be run: {error}")).hint(kept())),
    }
    fs::read_to_string(file).map_err(|error| Failure::failed(format!("{} cannot be read: {error}", file.display())))
}
