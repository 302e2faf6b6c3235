//! Programs that ask no proxy, in a real VM: its kernel steers their connections.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
};

use tests::{Host, Outcome, paths, until, wait::SOON};

use super::tls;

/// Without a proxy, as curl and git are asked to in one way or another.
const UNSET: &str = "unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY NODE_USE_ENV_PROXY; ";

fn shell(host: &Host, id: &str, script: &str) -> Outcome {
    host.exec(id, &["bash", "-c", &format!("{UNSET}{script}")])
}

/// Lets sessions reach this port of the host. The same build: it is there already.
fn allow(host: &Host, port: u16) {
    let tools = fs::read_to_string(paths::root().join("tests/environments/tools.toml")).unwrap();
    let recipe = host.data().join("tools.toml");
    fs::write(&recipe, format!("{tools}\negress = [\"{}:{port}\"]\n", tls::NAME)).unwrap();
    assert!(host.cli(["env", "build", recipe.to_str().unwrap()]).text().contains("was built before"));
}

#[test]
fn programs_that_know_no_proxy_reach_what_is_allowed_and_are_refused_at_once_elsewhere() {
    let host = Host::start();
    let (port, ca) = tls::serve(|mut stream| {
        let mut lines = BufReader::new(&mut stream).lines();
        while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 7\r\n\r\nreached")?;
        stream.conn.send_close_notify();
        stream.flush()
    });
    allow(&host, port);
    let id = host.session("direct", &[]);
    let written = host.cli_with(["exec", &id, "--", "sh", "-c", "cat >/root/ca.pem"], ca.as_bytes());
    assert_eq!(written.code, 0, "{written}");
    let url = format!("https://{}:{port}/", tls::NAME);
    let curl = format!("curl -sS -m 60 --cacert /root/ca.pem {url}");
    assert_eq!(shell(&host, &id, &curl).text(), "reached");
    // The address that a program remembers leads there, too, also after a suspend and in a fork.
    let address = shell(&host, &id, &format!("getent hosts {}", tls::NAME)).text();
    let address = address.split_whitespace().next().unwrap().to_owned();
    assert!(address.starts_with("198.18.") || address.starts_with("198.19."), "{address}");
    let remembered = format!("{curl} --resolve {}:{port}:{address}", tls::NAME);
    assert_eq!(shell(&host, &id, &remembered).text(), "reached");
    what_else_asks_no_proxy_works(&host, &id);
    what_is_not_allowed_is_refused(&host, &id);
    what_is_refused_is_in_the_story(&host, &id);
    the_guests_own_servers_stay_its_own(&host, &id);
    assert_eq!(
        host.cli(["allow", &id, "denied.example:80"]).text(),
        format!("{} may reach \"denied.example:80\"", slug(&host, &id))
    );
    let _ = host.cli(["suspend", &id]).text();
    assert_eq!(shell(&host, &id, &remembered).text(), "reached");
    what_people_allow_is_tried_until_they_take_it_back(&host, &id);
    let fork = host.cli(["fork", &id]).text();
    host.wait_for(&fork, "lifecycle", "running");
    assert_eq!(shell(&host, &fork, &remembered).text(), "reached");
    assert_eq!(shell(&host, &fork, &curl).text(), "reached");
}

fn what_else_asks_no_proxy_works(host: &Host, id: &str) {
    let clone =
        "git clone -q http://pilothouse.internal/git/widgets.git /tmp/direct && test -x /tmp/direct/ci && echo cloned";
    assert_eq!(shell(host, id, clone).text(), "cloned");
    let raw = "exec 3<>/dev/tcp/pilothouse.internal/80; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; head -n 1 <&3";
    assert_eq!(shell(host, id, raw).text().trim_end(), "HTTP/1.0 200 OK");
    // Who honours the proxy goes on to.
    let proxied = host
        .exec(id, &["curl", "-sS", "-m", "60", "-o", "/dev/null", "-w", "%{remote_ip}", "http://pilothouse.internal/"]);
    assert_eq!(proxied.text(), "127.0.0.1");
}

/// What curl ends with where its connection is reset: before it looks, in TLS, as it sends, or as it receives.
const RESET: [i32; 4] = [7, 35, 55, 56];

