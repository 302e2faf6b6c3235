//! A program that knows nothing of Pilothouse: it is rehearsed in a warm VM without leaving anything there, and its plain `git push`
//! opens a pull request.

use std::fs;

use tests::{
    Host, until,
    wait::{BOOT, SOON},
};

/// The program. Outside of a session it looks whether anybody would hear of it, and ends if so; wherever it runs it leaves what it can.
const PROGRAM: &str = r#"#!/bin/sh
[ "$1" != --version ] || exec echo scripted 1.2.3
if [ -z "$PILOTHOUSE_SESSION" ]; then
    session status done "from the rehearsal" && exit 11
    curl -sm 5 http://pilothouse.internal/ && exit 12
    [ "$(id -un) $PWD $HOME" = "agent /work/widgets /home/agent" ] || exit 13
    [ -t 0 ] && stty size >/dev/null || exit 14
    grep -q '^CapBnd:.0*$' /proc/self/status && grep -q '^NoNewPrivs:.1$' /proc/self/status || exit 17
    grep -q ' /sys sysfs ro,' /proc/mounts && grep -q ' /proc/sys proc ro,' /proc/mounts || exit 18
fi
for file in ~/left /tmp/left /var/tmp/left /dev/shm/left /work/widgets/left; do echo ran >>$file || exit 15; done
git config --global --add test.ran yes || exit 16
setsid sleep 7654321 &
seq -f 'line %g of a first screen' 10
exec sleep 1000000
"#;

fn environment(host: &Host) {
    let folder = host.data().join("agents");
    fs::create_dir_all(&folder).unwrap();
    let profile = format!(
        "name = 'scripted'\nabout = 'a script'\ncommand = ['scripted']\nuser = 'agent'\nrehearse = true\n\
         check = {{ command = ['scripted', '--version'], prints = '1.2.3' }}\n\
         [[files]]\npath = '/usr/local/bin/scripted'\nmode = '0755'\ntext = '''\n{PROGRAM}'''\n"
    );
    fs::write(folder.join("scripted.toml"), profile).unwrap();
    let recipe = fs::read_to_string(tests::paths::root().join("tests/environments/tools.toml")).unwrap();
    let recipe = recipe
        .replace("name = \"tools\"", "name = \"scripted\"\nwarm = { min = 1, max = 1 }")
        .replace("agent = { command = [\"bash\", \"--norc\", \"-i\"] }", "agent = \"scripted\"")
        .replace("path = \"/work/widgets\" }", "path = \"/work/widgets\", pull_requests = \"on-push\" }");
    let file = host.data().join("scripted.toml");
    fs::write(&file, recipe).unwrap();
    let _ = host.cli(["env", "build", file.to_str().unwrap()]).text();
}

/// Part of the test of `agent try`, whose base has the packages of this one: to make another takes a minute.
pub(crate) fn a_rehearsed_agent_leaves_nothing_and_its_plain_push_opens_a_pull_request(host: &Host) {
    environment(host);
    until("a warm VM", BOOT, || {
        let shown = host.cli(["env", "show", "--json", "scripted"]).json();
        let warm = &shown["warm"];
        assert!(warm["unrehearsed"].is_null(), "{warm}");
        (warm["ready"] == 1).then_some(())
    });
    let log = fs::read_to_string(host.log()).unwrap();
    assert!(log.contains("the agent was rehearsed in a warm VM"), "{log}");
    let id = host.cli(["new", "--env", "scripted", "--title", "plain"]).text();
    host.wait_for(&id, "lifecycle", "running");
    assert_eq!(host.show(&id)["phases"][0]["name"], "warm");
    until("its screen", SOON, || host.cli(["log", &id]).text().contains("line 10").then_some(()));

    // Once, of the session's own agent, there is what the rehearsal has left nothing of.
    let said =
        host.exec(&id, &["sh", "-c", "cat ~/left /tmp/left /var/tmp/left /dev/shm/left left | grep -c ran"]).text();
    assert_eq!(said, "5");
    assert_eq!(host.exec(&id, &["git", "config", "--global", "--get-all", "test.ran"]).text(), "yes");
    assert_eq!(host.exec(&id, &["pgrep", "-fc", "^sleep 7654321"]).text(), "1");
    assert_eq!(host.exec(&id, &["sh", "-c", "ls /run/lock; grep -c overlay /proc/mounts || true"]).text(), "0");
    assert_ne!(host.show(&id)["activity"], "done");

    let push = "git checkout -qb leap-seconds && git add left && git commit -qm 'Mind leap seconds\n\nThey were forgotten.' && \
                git push -q origin leap-seconds";
    let _ = host.exec(&id, &["sh", "-ec", push]).text();
    let pulls = host.cli(["review", "ls", "--json"]).json();
    let slug = host.slug(&id);
    assert_eq!((&pulls[0]["title"], &pulls[0]["number"]), (&"Mind leap seconds".into(), &1.into()), "{pulls}");
    assert_eq!(pulls[0]["head_branch"], format!("agent/{slug}/leap-seconds"), "{pulls}");
    let _ = host.exec(&id, &["sh", "-ec", "git commit -q --allow-empty -m 'And more' && git push -q"]).text();
    let story = until("its story", SOON, || {
        let story = host.cli(["events", &id]).text();
        (story.contains("#1 revision 2")).then_some(story)
    });
    assert!(story.contains("#1 into main: Mind leap seconds"), "{story}");
    assert_eq!(host.cli(["review", "ls", "--json"]).json().as_array().unwrap().len(), 1);
}
