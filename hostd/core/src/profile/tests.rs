use proptest::prelude::*;
use rstest::rstest;

use super::*;

const FULL: &str = r#"name = "mine"
about = "My agent"
packages = ["git"]
npm = [{ package = "@me/agent", version = "1.2.3-linux-x64" }]
python = [{ package = "my-agent", version = "0.4" }]
programs = [
    { name = "mine", file = "node_modules/@me/agent/bin/mine" },
    { name = "other", interpreter = "node_modules/node/bin/node", file = "node_modules/x/x.js" },
    { name = "third", module = "my_agent.main" },
]
check = { command = ["mine", "--version"], prints = "1.2.3" }
command = ["mine", "--id", "{session_id}"]
task = ["--", "{task}"]
typed_events = true
resume = ["mine", "--resume={session_id}"]
user = "agent"
sudo = true
environment = { A = "1" }
egress = ["API.example.com:443"]
credentials = ["mine"]
memory = "1GiB"
hooks = ["SessionStart"]
titles = [{ contains = "Action", means = "permission" }]
answers = { allow = ["y", "Enter"], deny = ["Esc"] }
after_rate_limit = "resume"
conversation_file = "~/.mine/*/{session_id}.jsonl"
patterns = [{ contains = "[y/N]", means = "question" }]
conversation_moved_by = "MINE_DIR"
rehearse = true

[[files]]
path = "~/.mine/AGENTS.md"
mode = "0600"
text = "{session_help}# {directory} {home}"

[[files]]
path = "/etc/mine.toml"
text = ""
"#;

#[test]
fn a_full_profile_is_read() {
    let profile = Profile::parse("x", FULL).unwrap();
    let pin = |package: &str, version: &str| Pin { package: package.into(), version: version.into() };
    assert_eq!(profile.npm, [pin("@me/agent", "1.2.3-linux-x64")]);
    assert_eq!(profile.python, [pin("my-agent", "0.4")]);
    let starts: Vec<_> = profile.programs.iter().map(|program| &program.starts).collect();
    let (interpreter, file) = ("node_modules/node/bin/node".into(), "node_modules/x/x.js".into());
    assert_eq!(
        starts,
        [
            &Starts::File("node_modules/@me/agent/bin/mine".into()),
            &Starts::Script { interpreter, file },
            &Starts::Module("my_agent.main".into())
        ]
    );
    assert_eq!(profile.task, Task::Arguments(vec!["--".into(), "{task}".into()]));
    assert_eq!((profile.egress[0].as_str(), profile.memory), ("api.example.com:443", Some(1 << 30)));
    assert_eq!(profile.titles, [Mark { contains: "Action".into(), means: Meaning::Permission }]);
    assert_eq!(profile.patterns, [Mark { contains: "[y/N]".into(), means: Meaning::Question }]);
    assert_eq!((profile.answers.allow.len(), profile.folder().as_str()), (2, "/opt/agents/mine"));
    assert_eq!(profile.after_rate_limit, AfterRateLimit::Resume);
    assert_eq!(profile.conversation_file, "~/.mine/*/{session_id}.jsonl");
    assert_eq!(profile.conversation_moved_by, "MINE_DIR");
    assert!(profile.gives_session_id() && profile.typed_events == Some(true) && profile.sudo);
    assert!(profile.rehearse && !Profile::parse("x", &FULL.replace("rehearse = true", "")).unwrap().rehearse);
    assert_eq!(profile.files.iter().map(|file| file.mode).collect::<Vec<_>>(), [0o600, 0o644]);
}

#[test]
fn files_are_written_for_a_place_and_a_home() {
    let files = Profile::parse("x", FULL).unwrap().files_in("/work/a", "/home/agent/");
    assert_eq!(files[0].path, "/home/agent/.mine/AGENTS.md");
    assert_eq!(files[0].text, format!("{SESSION_HELP}# /work/a /home/agent"));
    assert_eq!((files[1].path.as_str(), files[1].text.as_str()), ("/etc/mine.toml", ""));
}