fn what_is_not_allowed_is_refused(host: &Host, id: &str) {
    for url in ["https://denied.example/", "http://192.0.2.7:8080/"] {
        let reset = shell(host, id, &format!("curl -sS -m 60 {url}"));
        assert!(RESET.contains(&reset.code), "{reset}");
    }
    for (url, refused) in
        [("http://denied.example/", "denied.example:80"), ("http://[2001:db8::7]/", "[2001:db8::7]:80")]
    {
        let told = shell(host, id, &format!("curl -sS -m 60 -g {url}")).text();
        assert!(told.starts_with(&format!("pilothouse: {refused} is not allowed from environment `tools`")), "{told}");
    }
    let datagram = r#"perl -MSocket -e 'socket(S, PF_INET, SOCK_DGRAM, 0) or die;
        connect(S, sockaddr_in(443, inet_aton("denied.example"))) or die; send(S, "quic", 0);
        alarm 60; print recv(S, $b, 9, 0) ? "answered" : "$!\n"'"#;
    assert_eq!(shell(host, id, datagram).text(), "Connection refused");
    let refused = &host.show(id)["refused"];
    for wanted in ["denied.example:443", "192.0.2.7:8080", "denied.example:80", "[2001:db8::7]:80"] {
        let mut all = refused.as_array().unwrap().iter();
        assert!(
            all.any(|it| it["destination"] == wanted && it["why"].as_str().unwrap().starts_with("not in egress")),
            "{wanted} in {refused}"
        );
    }
}

/// Each destination once, however often it was asked for.
fn what_is_refused_is_in_the_story(host: &Host, id: &str) {
    let told = until("the refusals in its story", SOON, || {
        let told = host.cli(["events", id]).text();
        (told.contains("[2001:db8::7]:80: not in egress")).then_some(told)
    });
    let refused = told.lines().filter(|line| line.contains("refused") && line.contains("denied.example:443"));
    assert_eq!(refused.count(), 1, "{told}");
}

fn slug(host: &Host, id: &str) -> String {
    host.show(id)["slug"].as_str().unwrap().into()
}

/// Nobody answers to that name; but that is what it fails for now.
fn what_people_allow_is_tried_until_they_take_it_back(host: &Host, id: &str) {
    let asks = || shell(host, id, "curl -sS -m 60 http://denied.example/").text();
    let tried = asks();
    assert!(tried.starts_with("pilothouse: denied.example:80 could not be reached from the host"), "{tried}");
    let shown = host.show(id);
    assert_eq!(shown["allowed"], serde_json::json!([{ "destination": "denied.example:80", "private": false }]));
    let refused = shown["refused"].as_array().unwrap();
    assert!(refused.iter().all(|it| it["destination"] != "denied.example:80"), "{refused:?}");
    let _ = host.cli(["allow", id, "denied.example:80", "--remove"]).text();
    let refused = asks();
    let says = format!("a person may say: pilothouse allow {} denied.example:80", slug(host, id));
    assert!(refused.contains("is not allowed from environment") && refused.contains(&says), "{refused}");
    let told = host.cli(["events", id]).text();
    for change in [" may reach denied.example:80\n", " may not reach denied.example:80 any more\n"] {
        assert!(told.contains(change), "{told}");
    }
    // Of the recipe's environment, whose build is in use as it was.
    let _ = host.cli(["allow", id, "denied.example:80", "--recipe"]).text();
    let recipe = host.cli(["env", "show", "tools"]).text();
    assert!(recipe.contains("egress = [\"denied.example:80\", "), "{recipe}");
    let _ = host.cli(["allow", id, "denied.example:80", "--remove"]).text();
}

/// A server on all of its addresses is not one on everybody's.
fn the_guests_own_servers_stay_its_own(host: &Host, id: &str) {
    let script = r#"perl -MIO::Socket::INET -e '
            $s = IO::Socket::INET->new(Listen => 5, LocalAddr => "0.0.0.0", LocalPort => 8001, ReuseAddr => 1) or die;
            while ($c = $s->accept) { <$c>; print $c "HTTP/1.0 200 OK\r\n\r\nlocal\n"; close $c }' >/dev/null 2>&1 &
        for name in "$(hostname)" 0.0.0.0 127.0.0.1 localhost 198.18.0.1; do
            curl -sS -m 60 --retry 60 --retry-connrefused --retry-delay 1 "http://$name:8001/" || exit 1
        done
        curl -sS -m 60 http://elsewhere.example:8001/ 2>/dev/null; echo $?
        curl -sS -m 60 http://127.0.0.1:9/ 2>/dev/null; echo $?
        kill %1"#;
    let told = shell(host, id, script).text();
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines[..5], ["local"; 5], "{told}");
    assert!(RESET.contains(&lines[5].parse().unwrap()) && lines[6..] == ["7"], "{told}");
}
