use proptest::prelude::*;
use rstest::rstest;

use super::*;

const FULL: &str = r#"name = "python"
base = { debian = "bookworm", packages = ["git", "python3", "g++"] }
repository = { url = "http://pilothouse.internal/git/widgets.git", branch = "main", path = "/work/widgets" }
setup = ["python3 -m compileall ."]
agent = { command = ["claude", ""], task_argument = true }
ci = { command = ["./ci"] }
size = { vcpus = 2, memory = "512MiB", disk = "8GiB" }
warm = { min = 1, max = 4 }
suspend = { after = "5m" }
egress = ["Packages.example.com:443", "[::1]:80", "192.0.2.1:8080"]
"#;

#[test]
fn a_recipe_says_whether_its_sessions_start_again_after_a_crash() {
    let with = |restart: &str| Recipe::parse("x", &format!("{FULL}{restart}")).unwrap().restart;
    assert_eq!(with(""), None);
    assert_eq!(with("restart = { on = \"crash\" }"), Some(RestartPolicy { backoff: 10, most: 3 }));
    let all = "restart = { on = \"crash\", backoff = \"2m\", most = 5 }";
    assert_eq!(with(all), Some(RestartPolicy { backoff: 120, most: 5 }));
}

#[test]
fn a_full_recipe_is_read() {
    let recipe = Recipe::parse("x", FULL).unwrap();
    assert_eq!(recipe.local_repository(), Some("widgets"));
    assert_eq!(recipe.base.packages, ["git", "python3", "g++"]);
    assert_eq!(
        recipe.agent,
        Agent {
            command: vec!["claude".into(), String::new()],
            task: Task::Arguments(vec!["{task}".into()]),
            typed_events: TypedEvents::AtTurnsEnd
        }
    );
    assert_eq!(recipe.size, Size { vcpus: 2, memory: 512 << 20, disk: 8 << 30 });
    assert_eq!((recipe.warm, recipe.suspend_after), (Warm { min: 1, max: 4 }, 300));
    let egress: Vec<_> = recipe.egress.iter().map(|entry| (entry.to.as_str(), entry.private)).collect();
    assert_eq!(egress, [("packages.example.com:443", false), ("[::1]:80", false), ("192.0.2.1:8080", false)]);
    assert_eq!(recipe.warnings().len(), 1, "{:?}", recipe.warnings());
    assert_eq!((recipe.user.as_str(), recipe.also_read().len()), ("root", 0));
}

#[test]
fn the_least_recipe_has_defaults() {
    let recipe = Recipe::parse("x", "name='a'\nbase.debian='trixie'\nagent.command=['sh']").unwrap();
    assert_eq!(recipe.size, Size { vcpus: 1, memory: 512 << 20, disk: 8 << 30 });
    assert_eq!((recipe.repository, recipe.warm, recipe.suspend_after), (None, Warm { min: 0, max: 0 }, 60));
}

#[test]
fn checkpoints_are_a_time_or_a_table() {
    let checkpoint = |text: &str| {
        let recipe = format!("name='a'\nbase.debian='trixie'\nagent.command=['sh']\n{text}");
        Recipe::parse("x", &recipe).unwrap().checkpoint
    };
    assert_eq!(checkpoint(""), None);
    assert_eq!(checkpoint("checkpoint = '10m'"), Some(Checkpoints { every: 600, keep: 3 }));
    let table = "checkpoint = { every = '1h', keep = 5 }";
    assert_eq!(checkpoint(table), Some(Checkpoints { every: 3600, keep: 5 }));
}

#[test]
fn a_budget_is_in_dollars() {
    let budget = |text: &str| {
        let recipe = format!("name='a'\nbase.debian='trixie'\nagent.command=['sh']\n{text}");
        Recipe::parse("x", &recipe).map(|recipe| recipe.budget).map_err(|error| error.to_string())
    };
    assert_eq!(budget(""), Ok(None));
    assert_eq!((budget("budget = 5"), budget("budget = 0.25")), (Ok(Some(5_000_000)), Ok(Some(250_000))));
    for wrong in ["0", "-1", "0.001", "2000000", "nan", "inf"] {
        let error = budget(&format!("budget = {wrong}")).unwrap_err();
        assert!(error.contains("x:4:10: budget is in US dollars"), "{error}");
    }
    assert!(budget("budget = '5'").unwrap_err().starts_with("x:4:10: "));
}

