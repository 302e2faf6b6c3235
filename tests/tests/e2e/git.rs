//! The repository inside, and no other way out.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    process::Command,
};

use tests::{Host, Outcome, paths, run};

fn shell(host: &Host, id: &str, script: &str) -> Outcome {
    host.exec(id, &["sh", "-c", script])
}

/// Clone, fetch and push to the session's own branches; everything else is refused with words.
#[test]
fn git_goes_through_the_gateway_and_nothing_else_does() {
    let host = Host::start();
    let port = serve("from the host's loopback");
    widen(&host, port);
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
    let said = [slug.as_str(), other.as_str(), "the environments demo, tools"];
    host.cli(["repo", "rename", "widgets", "gadgets"]).assert_failed(4, &said);
    host.cli(["repo", "remove", "widgets", "--yes"]).assert_failed(4, &said);
    host.cli(["repo", "remove", "lib", "--yes"]).assert_failed(4, &["the environment tools"]);
    what_is_named_is_reached(&host, &id, port);
    the_guest_itself_is_no_way_out(&host, &id);
}

/// A server on the host's loopback that answers everything with this; its port.
fn serve(text: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let _ =
                write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        }
    });
    port
}

/// Lets `tools` read another repository, and reach a port of the host. The same build: it is there already.
fn widen(host: &Host, port: u16) {
    let widgets = host.data().join("git/widgets.git");
    let _ = host.cli(["repo", "add", widgets.to_str().unwrap(), "--name", "lib"]).text();
    let tools = fs::read_to_string(paths::root().join("tests/environments/tools.toml")).unwrap();
    let recipe = host.data().join("tools.toml");
    let widened = tools.replace("path = \"/work/widgets\"", "path = \"/work/widgets\", read = [\"lib\"]");
    fs::write(&recipe, format!("{widened}\negress = [\"host.pilothouse.internal:{port}\"]\n")).unwrap();
    let built = host.cli(["env", "build", recipe.to_str().unwrap()]);
    assert!(built.text().contains("was built before"), "{built}");
}

fn what_is_named_is_reached(host: &Host, id: &str, port: u16) {
    let submodule = "git init -q /tmp/with && cd /tmp/with && \
                     git submodule --quiet add http://pilothouse.internal/git/lib.git lib && test -f lib/README.md";
    let _ = shell(host, id, submodule).text();
    let pushed = shell(host, id, "cd /tmp/with/lib && git push -q origin HEAD:refs/heads/agent/x/work");
    assert!(pushed.code != 0 && pushed.stderr.contains("may read `lib`, and not push to it"), "{pushed}");
    let fetched = shell(host, id, &format!("curl -sS -m 20 http://host.pilothouse.internal:{port}/")).text();
    assert_eq!(fetched, "from the host's loopback");
    let refused = &host.show(id)["refused"];
    let of = |name: &str| refused.as_array().unwrap().iter().find(|it| it["destination"] == name).cloned();
    assert!(of("example.com:80").is_some_and(|it| it["why"] == "not in egress" && it["count"] == 1), "{refused}");
    assert!(of("example.com:443").is_some() && of(&format!("host.pilothouse.internal:{port}")).is_none(), "{refused}");
}

/// Its own server, by the names that it has for itself; and `session` in a shell that sets a PATH of its own.
fn the_guest_itself_is_no_way_out(host: &Host, id: &str) {
    let script = r#"perl -MIO::Socket::INET -e '
            $s = IO::Socket::INET->new(Listen => 5, LocalAddr => "0.0.0.0", LocalPort => 8000, ReuseAddr => 1) or die;
            while ($c = $s->accept) { <$c>; print $c "HTTP/1.0 200 OK\r\n\r\nlocal\n"; close $c }' >/dev/null 2>&1 &
        for name in "$(hostname)" 0.0.0.0 127.0.0.1 localhost; do
            curl -sS -m 20 --retry 20 --retry-connrefused --retry-delay 1 "http://$name:8000/" || exit 1
        done
        kill $!"#;
    assert_eq!(shell(host, id, script).text(), "local\nlocal\nlocal\nlocal");
    let node = shell(host, id, "echo $NODE_USE_ENV_PROXY");
    assert_eq!(node.text(), "1");
    let login = host.exec(id, &["bash", "-lc", "command -v session && session show"]).text();
    assert!(login.contains("/session\n") && login.contains(&host.slug(id)), "{login}");
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
    let direct = shell(host, id, "curl -sS -m 20 --noproxy '*' http://192.0.2.1/").text();
    assert!(direct.contains("192.0.2.1:80 is not allowed from environment"), "{direct}");
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
