//! A fork is the same and another: its memory and disk are the original's, its names are its own, and neither needs the other.

use std::fs;

use tests::{Host, until, wait::SOON};

use super::suspend::TICKER;

fn shell(host: &Host, id: &str, script: &str) -> String {
    host.exec(id, &["sh", "-c", script]).text()
}

/// Its ticks go on, and none was lost or doubled.
fn ticks(host: &Host, id: &str) {
    let last = || shell(host, id, "tail -n 1 /root/ticks");
    let before = last();
    until("another tick", SOON, || (last() != before).then_some(()));
    let wrong = shell(host, id, "awk '$1 != NR { print \"at\", NR, $1; exit }' /root/ticks");
    assert_eq!(wrong, "", "a tick was lost or doubled");
}

#[test]
fn both_go_on_from_the_same_moment_as_different_machines() {
    let host = Host::start();
    let id = host.session("forked", &["sh", "-c", TICKER]);
    shell(&host, &id, "until [ -s /run/secret ]; do sleep 0.1; done; echo shared >/root/file");
    let secret = shell(&host, &id, "sort -u /run/secret");
    let fork = host.cli(["fork", &id, "--title", "the other way"]).text();
    host.wait_for(&fork, "lifecycle", "running");
    let (first, second) = (host.show(&id), host.show(&fork));
    assert_eq!((&first["lifecycle"], &first["generation"]), (&"running".into(), &1.into()), "{first}");
    assert_eq!((&second["forked_from"], &second["title"]), (&first["id"], &"the other way".into()), "{second}");
    for one in [&id, &fork] {
        // The file is gone until the process writes its secret, which is in its memory alone, again.
        shell(&host, one, "rm -f /run/secret; until [ -s /run/secret ]; do sleep 0.1; done");
        assert_eq!(shell(&host, one, "sort -u /run/secret"), secret);
        ticks(&host, one);
    }
    for what in ["hostname", "cat /etc/machine-id", "cat /proc/sys/kernel/random/uuid", "echo $PILOTHOUSE_SLUG"] {
        assert_ne!(shell(&host, &id, what), shell(&host, &fork, what), "{what}");
    }
    let slug = host.slug(&fork);
    let who: serde_json::Value = serde_json::from_str(&shell(&host, &fork, "session show --json")).unwrap();
    assert_eq!((&who["id"], &who["slug"]), (&second["id"], &slug.clone().into()));
    pushes_as_itself(&host, &fork, &slug, &host.slug(&id));
    // Each writes for itself.
    shell(&host, &id, "echo mine >/root/file; sync");
    assert_eq!(shell(&host, &fork, "cat /root/file"), "shared");
    let _ = host.cli(["rm", "--yes", &id]).text();
    shell(&host, &fork, "echo more >>/root/file; sync; echo 3 >/proc/sys/vm/drop_caches");
    assert_eq!(shell(&host, &fork, "cat /root/file"), "shared\nmore");
    let _ = host.cli(["suspend", &fork]).text();
    assert_eq!(
        shell(&host, &fork, "echo 3 >/proc/sys/vm/drop_caches; cat /root/file; git -C /work/widgets fsck 2>&1"),
        "shared\nmore"
    );
    ticks(&host, &fork);
}

/// The agent was started with the original's name in NO_PROXY.
#[test]
fn what_ran_before_a_fork_reaches_the_forks_own_servers_by_its_own_name() {
    let host = Host::start();
    let agent = "touch /run/up; until [ -e /run/go ]; do sleep 0.1; done
        curl -sS -m 60 http://$(hostname):8000/ >/run/half 2>&1
        mv /run/half /run/got; sleep 1000000";
    let id = host.session("renamed", &["sh", "-c", agent]);
    shell(&host, &id, "until [ -e /run/up ]; do sleep 0.1; done");
    let fork = host.cli(["fork", &id]).text();
    let server = r#"exec >/dev/null 2>&1 </dev/null; setsid perl -MIO::Socket::INET -e '
        $s = IO::Socket::INET->new(Listen => 5, LocalAddr => "0.0.0.0", LocalPort => 8000, ReuseAddr => 1) or die;
        open $listens, ">", "/run/go" or die;
        while ($c = $s->accept) { $line = <$c>; print $c "HTTP/1.0 200 OK\r\n\r\n$line"; close $c }' &"#;
    shell(&host, &fork, server);
    let got = until("its answer", SOON, || {
        Some(shell(&host, &fork, "cat /run/got 2>/dev/null; true")).filter(|got| !got.is_empty())
    });
    assert_eq!(got, "GET / HTTP/1.1", "{got}");
}