#[test]
fn a_branch_is_the_one_that_is_named_or_left_to_the_repository() {
    let branch = |text: &str| Recipe::parse("x", text).unwrap().repository.unwrap().branch;
    assert_eq!(branch(FULL).as_deref(), Some("main"));
    assert_eq!(branch(&FULL.replace(r#", branch = "main""#, "")), None);
}

#[test]
fn branches_become_pull_requests_on_request_or_with_their_push() {
    let pulls = |text: &str| Recipe::parse("x", text).unwrap().repository.unwrap().pull_requests;
    let with = |word: &str| {
        FULL.replace(r#"path = "/work/widgets" }"#, &format!(r#"path = "/work/widgets", pull_requests = "{word}" }}"#))
    };
    assert_eq!(pulls(FULL), PullRequests::OnRequest);
    assert_eq!((pulls(&with("on-request")), pulls(&with("on-push"))), (PullRequests::OnRequest, PullRequests::OnPush));
}

#[test]
fn who_works_what_else_is_read_and_private_places_are_read() {
    let text = FULL
        .replace(r#"path = "/work/widgets" }"#, r#"path = "/work/widgets", read = ["lib", "a.b"] }"#)
        .replace("agent =", "user = \"dev\"\nagent =")
        .replace(
            r#""[::1]:80""#,
            r#"{ to = "DB.lan:5432", private = true }, { to = "x.example:1" }, "*.CDN.example.com", "b.example""#,
        );
    let recipe = Recipe::parse("x", &text).unwrap();
    assert_eq!((recipe.user.as_str(), recipe.also_read()), ("dev", &["lib".to_owned(), "a.b".to_owned()][..]));
    let egress: Vec<_> = recipe.egress.iter().map(|entry| (entry.to.as_str(), entry.private)).collect();
    let rest =
        [("db.lan:5432", true), ("x.example:1", false), ("*.cdn.example.com:443", false), ("b.example:443", false)];
    assert_eq!(egress[1..5], rest);
    assert!(recipe.warnings().is_empty());
}

#[test]
fn credentials_are_named_once_and_none_are_the_default() {
    let with = |line: &str| Recipe::parse("x", &format!("{FULL}{line}")).map(|recipe| recipe.credentials);
    assert_eq!(with("").unwrap(), Vec::<String>::new());
    assert_eq!(with("credentials = ['anthropic', 'npm', 'anthropic']").unwrap(), ["anthropic", "npm"]);
    assert!(with("credentials = ['../x']").unwrap_err().to_string().contains("pilothouse credential ls"));
}

#[test]
fn shipped_recipes_are_good() {
    let text = include_str!("../../../../environments/demo.toml");
    assert_eq!(Recipe::parse("demo.toml", text).unwrap().name, "demo");
}

#[test]
fn checks_are_read_and_a_command_alone_is_one() {
    let check = |name: &str, words: &[&str], timeout, required| CiCheck {
        name: name.into(),
        command: words.iter().map(|word| (*word).to_owned()).collect(),
        timeout,
        required,
    };
    assert_eq!(Recipe::parse("x", FULL).unwrap().ci, [check("ci", &["./ci"], 1800, true)]);
    let inline = r#"ci = { checks = [{ name = "unit", command = ["./ci", "unit"], timeout = "10m" },
        { name = "lint/all", command = ["./lint"], required = false }] }"#;
    let both = [check("unit", &["./ci", "unit"], 600, true), check("lint/all", &["./lint"], 1800, false)];
    let with = |ci: &str| Recipe::parse("x", &FULL.replace(r#"ci = { command = ["./ci"] }"#, ci)).unwrap().ci;
    assert_eq!(with(inline), both);
    let tables = "\n[[ci.checks]]\nname = 'unit'\ncommand = ['./ci', 'unit']\ntimeout = '600s'\n\
                  [[ci.checks]]\nname = 'lint/all'\ncommand = ['./lint']\nrequired = false\n";
    let text = FULL.replace(r#"ci = { command = ["./ci"] }"#, "") + tables;
    assert_eq!(Recipe::parse("x", &text).unwrap().ci, both);
}

/// Each case replaces a piece of the full recipe.
#[rstest]
#[case::unknown_key(
    r#"name = "python""#,
    r#"nmae = "python""#,
    "1:1: unknown key `nmae`, expected one of `name`, `base`, `repository`, `setup`, `user`, `environment`, `agent`, `ci`, `size`, `cpu`, `warm`, `suspend`, `restart`, `checkpoint`, `budget`, `egress`, `credentials`"
)]
#[case::unknown_inner_key(
    r#"suspend = { after = "5m" }"#,
    r#"suspend = { afer = "5m" }"#,
    "9:13: unknown key `afer`, expected `after`"
)]
#[case::unknown_table(
    r#"warm = {"#,
    r#"wram = {"#,
    "8:1: unknown key `wram`, expected one of `name`, `base`, `repository`, `setup`, `user`, `environment`, `agent`, `ci`, `size`, `cpu`, `warm`, `suspend`, `restart`, `checkpoint`, `budget`, `egress`, `credentials`"
)]
#[case::wrong_type(r#"name = "python""#, r#"name = 3"#, "1:8: invalid type: integer `3`, expected a string")]
#[case::wrong_inner_type(r#""python3", "g++""#, r#"7"#, "2:50: invalid type: integer `7`, expected a string")]
#[case::wrong_table_type(
    r#"repository = { url"#,
    "repository = \"x\"\n#{ url",
    r#"3:14: invalid type: string "x", expected a table with the keys url and path"#
)]
#[case::wrong_integer(r#"vcpus = 2"#, r#"vcpus = "2""#, r#"7:18: invalid type: string "2", expected an integer"#)]
#[case::missing_agent(r#"agent = {"#, r#"#"#, "1:1: missing key `agent`")]
#[case::agent_of_nothing(
    r#"agent = { command = ["claude", ""], task_argument = true }"#,
    r#"agent = { task_argument = true }"#,
    "5:9: missing key `command`, or `profile`"
)]
#[case::agent_type(
    r#"agent = { command = ["claude", ""], task_argument = true }"#,
    "agent = 7",
    "5:9: invalid type: integer `7`, expected the name of an agent profile, or a table with the key profile or command"
)]
#[case::no_such_profile(
    r#"agent = { command = ["claude", ""], task_argument = true }"#,
    r#"agent = "cladue""#,
    "5:9: there is no agent profile `cladue`; there are: aider, claude, codex, copilot, gemini, opencode, qwen, shell"
)]
#[case::no_such_profile_in_a_table(
    r#"agent = { command = ["claude", ""], task_argument = true }"#,
    r#"agent = { profile = "x" }"#,
    "5:21: there is no agent profile `x`; there are: aider, claude, codex, copilot, gemini, opencode, qwen, shell"
)]
#[case::variable_name(
    "agent = {",
    "environment = { A = \"1\", 2B = \"x\" }\nagent = {",
    r#"5:26: environment is "2B"; allowed: a name of letters, digits and underscore, at most 128, that does not begin with PILOTHOUSE_"#
)]
#[case::variable_of_ours(
    "agent = {",
    "environment.PILOTHOUSE_TASK = \"x\"\nagent = {",
    r#"5:13: environment is "PILOTHOUSE_TASK"; allowed: a name of letters, digits and underscore, at most 128, that does not begin with PILOTHOUSE_"#
)]
#[case::variable_value(
    "agent = {",
    "environment = { A = 1 }\nagent = {",
    "5:21: invalid type: integer `1`, expected a string"
)]
#[case::sudo_of_root(
    "agent = {",
    "user = { sudo = true }\nagent = {",
    "5:8: user is root, to whom sudo is of no use; name another user, or leave sudo out"
)]
#[case::user_key(
    "agent = {",
    "user = { name = \"a\", sduo = true }\nagent = {",
    "5:22: unknown key `sduo`, expected `name` or `sudo`"
)]
#[case::missing_name(r#"name = "python""#, r#""#, "1:1: missing key `name`")]
#[case::missing_debian(r#"debian = "bookworm", "#, r#""#, "2:8: missing key `debian`, `oci` or `devcontainer`")]
#[case::both_bases(
    r#"debian = "bookworm", "#,
    r#"debian = "bookworm", oci = "x", "#,
    "2:8: base has more than one of debian, oci and devcontainer; leave one of them in"
)]
#[case::credential_of_debian(
    r#"debian = "bookworm", "#,
    r#"debian = "bookworm", credential = "x", "#,
    "2:44: base.credential is for a base that is an image; leave it out"
)]
#[case::image(
    r#"debian = "bookworm", "#,
    r#"oci = "Debian", "#,
    r#"2:16: base.oci is "Debian", and a name has parts of lower-case letters, digits, and dots, underscores and dashes between them; allowed: [registry/]name[:tag][@sha256:digest], e.g. "debian:bookworm""#
)]
#[case::package_of_image(
    r#"debian = "bookworm", packages = ["git""#,
    r#"oci = "fedora", packages = ["-y""#,
    r#"2:38: package is "-y"; allowed: the name of one package: letters, digits, plus, dot, underscore and dash"#
)]
#[case::base_key(
    r#"debian = "bookworm", "#,
    r#"docker = "x", "#,
    "2:10: unknown key `docker`, expected one of `debian`, `oci`, `devcontainer`, `credential`, `registries`, `packages`"
)]
#[case::missing_url(r#"url = "http://pilothouse.internal/git/widgets.git", "#, r#""#, "3:14: missing key `url`")]
#[case::not_toml(r#"setup = ["#, r#"setup = "#, "4:34: unexpected key or value, expected newline, `#`")]
#[case::twice(r#"name = "python""#, "name = \"python\"\nname = \"x\"", "2:1: duplicate key")]
#[case::name_upper(
    "\"python\"\n",
    "\"Python\"\n",
    r#"1:8: name is "Python"; allowed: lower-case letters, digits and dashes, at most 40"#
)]
#[case::name_empty(
    r#"name = "python""#,
    r#"name = """#,
    r#"1:8: name is ""; allowed: lower-case letters, digits and dashes, at most 40"#
)]
#[case::suite_option(
    r#""bookworm""#,
    r#""--hook""#,
    r#"2:19: base.debian is "--hook"; allowed: a Debian suite such as bookworm: lower-case letters, digits and dashes"#
)]
#[case::package_option(
    r#""git""#,
    r#""-o""#,
    r#"2:43: package is "-o"; allowed: the name of one Debian package: lower-case letters, digits, plus, dot and dash"#
)]
#[case::package_list(r#""git""#, r#""git,vim""#, r#"2:43: package is "git,vim"; allowed: the name of one Debian package: lower-case letters, digits, plus, dot and dash"#)]
#[case::package_removed(r#""git""#, r#""dpkg-""#, r#"2:43: package is "dpkg-"; allowed: the name of one Debian package: lower-case letters, digits, plus, dot and dash"#)]
#[case::package_pattern(r#""git""#, r#""?essential""#, r#"2:43: package is "?essential"; allowed: the name of one Debian package: lower-case letters, digits, plus, dot and dash"#)]
#[case::url_elsewhere(r#"http://pilothouse.internal/git/widgets.git"#, r#"https://example.com/widgets.git"#, r#"3:22: repository.url is "https://example.com/widgets.git"; allowed: http://pilothouse.internal/git/NAME.git, NAME of lower-case letters, digits, dot, underscore and dash"#)]
#[case::url_climbs(r#"widgets.git"#, r#"..%2fx.git"#, r#"3:22: repository.url is "http://pilothouse.internal/git/..%2fx.git"; allowed: http://pilothouse.internal/git/NAME.git, NAME of lower-case letters, digits, dot, underscore and dash"#)]
#[case::branch_option(
    r#"branch = "main""#,
    r#"branch = "-x""#,
    r#"3:77: repository.branch is "-x"; allowed: a branch name of letters, digits, dot, underscore, slash and dash"#
)]
#[case::branch_climbs(r#"branch = "main""#, r#"branch = "a/../b""#, r#"3:77: repository.branch is "a/../b"; allowed: a branch name of letters, digits, dot, underscore, slash and dash"#)]
#[case::path_relative(r#""/work/widgets""#, r#""work""#, r#"3:92: repository.path is "work"; allowed: an absolute path of letters, digits, dot, underscore and dash, not in /dev, /proc, /run, /sys or /tmp"#)]
#[case::path_climbs(r#""/work/widgets""#, r#""/work/../etc""#, r#"3:92: repository.path is "/work/../etc"; allowed: an absolute path of letters, digits, dot, underscore and dash, not in /dev, /proc, /run, /sys or /tmp"#)]
#[case::path_fleeting(r#""/work/widgets""#, r#""/run/x""#, r#"3:92: repository.path is "/run/x"; allowed: an absolute path of letters, digits, dot, underscore and dash, not in /dev, /proc, /run, /sys or /tmp"#)]
#[case::path_shell(r#""/work/widgets""#, r#""/work/$(id)""#, r#"3:92: repository.path is "/work/$(id)"; allowed: an absolute path of letters, digits, dot, underscore and dash, not in /dev, /proc, /run, /sys or /tmp"#)]
#[case::setup_empty(
    r#""python3 -m compileall .""#,
    r#"" ""#,
    r#"4:10: command is " "; allowed: not empty, at most 4096 bytes without NUL"#
)]
#[case::setup_nul(
    r#""python3 -m compileall .""#,
    r#""a\u0000""#,
    r#"4:10: command is "a\0"; allowed: not empty, at most 4096 bytes without NUL"#
)]
#[case::command_empty(r#"["claude", ""]"#, r#"[]"#, "5:21: command is empty; it must name a program")]
#[case::command_nameless(
    r#"["claude", ""]"#,
    r#"["", "x"]"#,
    r#"5:22: command is ""; allowed: not empty, at most 4096 bytes without NUL"#
)]
#[case::ci_empty(
    r#"ci = { command = ["./ci"] }"#,
    r#"ci = {}"#,
    "6:6: ci has neither command nor checks; give one of them, or leave ci out"
)]
#[case::ci_both(
    r#"ci = { command = ["./ci"] }"#,
    r#"ci = { command = ["./ci"], checks = [{ name = "a", command = ["b"] }] }"#,
    "6:18: ci has both command and checks; make the command one of the checks"
)]
#[case::ci_unknown_key(
    r#"ci = { command = ["./ci"] }"#,
    r#"ci = { checks = [{ name = "a", cmd = ["b"] }] }"#,
    "6:32: unknown key `cmd`, expected one of `name`, `command`, `timeout`, `required`"
)]
#[case::ci_name(
    r#"ci = { command = ["./ci"] }"#,
    r#"ci = { checks = [{ name = "a b", command = ["b"] }] }"#,
    r#"6:27: name is "a b"; allowed: letters, digits, dot, underscore, slash and dash, at most 64"#
)]
#[case::ci_twice(
    r#"ci = { command = ["./ci"] }"#,
    r#"ci = { checks = [{ name = "a", command = ["b"] }, { name = "a", command = ["b"] }] }"#,
    r#"6:60: there are two checks "a"; their names must differ"#
)]
#[case::ci_timeout(
    r#"ci = { command = ["./ci"] }"#,
    r#"ci = { checks = [{ name = "a", command = ["b"], timeout = "25h" }] }"#,
    r#"6:59: timeout is "25h"; allowed: a time such as "90s", "5m" or "1h", from 1s to 24h"#
)]
#[case::vcpus_none(r#"vcpus = 2"#, r#"vcpus = 0"#, "7:18: size.vcpus is 0; allowed: from 1 to 64")]
#[case::vcpus_many(r#"vcpus = 2"#, r#"vcpus = 65"#, "7:18: size.vcpus is 65; allowed: from 1 to 64")]
#[case::memory_small(
    r#"512MiB"#,
    r#"63MiB"#,
    r#"7:30: size.memory is "63MiB"; allowed: a number of MiB, GiB or TiB such as "512MiB", from 64MiB to 1TiB"#
)]
#[case::memory_odd(
    r#"512MiB"#,
    r#"65537KiB"#,
    r#"7:30: size.memory is "65537KiB"; allowed: a number of MiB, GiB or TiB such as "512MiB", from 64MiB to 1TiB"#
)]
#[case::memory_unit(
    r#"512MiB"#,
    r#"512MB"#,
    r#"7:30: size.memory is "512MB"; allowed: a number of MiB, GiB or TiB such as "512MiB", from 64MiB to 1TiB"#
)]
#[case::memory_overflow(r#"512MiB"#, r#"99999999999999TiB"#, r#"7:30: size.memory is "99999999999999TiB"; allowed: a number of MiB, GiB or TiB such as "512MiB", from 64MiB to 1TiB"#)]
#[case::disk_small(
    r#""8GiB""#,
    r#""8MiB""#,
    r#"7:47: size.disk is "8MiB"; allowed: a number of MiB, GiB or TiB such as "512MiB", from 1GiB to 16TiB"#
)]
#[case::warm_order(r#"max = 4"#, r#"max = 0"#, "8:25: warm.max is 0; allowed: at least warm.min, which is 1")]
#[case::warm_negative(r#"min = 1"#, r#"min = -1"#, "8:16: warm.min is -1; allowed: from 0 to 64")]
#[case::checkpoint_often(
    r#"suspend = { after = "5m" }"#,
    "checkpoint = \"1s\"",
    r#"9:14: checkpoint is every 1 s, and each makes the VM stand still; allowed: from 30s"#
)]
#[case::checkpoint_keep(
    r#"suspend = { after = "5m" }"#,
    "checkpoint = { every = \"10m\", keep = 0 }",
    r#"9:14: checkpoint.keep is 0; allowed: from 1 to 32"#
)]
#[case::checkpoint_time(
    r#"suspend = { after = "5m" }"#,
    "checkpoint = { every = \"daily\" }",
    r#"9:14: checkpoint is "daily"; allowed: a time such as "90s", "5m" or "1h", from 1s to 24h"#
)]
#[case::suspend_unit(
    r#""5m""#,
    r#""5 minutes""#,
    r#"9:21: suspend.after is "5 minutes"; allowed: a time such as "90s", "5m" or "1h", from 1s to 168h"#
)]
#[case::suspend_zero(
    r#""5m""#,
    r#""0s""#,
    r#"9:21: suspend.after is "0s"; allowed: a time such as "90s", "5m" or "1h", from 1s to 168h"#
)]
#[case::restart_on(
    "egress =",
    "restart = { on = \"always\" }\negress =",
    r#"10:18: restart.on is "always"; allowed: crash"#
)]
#[case::restart_without_on(
    "egress =",
    "restart = { most = 3 }\negress =",
    r#"10:11: missing key `on`; restart.on = "crash" is what there is"#
)]
#[case::restart_backoff(
    "egress =",
    "restart = { on = \"crash\", backoff = \"0s\" }\negress =",
    r#"10:37: restart.backoff is "0s"; allowed: a time such as "90s", "5m" or "1h", from 1s to 1h"#
)]
#[case::restart_most(
    "egress =",
    "restart = { on = \"crash\", most = 33 }\negress =",
    "10:34: restart.most is 33; allowed: from 1 to 32"
)]
#[case::restart_unknown(
    "egress =",
    "restart = { on = \"crash\", times = 3 }\negress =",
    "10:27: unknown key `times`, expected one of `on`, `backoff`, `most`"
)]
#[case::user_in_a_table(
    "agent = {",
    "user = { name = \"-x\" }\nagent = {",
    r#"5:8: user is "-x"; allowed: a user name of lower-case letters, digits, underscore and dash, at most 32"#
)]
#[case::user(
    "agent = {",
    "user = \"-x\"\nagent = {",
    r#"5:8: user is "-x"; allowed: a user name of lower-case letters, digits, underscore and dash, at most 32"#
)]
#[case::read(
    r#"path = "/work/widgets" }"#,
    r#"path = "/work/widgets", read = ["../x"] }"#,
    r#"3:117: read is "../x"; allowed: the name of a repository of this host, as `pilothouse repo ls` has it"#
)]
#[case::pull_requests(
    r#"path = "/work/widgets" }"#,
    r#"path = "/work/widgets", pull_requests = "always" }"#,
    r#"3:125: repository.pull_requests is "always"; allowed: on-request or on-push"#
)]
#[case::egress_key(
    r#""[::1]:80""#,
    r#"{ to = "a:1", privat = true }"#,
    "10:53: unknown key `privat`, expected `to` or `private`"
)]
#[case::egress_type(
    r#""[::1]:80""#,
    "7",
    "10:39: invalid type: integer `7`, expected a string, or a table with the keys to and private"
)]
#[case::egress_no_port(r#""[::1]:80""#, r#""example.com:""#, r#"10:39: egress is "example.com:"; allowed: host:port, e.g. "packages.example.com:443", or *.domain:port for all names below a domain; without a port, 443. With https:// before it TLS alone may be spoken, with http:// HTTP alone (port 80), with tcp:// (and a port) anything"#)]
#[case::egress_wildcard(r#""[::1]:80""#, r#""*.com:80""#, r#"10:39: egress is "*.com:80"; allowed: host:port, e.g. "packages.example.com:443", or *.domain:port for all names below a domain; without a port, 443. With https:// before it TLS alone may be spoken, with http:// HTTP alone (port 80), with tcp:// (and a port) anything"#)]
#[case::egress_port(r#""[::1]:80""#, r#""é:80", "a:0""#, r#"10:39: egress is "é:80"; allowed: host:port, e.g. "packages.example.com:443", or *.domain:port for all names below a domain; without a port, 443. With https:// before it TLS alone may be spoken, with http:// HTTP alone (port 80), with tcp:// (and a port) anything"#)]
fn bad_recipes_are_refused(#[case] piece: &str, #[case] with: &str, #[case] message: &str) {
    assert!(FULL.contains(piece), "the case does not fit the recipe any more");
    let error = Recipe::parse("bad.toml", &FULL.replacen(piece, with, 1)).unwrap_err();
    assert_eq!(error.to_string(), format!("bad.toml:{message}"));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC*") {
        let _ = Recipe::parse("x", &text);
    }

    /// Near misses go deeper than noise: any one bit of the full recipe replaced by anything.
    #[test]
    fn no_near_miss_makes_it_panic(at in 0..FULL.len(), length in 0..40usize, with in "[ -~\u{e9}\n\0]{0,8}") {
        let text = format!("{}{with}{}", &FULL[..at], &FULL[(at + length).min(FULL.len())..]);
        if let Err(error) = Recipe::parse("x", &text) {
            prop_assert!(error.line >= 1 && error.column >= 1 && !error.message.is_empty());
        }
    }
}

