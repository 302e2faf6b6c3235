//! From the raw shape to a checked profile.

use toml::Spanned;

use super::{
    AfterRateLimit, Answers, Check, File, Mark, Meaning, Pin, Profile, Program, SESSION_ID, Starts, TASK, Task, raw,
};
use crate::{
    checked_toml::{self as checked, Checked, MIB, Wrong, argument, command, list, parsed, variables, word},
    keys::Key,
    recipe::{DESTINATION, destination},
};

const TIB: u64 = 1 << 40;
/// Longest line for people, title or name of a hook, in bytes.
const LINE_MAX: usize = 200;
/// Permissions of a file where the profile says none.
const MODE: u32 = 0o644;

type Text = Spanned<String>;

pub(super) fn profile(raw: raw::Profile) -> Checked<Profile> {
    let name_allowed = "lower-case letters, digits and dashes, at most 40";
    let user_allowed = "a user name of lower-case letters, digits, underscore and dash, at most 32";
    let command_at = raw.command.span().start;
    let profile = Profile {
        name: word(raw.name, checked::is_environment_name, "name", name_allowed)?,
        about: line(raw.about, "about")?,
        packages: list(raw.packages, "packages", package)?,
        npm: list(raw.npm, "npm", |raw| pin(raw, checked::is_npm_package))?,
        python: list(raw.python, "python", |raw| pin(raw, checked::is_python_package))?,
        programs: list(raw.programs, "programs", program)?,
        check: raw.check.map(check).transpose()?,
        command: command(raw.command)?,
        task: raw.task.map_or(Ok(Task::Untold), task)?,
        typed_events: raw.typed_events,
        user: word(raw.user, checked::is_user_name, "user", user_allowed)?,
        sudo: raw.sudo,
        environment: variables(raw.environment)?,
        egress: list(raw.egress, "egress", |to| parsed(&to, destination, "egress", DESTINATION))?,
        credentials: list(raw.credentials, "credentials", |name| {
            word(name, checked::is_environment_name, "credentials", name_allowed)
        })?,
        memory: raw.memory.map(memory).transpose()?,
        files: list(raw.files, "files", file)?,
        hooks: list(raw.hooks, "hooks", |name| line(name, "hooks"))?,
        titles: list(raw.titles, "titles", mark)?,
        patterns: list(raw.patterns, "patterns", pattern)?,
        answers: Answers { allow: keys(raw.answers.allow)?, deny: keys(raw.answers.deny)? },
        resume: raw.resume.map_or(Ok(vec![]), resume)?,
        conversation_file: raw.conversation_file.map_or(Ok(String::new()), conversation_file)?,
        conversation_moved_by: raw.conversation_moved_by.map_or(Ok(String::new()), |name| {
            word(name, checked::is_variable, "conversation_moved_by", "the name of a variable")
        })?,
        rehearse: raw.rehearse,
        after_rate_limit: raw.after_rate_limit.map_or(Ok(AfterRateLimit::Wait), after_rate_limit)?,
    };
    if profile.user == "root" && profile.sudo {
        return Err(Wrong { at: command_at, message: "sudo is of no use to root; leave it out".into() });
    }
    Ok(profile)
}

fn package(raw: Text) -> Checked<String> {
    let allowed = "the name of one Debian package: lower-case letters, digits, plus, dot and dash";
    word(raw, checked::is_package, "package", allowed)
}

fn line(raw: Text, key: &str) -> Checked<String> {
    let fits = |text: &str| {
        (1..=LINE_MAX).contains(&text.len()) && !text.trim().is_empty() && !text.chars().any(char::is_control)
    };
    word(raw, fits, key, "one line of at most 200 bytes")
}

fn pin(raw: Spanned<raw::Pin>, is_package: fn(&str) -> bool) -> Checked<Pin> {
    let raw::Pin { package, version } = raw.into_inner();
    let name = "the name of one package, in lower case";
    let exact = "one exact version such as \"1.2.3\", no range and no tag";
    Ok(Pin {
        package: word(package, is_package, "package", name)?,
        version: word(version, checked::is_package_version, "version", exact)?,
    })
}

fn program(raw: Spanned<raw::Program>) -> Checked<Program> {
    let at = raw.span().start;
    let raw::Program { name, file, interpreter, module } = raw.into_inner();
    let path = |raw: Text, key: &str| {
        word(raw, checked::is_relative_path, key, "a path in the profile's folder, e.g. \"node_modules/x/bin/x\"")
    };
    let starts = match (file, interpreter, module) {
        (Some(file), None, None) => Starts::File(path(file, "file")?),
        (Some(file), Some(interpreter), None) => {
            Starts::Script { interpreter: path(interpreter, "interpreter")?, file: path(file, "file")? }
        }
        (None, None, Some(module)) => {
            let fits = |name: &str| checked::is_program_name(name) && !name.contains('-');
            Starts::Module(word(module, fits, "module", "the name of a Python module")?)
        }
        _ => {
            let message = "a program has either file, also with interpreter, or module; give one of them".into();
            return Err(Wrong { at, message });
        }
    };
    let allowed = "a name of letters, digits, dot, underscore and dash, at most 64";
    Ok(Program { name: word(name, checked::is_program_name, "name", allowed)?, starts })
}

