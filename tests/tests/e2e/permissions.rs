//! A permission that a program asks for is answered without its terminal, by the keys that its profile names.

use std::fs;

use tests::{Host, paths, until, wait::SOON};

/// Asks for one permission after the other, and takes one key for each.
const AGENT: &str = r#"
stty -icanon -echo
say() { printf '\033]7501;%s\007' "$1"; }
say state=working
for tool in 'Bash(ls)' 'Bash(rm -rf x)' 'Bash(ls)'; do
  say "state=blocked:kind=permission:msg=$(printf '%s' "$tool" | base64)"
  IFS= read -r -N 1 key
  say state=working
  printf '%s: %q\n' "$tool" "$key" >>/srv/keys
done
say state=done
sleep infinity"#;

#[test]
fn a_permission_is_answered_by_the_keys_of_a_profile_while_it_is_asked_for() {
    let host = Host::start();
    fs::create_dir_all(host.data().join("agents")).unwrap();
    let profile = "name = 'asker'\nabout = 'Asks'\ncommand = ['bash']\nuser = 'root'\n\
                   answers = { allow = ['y'], deny = ['Esc'] }\n";
    fs::write(host.data().join("agents/asker.toml"), profile).unwrap();
    let tools = fs::read_to_string(paths::root().join("tests/environments/tools.toml")).unwrap();
    let agent = format!("agent = {{ profile = 'asker', command = ['bash', '-c', {}] }}", toml(AGENT));
    let tools: Vec<_> = tools.lines().map(|line| if line.starts_with("agent") { &*agent } else { line }).collect();
    let recipe = host.data().join("tools.toml");
    fs::write(&recipe, tools.join("\n")).unwrap();
    let _ = host.cli(["env", "build", recipe.to_str().unwrap()]).text();

    let id = host.session("asks", &[]);
    let asks = |what: &str| {
        until(what, SOON, || {
            let shown = host.show(&id);
            (shown["permission"]["text"] == what).then(|| shown["permission"]["id"].as_str().unwrap().to_owned())
        })
    };
    let first = asks("Bash(ls)");
    assert_eq!(host.cli(["answer", &id, "allow"]).text(), "allowed: Bash(ls) (pressed y)");
    let _ = asks("Bash(rm -rf x)");
    let late = host.cli(["answer", &id, "allow", "--permission", &first]);
    late.assert_failed(4, &["it does not ask for this permission any more, but for another one: Bash(rm -rf x)"]);

    // Nobody attends to it: it is put away, and woken for the answer.
    let _ = host.cli(["suspend", &id]).text();
    host.wait_for(&id, "lifecycle", "suspended");
    assert_eq!(host.cli(["answer", &id, "deny"]).text(), "denied: Bash(rm -rf x) (pressed Esc)");
    let third = asks("Bash(ls)");
    assert_ne!(third, first, "the same words, and another question");
    host.cli(["answer", &id, "allow", "--permission", &first]).assert_failed(4, &["nothing was pressed"]);
    let _ = host.cli(["answer", &id, "allow", "--permission", &third]).text();
    host.wait_for(&id, "activity", "idle");
    host.cli(["answer", &id, "allow"]).assert_failed(4, &["needs no permission"]);
    let keys = host.exec(&id, &["cat", "/srv/keys"]).text();
    assert_eq!(keys, "Bash(ls): y\nBash(rm -rf x): $'\\E'\nBash(ls): y");
    let told = host.cli(["events", &id]).text();
    assert!(told.contains("allowed") && told.contains("denied"), "{told}");
}

/// A text as a string of TOML.
fn toml(text: &str) -> String {
    format!("\"\"\"{}\"\"\"", text.replace('\\', "\\\\"))
}