#[test]
fn what_a_processor_may_do_beside_the_usual_is_asked_for() {
    let cpu = |text: &str| {
        let text = format!("name='a'\nbase.debian='bookworm'\nagent.command=['sh']\n{text}");
        Recipe::parse("x", &text).map(|recipe| recipe.cpu)
    };
    assert_eq!(cpu("").unwrap(), Cpu::default());
    assert_eq!(cpu("cpu = { nested = true }").unwrap(), Cpu { nested: true, counters: false });
    assert_eq!(cpu("cpu.counters = true").unwrap(), Cpu { nested: false, counters: true });
    assert!(cpu("cpu.pmu = true").unwrap_err().message.contains("unknown key `pmu`"));
}

/// What a new user types in first.
#[test]
fn the_recipe_of_the_readme_is_read() {
    let readme = include_str!("../../../../README.md");
    let indented = |heading: &str| {
        let lines = readme.lines().skip_while(|line| line.trim() != heading);
        lines.take_while(|line| line.starts_with("    ")).map(|line| format!("{}\n", line.trim())).collect::<String>()
    };
    let text = indented("# tidy.toml") + &indented("[[ci.checks]]");
    let recipe = Recipe::parse("README.md", &text).unwrap();
    assert_eq!((recipe.name.as_str(), recipe.also_read()), ("tidy", &["lib".to_owned()][..]));
    assert_eq!((recipe.egress.len(), recipe.ci.len()), (4, 1));
    assert_eq!(recipe.warnings(), Vec::<String>::new());
}