/// Each case replaces a piece of the full profile.
#[rstest]
#[case::missing(r#"about = "My agent""#, "", "1:1: missing key `about`")]
#[case::unknown("packages =", "pakages =", "3:1: unknown key `pakages`, expected one of")]
#[case::name(r#"name = "mine""#, r#"name = "../mine""#, "1:8: name is \"../mine\"; allowed: lower-case letters")]
#[case::about("My agent", "\\u001b[31m", "2:9: about is \"\\u{1b}[31m\"; allowed: one line of at most 200 bytes")]
#[case::range("1.2.3-linux-x64", "^1.2.3", "4:43: version is \"^1.2.3\"; allowed: one exact version")]
#[case::tag("1.2.3-linux-x64", "latest", "4:43: version is \"latest\"; allowed: one exact version")]
#[case::npm_option("@me/agent\"", "--prefix\"", "4:20: package is \"--prefix\"; allowed: the name of one package")]
#[case::npm_path("@me/agent\"", "../agent\"", "4:20: package is \"../agent\"; allowed: the name of one package")]
#[case::npm_alias("@me/agent\"", "a@npm:b\"", "4:20: package is \"a@npm:b\"; allowed: the name of one package")]
#[case::python_url("\"my-agent\"", "\"my-agent[x] @ http\"", "5:23: package is \"my-agent[x] @ http\"; allowed")]
#[case::climbs("node_modules/@me/agent/bin/mine", "../../bin/sh", "7:29: file is \"../../bin/sh\"; allowed: a path in")]
#[case::absolute("node_modules/@me/agent/bin/mine", "/bin/sh", "7:29: file is \"/bin/sh\"; allowed: a path in")]
#[case::both(
    r#"module = "my_agent.main""#,
    r#"module = "a", file = "b""#,
    "9:5: a program has either file, also with interpreter, or module; give one of them"
)]
#[case::module("my_agent.main", "os; x", "9:32: module is \"os; x\"; allowed: the name of a Python module")]
#[case::program("\"third\"", "\"../x\"", "9:14: name is \"../x\"; allowed: a name of letters")]
#[case::command(r#"["mine", "--id", "{session_id}"]"#, "[]", "12:11: command is empty; it must name a program")]
#[case::no_task(r#"["--", "{task}"]"#, r#"["--"]"#, "13:8: task has no {task}, which stands for the task's text")]
#[case::task_word(r#"["--", "{task}"]"#, r#""type""#, "13:8: task is neither \"typed\" nor a list of arguments")]
#[case::task_type(
    r#"["--", "{task}"]"#,
    "7",
    "13:8: invalid type: integer `7`, expected a list of arguments, or \"typed\""
)]
#[case::the_last_one(
    r#""--resume={session_id}""#,
    r#""--continue""#,
    "15:10: resume has no {session_id}, which stands for the conversation that is to go on"
)]
#[case::user("user = \"agent\"", "user = \"-u\"", "16:8: user is \"-u\"; allowed: a user name")]
#[case::sudo("user = \"agent\"", "user = \"root\"", "12:11: sudo is of no use to root; leave it out")]
#[case::variable("{ A = \"1\" }", "{ \"A B\" = \"1\" }", "18:17: environment is \"A B\"; allowed: a name of letters")]
#[case::egress("API.example.com:443", "*:443", "19:11: egress is \"*:443\"; allowed: host:port")]
#[case::credential("credentials = [\"mine\"]", "credentials = [\"a/b\"]", "20:16: credentials is \"a/b\"; allowed")]
#[case::memory("1GiB", "1GB", "21:10: memory is \"1GB\"; allowed: a number of MiB, GiB or TiB")]
#[case::means("\"permission\"", "\"asks\"", "23:42: means is \"asks\"; allowed: working, idle, permission or question")]
#[case::key("\"Esc\"", "\"Escaped\"", "24:45: answers is \"Escaped\"; allowed: names of keys")]
#[case::after("\"resume\"\n", "\"again\"\n", "25:20: after_rate_limit is \"again\"; allowed: wait or resume")]
#[case::any_conversation(
    "*/{session_id}",
    "*/last",
    "26:21: conversation_file is \"~/.mine/*/last.jsonl\"; allowed: ~/ and a path"
)]
#[case::conversation_elsewhere(
    "~/.mine/*",
    "~/../*",
    "26:21: conversation_file is \"~/../*/{session_id}.jsonl\"; allowed: ~/ and"
)]
#[case::half_a_part(
    "*/{session_id}",
    "a*/{session_id}",
    "26:21: conversation_file is \"~/.mine/a*/{session_id}.jsonl\"; allowed"
)]
#[case::pattern("[y/N]", "", "27:26: contains is \"\"; allowed: one line of at most 200 bytes")]
#[case::pattern_of_a_permission(
    "\"question\"",
    "\"permission\"",
    "27:43: patterns mean working, idle or question, and no permission: say question"
)]
#[case::no_variable(
    "MINE_DIR",
    "mine dir",
    "28:25: conversation_moved_by is \"mine dir\"; allowed: the name of a variable"
)]
#[case::rehearse("rehearse = true", "rehearse = 1", "29:12: invalid type: integer `1`, expected a boolean")]
#[case::home("~/.mine/AGENTS.md", "~/../x", "32:8: path is \"~/../x\"; allowed: an absolute path not in /dev")]
#[case::fleeting("/etc/mine.toml", "/run/x", "37:8: path is \"/run/x\"; allowed: an absolute path not in /dev")]
#[case::mode("0600", "4755", "33:8: mode is \"4755\"; allowed: octal permissions")]
#[case::mode_sign("0600", "+600", "33:8: mode is \"+600\"; allowed: octal permissions")]
fn bad_profiles_are_refused(#[case] piece: &str, #[case] with: &str, #[case] message: &str) {
    assert!(FULL.contains(piece), "the case does not fit the profile any more");
    let error = Profile::parse("bad.toml", &FULL.replacen(piece, with, 1)).unwrap_err().to_string();
    assert!(error.starts_with(&format!("bad.toml:{message}")), "{error}");
}