fn pushes_as_itself(host: &Host, fork: &str, slug: &str, original: &str) {
    let commit = "cd /work/widgets && git config user.email a@b.invalid && git config user.name A && \
        git commit -q --allow-empty -m fork";
    shell(host, fork, commit);
    let push = |branch: &str| {
        host.exec(fork, &["git", "-C", "/work/widgets", "push", "-q", "origin", &format!("HEAD:refs/heads/{branch}")])
    };
    let _ = push(&format!("agent/{slug}/work")).text();
    let refused = push(&format!("agent/{original}/work"));
    assert_ne!(refused.code, 0, "{refused}");
}

#[test]
fn a_suspended_session_is_forked_without_being_woken() {
    let host = Host::start();
    let id = host.session("asleep", &["sh", "-c", TICKER]);
    shell(&host, &id, "until [ -s /run/secret ]; do sleep 0.1; done");
    let secret = shell(&host, &id, "sort -u /run/secret");
    let _ = host.cli(["suspend", &id]).text();
    let fork = host.cli(["fork", &id]).text();
    assert_eq!(shell(&host, &fork, "sort -u /run/secret"), secret);
    assert_eq!(host.show(&id)["lifecycle"], "suspended");
    assert_eq!(host.vms().len(), 1);
    ticks(&host, &fork);
    // Nothing of the original goes with its fork, and a fork of a running fork is one too.
    let again = host.cli(["fork", &fork]).text();
    host.wait_for(&again, "lifecycle", "running");
    let _ = host.cli(["rm", "--yes", &fork]).text();
    for one in [&id, &again] {
        assert_eq!(shell(&host, one, "sort -u /run/secret"), secret);
        ticks(&host, one);
    }
}

/// The layers of its disk that its running QEMU has open, and whether any is no file of a folder any more.
fn layers(host: &Host, id: &str) -> (usize, bool) {
    let record = fs::read_to_string(host.data().join("sessions").join(id).join("vm.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    let open = fs::read_dir(format!("/proc/{}/fd", record["process"]["pid"])).unwrap().flatten();
    let targets = open.filter_map(|open| fs::read_link(open.path()).ok()?.into_os_string().into_string().ok());
    let layers: Vec<String> = targets.filter(|target| target.contains(".qcow2") || target.contains(".ext4")).collect();
    (layers.len(), layers.iter().any(|layer| layer.ends_with("(deleted)")))
}

/// Is never done with writing, so that its disk is in use at whatever moment its layers change.
const WRITER: &str = "mkdir /root/written; i=0; while :; do i=$((i+1)); head -c 64k /dev/urandom >/root/written/$i; \
    md5sum /root/written/$i >>/root/sums; sync; sleep 0.02; done";

#[test]
fn a_session_that_is_forked_often_keeps_a_short_chain() {
    let host = Host::start();
    let id = host.session("often", &["sh", "-c", WRITER]);
    shell(&host, &id, "head -c 8M /dev/urandom >/root/kept; head -c 64M /dev/urandom >/root/gone; sync");
    let sums = "echo 3 >/proc/sys/vm/drop_caches; md5sum /root/kept /root/part*; md5sum --quiet -c /root/sums";
    for number in 1..=6 {
        // Parts of the file below, over again, too.
        let write = "head -c 2M /dev/urandom >/root/part$0; \
            dd if=/dev/urandom of=/root/kept bs=100k count=3 seek=$0 conv=notrunc 2>&1; rm -f /root/gone; sync";
        let _ = host.exec(&id, &["sh", "-c", write, &number.to_string()]).text();
        let before = shell(&host, &id, sums);
        let fork = host.cli(["fork", &id]).text();
        // Base, build, what was merged, what is now, and what it writes to; for a moment also what they are merged into.
        let open = layers(&host, &id);
        assert!(open.0 <= 6, "{open:?} after {number} forks");
        assert_eq!(shell(&host, &id, sums), before);
        assert_eq!(shell(&host, &fork, sums), before);
        if number < 6 {
            let _ = host.cli(["rm", "--yes", &fork]).text();
        }
    }
    until("its QEMU to hold a short chain", SOON, || (layers(&host, &id) == (4, false)).then_some(()));
    let before = shell(&host, &id, sums);
    shell(&host, &id, "head -c 1M /dev/urandom >/root/after; sync");
    let _ = host.cli(["suspend", &id]).text();
    let _ = host.cli(["resume", &id]).text();
    assert_eq!(shell(&host, &id, sums), before);
    assert_eq!(shell(&host, &id, "wc -c </root/after"), "1048576");
    until("its QEMU to hold a short chain again", SOON, || (layers(&host, &id) == (4, false)).then_some(()));
}