fn with_agent(text: &str) -> Recipe {
    Recipe::parse("x", &format!("name='a'\nbase.debian='bookworm'\n{text}")).unwrap()
}

#[test]
fn the_name_of_a_profile_is_enough() {
    let recipe = with_agent("agent = 'codex'");
    let profile = recipe.profile.clone().unwrap();
    assert_eq!((recipe.user.as_str(), recipe.sudo, recipe.size.memory), ("agent", false, 1 << 30));
    assert_eq!((&recipe.agent.command, &recipe.agent.task), (&profile.command, &profile.task));
    assert_eq!(recipe.environment, profile.environment);
    assert_eq!(recipe.egress.iter().map(|egress| &egress.to).collect::<Vec<_>>(), ["api.openai.com:443"]);
    assert_eq!(recipe.packages(), ["ca-certificates", "git", "passwd"]);
    assert_eq!(with_agent("agent = { profile = 'codex' }"), recipe);
}

#[test]
fn what_a_recipe_says_itself_goes_over_its_profile() {
    let recipe = with_agent(
        "agent = { profile = 'codex', command = ['codex', '-m', 'x'], task_argument = true, typed_events = true }\n\
         user = { name = 'dev', sudo = true }\nsize.memory = '2GiB'\n\
         environment = { OPENAI_API_KEY = 'mine', CI = '' }\n\
         egress = [{ to = 'api.openai.com:443', private = true }, 'a.example:1']",
    );
    assert_eq!(recipe.agent.command, ["codex", "-m", "x"]);
    let typed = recipe.agent.typed_events;
    assert_eq!((&recipe.agent.task, typed), (&Task::Arguments(vec!["{task}".into()]), TypedEvents::All));
    assert_eq!((recipe.user.as_str(), recipe.sudo, recipe.size.memory), ("dev", true, 2 << 30));
    assert_eq!((recipe.environment["OPENAI_API_KEY"].as_str(), recipe.environment["CI"].as_str()), ("mine", ""));
    let egress: Vec<_> = recipe.egress.iter().map(|egress| (egress.to.as_str(), egress.private)).collect();
    assert_eq!(egress, [("api.openai.com:443", true), ("a.example:1", false)]);
    let bounded = with_agent("agent = 'codex'\negress = ['https://api.openai.com', 'a.example:1']");
    let egress: Vec<_> = bounded.egress.iter().map(|egress| egress.to.as_str()).collect();
    assert_eq!(egress, ["https://api.openai.com:443", "a.example:1"], "the profile does not take the bound away");
    assert!(recipe.packages().contains(&"sudo".into()));

    let as_root = with_agent("agent = 'shell'\nuser = 'root'");
    assert_eq!((as_root.user.as_str(), as_root.sudo), ("root", false), "the profile's sudo is not for root");
    assert!(with_agent("agent = 'shell'").sudo);
    assert!(!with_agent("agent = 'shell'\nuser.sudo = false").sudo);
    assert_eq!(with_agent("agent = { profile = 'codex', task_argument = false }").agent.task, Task::Untold);
}