#[test]
fn shipped_profiles_are_good() {
    let profiles: Vec<_> = Profiles::shipped().all().map(|(name, profile)| (name, profile.unwrap().0)).collect();
    let names: Vec<_> = profiles.iter().map(|(name, _)| *name).collect();
    let hooked = profiles.iter().filter(|(_, profile)| !profile.hooks.is_empty()).map(|(name, _)| *name);
    assert_eq!(hooked.collect::<Vec<_>>(), ["claude", "codex", "copilot", "gemini", "opencode", "qwen"]);
    assert_eq!(names, ["aider", "claude", "codex", "copilot", "gemini", "opencode", "qwen", "shell"]);
    for (name, profile) in &profiles {
        assert_eq!((profile.name.as_str(), profile.user.as_str()), (*name, "agent"));
        let tells_of_its_turn = !profile.hooks.is_empty();
        assert_eq!(profile.after_rate_limit == AfterRateLimit::Resume, tells_of_its_turn, "{name}");
        let help = profile.files.iter().filter(|file| file.text.contains("{session_help}"));
        assert_eq!(help.count(), 1, "{name} tells its agent of the session command");
        let tells = |file: &&File| file.path.starts_with("~/") || file.path.starts_with("/etc/");
        assert!(profile.files.iter().all(|file| tells(&file)), "{name} writes outside of the repository alone");
        // Whoever comes from a registry is looked at after.
        let pins = profile.npm.iter().chain(&profile.python);
        let checked = profile.check.as_ref();
        assert!(pins.clone().count() == 0 || pins.clone().any(|pin| pin.version.starts_with(&checked.unwrap().prints)));
        for file in profile.files_in("/work/a", "/home/agent") {
            assert!(!file.text.contains("{directory}") && !file.text.contains("{home}"), "{}", file.path);
            if file.text.contains("session hook") || file.text.contains("\"hook\"") {
                let called = |hook: &&String| {
                    file.text.contains(&format!("\"{hook}\"")) || file.text.contains(&format!("[hooks.{hook}]"))
                };
                assert!(profile.hooks.iter().all(|hook| called(&hook)), "{name} names hooks that it does not install");
                assert!(file.text.contains(&format!("session hook {name}")) || *name == "opencode");
            }
            if file.path.ends_with(".json") {
                serde_json::from_str::<serde_json::Value>(&file.text).unwrap();
            }
            if file.path.ends_with(".toml") {
                toml::from_str::<toml::Table>(&file.text).unwrap();
            }
        }
    }
}

#[test]
fn a_host_puts_its_own_over_the_shipped_ones_under_their_own_names() {
    let mut profiles = Profiles::shipped().clone();
    profiles.put("mine", "mine.toml", FULL);
    let source = |name: &str| profiles.all().find(|(other, _)| *other == name).unwrap().1.unwrap().1;
    assert_eq!((source("mine"), source("codex")), (Some("mine.toml"), None));
    assert_eq!(profiles.get("mine").unwrap().about, "My agent");
    profiles.put("codex", "codex.toml", &FULL.replace("\"mine\"\nabout", "\"codex\"\nabout"));
    assert_eq!(profiles.get("codex").unwrap().about, "My agent");
    profiles.put("claude", "claude.toml", FULL);
    let wrong = profiles.get("claude").unwrap_err().to_string();
    assert_eq!(
        wrong,
        "agent profile `claude` cannot be used, claude.toml:1:1: name is \"mine\"; allowed: claude, as its file is \
         called; correct or remove that file"
    );
    assert!(
        profiles.get("cladue").unwrap_err().to_string().starts_with("there is no agent profile `cladue`; there are: ")
    );
}

#[test]
fn a_profile_is_stored_and_one_of_before_there_was_more_to_say_is_read() {
    let profile = Profile::parse("x", FULL).unwrap();
    assert_eq!(serde_json::from_str::<Profile>(&serde_json::to_string(&profile).unwrap()).unwrap(), profile);
    let old: Profile = serde_json::from_str(r#"{"name":"codex","command":["codex"]}"#).unwrap();
    assert_eq!((old.task, old.answers), (Task::Untold, Answers::default()));
}

proptest! {
    /// Near misses go deeper than noise: any one bit of the full profile replaced by anything.
    #[test]
    fn no_near_miss_makes_it_panic(at in 0..FULL.len(), length in 0..40usize, with in "[ -~\u{e9}\n\0]{0,8}") {
        let text = format!("{}{with}{}", &FULL[..at], &FULL[(at + length).min(FULL.len())..]);
        if let Err(error) = Profile::parse("x", &text) {
            prop_assert!(error.line >= 1 && error.column >= 1 && !error.message.is_empty());
        }
    }
}
