//! The repository inside, and no other way out.

use std::process::Command;

use tests::{Host, Outcome, run};

fn shell(host: &Host, id: &str, script: &str) -> Outcome {
    host.exec(id, &["sh", "-c", script])
}

/// Clone, fetch and push to the session's own branches; everything else is refused with words.
#[test]
fn git_goes_through_the_gateway_and_nothing_else_does() {
    let host = Host::start();
    let id = host.session("pusher", &[]);
    let slug = host.slug(&id);
    let other = host.slug(&host.dispatch("other", &[]));
    let _ =
        shell(&host, &id, "git clone -q http://pilothouse.internal/git/widgets.git /tmp/clone && /tmp/clone/ci").text();
    let commit = "git config user.email a@b.invalid && git config user.name A && \
                  git commit -q --allow-empty -m 'From inside' && git fetch -q";
    let _ = shell(&host, &id, commit).text();
    let _ = shell(&host, &id, &format!("git push -q origin HEAD:refs/heads/agent/{slug}/work")).text();
    assert_eq!(in_bare(&host, &["log", "-1", "--format=%s", &format!("agent/{slug}/work")]), "From inside");
    let before = in_bare(&host, &["for-each-ref"]);
    pushes_are_refused(&host, &id, &slug, &other);
    ways_out_are_refused(&host, &id);
    assert_eq!(in_bare(&host, &["for-each-ref"]), before, "a refused push changed something");
    big_pushes_go_through(&host, &id, &slug);
    // What sessions work with is neither renamed nor removed by mistake.
    let said = [slug.as_str(), other.as_str(), "the environment tools"];
    host.cli(["repo", "rename", "widgets", "gadgets"]).assert_failed(4, &said);
    host.cli(["repo", "remove", "widgets", "--yes"]).assert_failed(4, &said);
}

fn in_bare(host: &Host, args: &[&str]) -> String {
    run(Command::new("git").arg("-C").arg(host.data().join("git/widgets.git")).args(args), &[]).text()
}

fn pushes_are_refused(host: &Host, id: &str, slug: &str, other: &str) {
    let refused = [
        "HEAD:refs/heads/main".to_owned(),
        format!("HEAD:refs/heads/agent/{other}/work"),
        format!("HEAD:refs/heads/agent/{slug}"),
        format!("HEAD:refs/heads/agent/{slug}-too/work"),
        format!("HEAD:refs/heads/agent/{slug}/../{other}/work"),
        "HEAD:refs/tags/v1".to_owned(),
        ":refs/heads/main".to_owned(),
        "+HEAD:refs/heads/main".to_owned(),
    ];
    for target in refused {
        let outcome = shell(host, id, &format!("git push origin '{target}'"));
        assert_ne!(outcome.code, 0, "{outcome}");
        let mut words = [format!("agent/{slug}/"), "invalid refspec".into()].into_iter();
        assert!(words.any(|words| outcome.stderr.contains(&words)), "{outcome}");
    }
    let both = format!("git push origin HEAD:refs/heads/agent/{slug}/work HEAD:refs/heads/main");
    assert_ne!(shell(host, id, &both).code, 0);
}

fn ways_out_are_refused(host: &Host, id: &str) {
    let other = shell(host, id, "git clone http://pilothouse.internal/git/no-such.git /tmp/none");
    assert_ne!(other.code, 0, "{other}");
    for url in ["http://example.com/", "http://127.0.0.1:22/", "http://pilothouse.internal.example.com/git/widgets.git"]
    {
        let outcome = shell(host, id, &format!("curl -sS -i -m 20 {url}"));
        let said = String::from_utf8_lossy(&outcome.stdout).into_owned() + &outcome.stderr;
        let refused = said.contains("403") && said.contains("egress");
        // The guest's own loopback is no way out and is not sent to the proxy.
        assert!(refused || (url.contains("127.0.0.1") && outcome.code != 0), "{outcome}");
    }
    let tls = shell(host, id, "curl -sS -m 20 https://example.com/");
    assert!(tls.code != 0 && tls.stderr.contains("403"), "{tls}");
    assert_ne!(shell(host, id, "curl -sS -m 5 --noproxy '*' http://192.0.2.1/").code, 0);
    assert_ne!(
        shell(host, id, "curl -sS -m 20 http://pilothouse.internal/git/../store.sqlite --path-as-is -f").code,
        0
    );
}

/// More than any buffer on the way, while the link stays usable.
fn big_pushes_go_through(host: &Host, id: &str, slug: &str) {
    let script = "head -c 20000000 /dev/urandom > big && git add big && git commit -q -m Big && git push -q origin";
    let _ = shell(host, id, &format!("{script} HEAD:refs/heads/agent/{slug}/big")).text();
    assert_eq!(in_bare(host, &["cat-file", "-s", &format!("agent/{slug}/big:big")]), "20000000");
}