#[test]
fn a_recipe_without_a_profile_is_what_it_always_was() {
    let recipe = with_agent("agent.command = ['sh']\nuser = 'dev'");
    assert_eq!((recipe.profile, recipe.sudo, recipe.environment.len()), (None, false, 0));
    assert_eq!(with_agent("agent.command = ['sh']\nuser = 'dev'").packages(), Vec::<String>::new());
}

#[test]
fn a_wrong_profile_is_told_where_it_is_named() {
    let mut profiles = Profiles::shipped().clone();
    profiles.put("codex", "/data/agents/codex.toml", "name = 'codex'\nabuot = ''");
    let text = "name='a'\nbase.debian='bookworm'\nagent = 'codex'";
    let error = Recipe::parse_with("x", text, &profiles).unwrap_err().to_string();
    assert!(
        error.starts_with(
            "x:3:9: agent profile `codex` cannot be used, /data/agents/codex.toml:2:1: unknown key `abuot`, expected one of"
        ),
        "{error}"
    );
    assert!(error.ends_with("; correct or remove that file"), "{error}");
    assert!(Recipe::parse_with("x", &text.replace("codex", "claude"), &profiles).is_ok());
}

#[test]
fn an_image_says_what_the_recipe_does_not() {
    let parse = |text: &str| Recipe::parse("x", &format!("name='a'\n{text}")).unwrap();
    let bare = parse(
        "base = { oci = 'r.lan/app:1', credential = 'lan', packages = ['gcc-c++', 'NetworkManager'] }\nagent.command=['sh']",
    );
    let System::Image { reference, credential } = &bare.base.system else { panic!() };
    assert_eq!((reference.to_string().as_str(), credential.as_deref()), ("r.lan/app:1", Some("lan")));
    assert_eq!((bare.user.as_str(), bare.directory(), bare.lacks_shell()), ("root", "/", false));
    let text =
        r#"{"environment":{"PATH":"/opt/bin","A":"image","B":"image"},"directory":"/srv","user":"app","shell":false}"#;
    let image: Defaults = serde_json::from_str(text).unwrap();
    let on = bare.on(Some(&image), "/run/bin");
    assert_eq!((on.user.as_str(), on.directory(), on.lacks_shell()), ("app", "/srv", true));
    assert_eq!((on.environment["PATH"].as_str(), on.environment["A"].as_str()), ("/run/bin:/opt/bin", "image"));
    let own = parse(
        "base.oci = 'app'\nagent.command=['sh']\nuser='root'\nenvironment = { A = 'own', PATH = '/own' }\n\
         repository = { url = 'http://pilothouse.internal/git/a.git', path = '/a' }",
    );
    let on = own.on(Some(&image), "/run/bin");
    assert_eq!((on.user.as_str(), on.directory(), on.environment["A"].as_str()), ("root", "/a", "own"));
    assert_eq!((on.environment["PATH"].as_str(), on.environment["B"].as_str()), ("/own", "image"));
    let odd = Defaults {
        environment: [("PATH", ""), ("HOME", "/home/app"), ("Https_Proxy", "http://x")]
            .map(|(name, value)| (name.into(), value.into()))
            .into(),
        ..image.clone()
    };
    let kept = |recipe: &Recipe| recipe.on(Some(&odd), "/run/bin").environment.into_keys().collect::<Vec<_>>();
    assert_eq!((kept(&bare), kept(&own)), (vec!["HOME".into()], vec!["A".into(), "PATH".into()]));
    assert_eq!(parse("base.oci = 'app'\nagent = 'codex'").on(Some(&image), "/x").user, "agent");
    assert_eq!(own.on(None, "/x"), own);
}