fn check(raw: raw::Check) -> Checked<Check> {
    Ok(Check { command: command(raw.command)?, prints: line(raw.prints, "prints")? })
}

fn task(raw: Spanned<raw::Task>) -> Checked<Task> {
    let at = raw.span().start;
    match raw.into_inner() {
        raw::Task::Word(word) if word == "typed" => Ok(Task::Typed),
        raw::Task::Arguments(arguments) => {
            let arguments = list(arguments, "task", |text| argument(text, true))?;
            if !arguments.iter().any(|word| word.contains(TASK)) {
                return Err(Wrong { at, message: format!("task has no {TASK}, which stands for the task's text") });
            }
            Ok(Task::Arguments(arguments))
        }
        raw::Task::Word(_) => {
            Err(Wrong { at, message: format!("task is neither \"typed\" nor a list of arguments with {TASK} in it") })
        }
    }
}

fn memory(raw: Text) -> Checked<u64> {
    checked::amount(Some(&raw), "memory", 64 * MIB..=TIB, MIB)
}

fn file(raw: Spanned<raw::File>) -> Checked<File> {
    let raw::File { path, mode, text } = raw.into_inner();
    let allowed = "an absolute path not in /dev, /proc, /run, /sys or /tmp, or ~/ and a path in the user's home";
    let mode_of = |text: &str| {
        let digits = text.len() <= 4 && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
        digits.then(|| u32::from_str_radix(text, 8).ok()).flatten().filter(|mode| *mode <= 0o777)
    };
    let mode_allowed = "octal permissions such as \"0644\", without set-id and sticky bits";
    let fits =
        |path: &str| path.strip_prefix("~/").map_or_else(|| checked::is_guest_path(path), checked::is_relative_path);
    Ok(File {
        path: word(path, fits, "path", allowed)?,
        mode: mode.map_or(Ok(MODE), |mode| parsed(&mode, mode_of, "mode", mode_allowed))?,
        text: checked::text_of_file(text)?,
    })
}

fn mark(raw: Spanned<raw::Mark>) -> Checked<Mark> {
    let raw::Mark { contains, means } = raw.into_inner();
    let meaning = |word: &str| match word {
        "working" => Some(Meaning::Working),
        "idle" => Some(Meaning::Idle),
        "permission" => Some(Meaning::Permission),
        "question" => Some(Meaning::Question),
        _ => None,
    };
    let means = parsed(&means, meaning, "means", "working, idle, permission or question")?;
    Ok(Mark { contains: line(contains, "contains")?, means })
}

/// It means no permission: what that is for may stand in other rows, and nobody should give it from what this row says.
fn pattern(raw: Spanned<raw::Mark>) -> Checked<Mark> {
    let at = raw.get_ref().means.span().start;
    let mark = mark(raw)?;
    if mark.means == Meaning::Permission {
        let message = "patterns mean working, idle or question, and no permission: say question".into();
        return Err(Wrong { at, message });
    }
    Ok(mark)
}

fn conversation_file(raw: Text) -> Checked<String> {
    let fits = |path: &str| {
        let part = |part: &str| if part == "*" { "any".into() } else { part.replace(SESSION_ID, "id") };
        let path = path.strip_prefix("~/").filter(|path| path.contains(SESSION_ID));
        path.is_some_and(|path| {
            checked::is_relative_path(&path.split('/').map(part).collect::<Vec<String>>().join("/"))
        })
    };
    let allowed = "~/ and a path in the user's home with {session_id} in it, in which a part may be *";
    word(raw, fits, "conversation_file", allowed)
}

fn after_rate_limit(raw: Text) -> Checked<AfterRateLimit> {
    let known = |word: &str| match word {
        "wait" => Some(AfterRateLimit::Wait),
        "resume" => Some(AfterRateLimit::Resume),
        _ => None,
    };
    parsed(&raw, known, "after_rate_limit", "wait or resume")
}

fn keys(raw: Vec<Text>) -> Checked<Vec<Key>> {
    list(raw, "answers", |key| {
        parsed(&key, |text| text.parse().ok(), "answers", "names of keys such as \"y\", \"Enter\" or \"Esc\"")
    })
}

/// It names the conversation: what goes on with the last one may begin another.
fn resume(raw: Spanned<Vec<Text>>) -> Checked<Vec<String>> {
    let at = raw.span().start;
    let resume = command(raw)?;
    if resume.iter().any(|word| word.contains(SESSION_ID)) {
        return Ok(resume);
    }
    let message = format!("resume has no {SESSION_ID}, which stands for the conversation that is to go on");
    Err(Wrong { at, message })
}
