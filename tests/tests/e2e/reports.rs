//! What an agent's program reports of itself by OSC 7501 is seen at once, however much of it comes, and is explained.

use tests::{Host, until, wait::SOON};

/// Reports only to a terminal that answers, as programs do; goes on with each line that it reads.
const AGENT: &str = r#"
stty -icanon -echo
printf '\033]7501;?\033\\'
IFS= read -r -d '\' answer
[[ $answer == *'7501;?'* ]] || exit 7
stty icanon
say() { printf '\033]7501;%s\007' "$1"; }
say "state=working:app=demo:title=$(printf 'Date parser' | base64)"
say state=working:id=tests/unit:progress=40
read -r line
say "state=blocked:kind=permission:msg=$(printf 'Bash(ls)' | base64)"
read -r line
session hook claude <<<'{"session_id":"a","hook_event_name":"UserPromptSubmit"}' || exit 8
session hook claude <<<'no JSON' || exit 9
for n in {1..3000}; do say state=idle; say "state=working:id=part$n:progress=$((n % 101))"; done
say state=clear
say "state=working:msg=$(printf 'Last' | base64)"
say "state=done:msg=$(printf 'All done' | base64)"
sleep infinity"#;

#[test]
fn a_programs_reports_are_seen_explained_and_bounded() {
    let host = Host::start();
    let id = host.session("reports", &["bash", "-c", AGENT]);
    let shown = until("the parts to be shown", SOON, || {
        let shown = host.show(&id);
        (!shown["records"].as_array()?.is_empty() && !shown["report"].is_null()).then_some(shown)
    });
    assert_eq!((&shown["report"]["state"], &shown["report"]["title"]), (&"working".into(), &"Date parser".into()));
    let part = &shown["records"][0];
    assert_eq!((&part["id"], &part["progress"], &part["app"]), (&"tests/unit".into(), &40.into(), &"demo".into()));
    let explained = host.cli(["explain", &id, "--json"]).json();
    assert_eq!((&explained["decides"], &explained["said"][0]["state"]), (&"osc-7501".into(), &"working".into()));

    let _ = host.cli(["send", &id, "go on"]).text();
    host.wait_for(&id, "reason", "needs a permission: Bash(ls)");
    assert_eq!(host.show(&id)["attention"], "you");
    let _ = host.cli(["send", &id, "yes"]).text();
    let over = until("the flood to be over", SOON, || {
        let shown = host.show(&id);
        (shown["report"]["state"] == "done" && shown["records"] == serde_json::json!([])).then_some(shown)
    });
    assert!(over["reason"].as_str().unwrap().ends_with(": All done"), "{over}");
    // Hooks come on another stream than what the terminal shows.
    until("both to be explained", SOON, || {
        let explained = host.cli(["explain", &id]).text();
        (explained.contains("* osc-7501: done") && explained.contains("hook: working")).then_some(())
    });
    let told = host.cli(["events", &id]).text();
    assert!(told.lines().count() < 300, "{told}");
}