#[test]
fn a_devcontainer_is_a_path_of_the_repository_or_wherever_it_has_one() {
    let of = |base: &str, rest: &str| {
        Recipe::parse(
            "x.toml",
            &format!("name = \"x\"\nbase = {{ devcontainer = {base} }}\nagent = {{ command = [\"a\"] }}\n{rest}"),
        )
    };
    let repository = "repository = { url = \"http://pilothouse.internal/git/a.git\", path = \"/a\" }\n";
    let system = |base: &str| of(base, repository).unwrap().base.system;
    let expected = |path: Option<&str>| System::Devcontainer {
        path: path.map(str::to_owned),
        credential: None,
        registries: vec![],
    };
    assert_eq!(system("true"), expected(None));
    assert_eq!(
        system("\".devcontainer/node/devcontainer.json\""),
        expected(Some(".devcontainer/node/devcontainer.json"))
    );
    for base in
        ["\"/etc/devcontainer.json\"", "\"../devcontainer.json\"", "\"devcontainer\"", "\"a:b.json\"", "false", "1"]
    {
        let error = of(base, repository).unwrap_err().to_string();
        assert!(error.starts_with("x.toml:2:25: "), "{error}");
    }
    let registries =
        |list: &str| of(&format!("true, registries = [{list}]"), repository).map(|recipe| recipe.base.system);
    let Ok(System::Devcontainer { registries: named, .. }) = registries("\"127.0.0.1:5000\", \"hub.lan\"") else {
        panic!()
    };
    assert_eq!(named, ["127.0.0.1:5000", "hub.lan"]);
    for wrong in ["\"http://a\"", "\"A.example\"", "\"a/b\"", "\"\""] {
        let error = registries(wrong).unwrap_err().to_string();
        assert!(error.contains("base.registries") && error.contains("the host of a registry"), "{error}");
    }
    let error = of("true", "").unwrap_err().to_string();
    assert!(error.contains("x.toml:2:8: base.devcontainer is a file of the repository, and there is none"), "{error}");

    // The user is the devcontainer's, unless the recipe names one; no profile's agent becomes root by it.
    let image = |user: &str| Defaults { user: user.into(), ..Defaults::default() };
    let user = |rest: &str, of_image: &str| {
        of("true", &format!("{repository}{rest}")).unwrap().on(Some(&image(of_image)), "/x").user
    };
    assert_eq!((user("", "node"), user("user = \"dev\"", "node")), ("node".into(), "dev".into()));
    let with_profile = |of_image: &str| {
        let text = format!("name = \"x\"\nbase = {{ devcontainer = true }}\nagent = \"codex\"\n{repository}");
        Recipe::parse("x", &text).unwrap().on(Some(&image(of_image)), "/x").user
    };
    assert_eq!(with_profile("node"), "node");
    assert_eq!((with_profile("root") == "root", with_profile("") == "root"), (false, false));
}
