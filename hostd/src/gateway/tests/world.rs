use super::*;

/// A server on this machine that answers every connection with what it was sent (up to an empty line), then closes.
async fn echo_server() -> (u16, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![];
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else { break };
                head.push(byte);
            }
            let answer = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", head.len());
            let _ = stream.write_all(&[answer.as_bytes(), &head].concat()).await;
        }
    });
    (port, AbortOnDropHandle::new(serve))
}

#[tokio::test]
async fn a_listed_address_is_reached() {
    let (port, _server) = echo_server().await;
    let fixture = Fixture::new(Caller { egress: egress([&format!("127.0.0.1:{port}")]), ..caller() }).await;
    let request = format!(
        "GET http://127.0.0.1:{port}/a?b HTTP/1.1\r\nHost: elsewhere\r\nProxy-Authorization: secret\r\nX-Own: kept\r\n\
         Connection: close, X-Hop\r\nX-Hop: 1\r\n\r\n"
    );
    let answer = fixture.ask(&request).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("GET /a?b HTTP/1.1"), "{answer}");
    assert!(answer.contains(&format!("host: 127.0.0.1:{port}")) && answer.contains("x-own: kept"), "{answer}");
    assert!(!answer.contains("elsewhere") && !answer.contains("secret") && !answer.contains("x-hop"), "{answer}");

    let tunnelled = fixture.ask(&format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n")).await;
    assert!(
        tunnelled.starts_with("HTTP/1.1 200") && tunnelled.ends_with("\r\n\r\nGET / HTTP/1.1\r\n\r\n"),
        "{tunnelled}"
    );
}

#[rstest::rstest]
#[case(
    "GET http://example.com/x HTTP/1.1",
    "example.com:80 is not allowed from environment `demo`; to allow it, add \"example.com:80\" to egress"
)]
#[case("CONNECT example.com:443 HTTP/1.1", "example.com:443 is not allowed from environment `demo`")]
#[case("CONNECT [2001:db8::1]:22 HTTP/1.1", "[2001:db8::1]:22 is not allowed")]
#[case("CONNECT [::1]:22 HTTP/1.1", "[::1]:22 is this VM itself")]
#[case("GET http://0.0.0.0:8000/ HTTP/1.1", "0.0.0.0:8000 is this VM itself")]
#[case("GET http://fix-parser-3f:8000/ HTTP/1.1", "connect without it: NO_PROXY=fix-parser-3f")]
#[case("CONNECT host.pilothouse.internal:22 HTTP/1.1", "host.pilothouse.internal:22 is not allowed")]
#[case("GET http://localhost:1/ HTTP/1.1", "localhost:1 leads to ")]
#[case("CONNECT localhost:1 HTTP/1.1", "write { to = \"localhost:1\", private = true } in egress")]
#[case("CONNECT pilothouse.internal:443 HTTP/1.1", "speaks plain HTTP on port 80")]
#[tokio::test]
async fn other_destinations_are_refused(#[case] line: &str, #[case] expected: &str) {
    let fixture = Fixture::new(Caller { egress: egress(["localhost:1"]), ..caller() }).await;
    let answer = fixture.ask(&format!("{line}\r\nHost: x\r\nConnection: close\r\n\r\n")).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(body.starts_with("pilothouse: ") && body.contains(expected), "{answer}");
    assert!(head.starts_with("HTTP/1.1 403 pilothouse: ") && head.contains("content-type: text/plain"), "{answer}");
    let refused = fixture.gateway.refused("01J");
    assert!(refused.len() == 1 || line.contains("pilothouse.internal:443") && refused.is_empty(), "{refused:?}");
}

#[tokio::test]
async fn a_wildcard_is_all_names_below_its_domain_and_nothing_else() {
    let fixture = Fixture::new(Caller { egress: egress(["*.invalid.example:443"]), ..caller() }).await;
    let said =
        async |to: &str| fixture.ask(&format!("CONNECT {to} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await;
    // A label so long is asked of no resolver: nothing leaves this machine.
    let allowed = said(&format!("a.{}.invalid.example:443", "b".repeat(64))).await;
    assert!(allowed.contains("could not be reached from the host"), "{allowed}");
    for to in ["invalid.example:443", "a.invalid.example:80", "xinvalid.example:443"] {
        assert!(said(to).await.contains("is not allowed from environment"), "{to}");
    }
}

#[tokio::test]
async fn names_of_private_addresses_are_reached_where_that_is_said() {
    let (port, _server) = echo_server().await;
    let entry = format!("localhost:{port}");
    let private = vec![Egress { to: entry.clone(), private: true }];
    let v4 = format!("127.0.0.1:{port}");
    let v6 = format!("[::1]:{port}");
    let host = format!("host.pilothouse.internal:{port}");
    for (egress, name) in
        [(private, &entry), (egress([&entry, &v4, &v6]), &entry), (egress([&host]), &host), (egress([&v4]), &v4)]
    {
        let fixture = Fixture::new(Caller { egress, ..caller() }).await;
        let answer = fixture.ask(&format!("GET http://{name}/ HTTP/1.1\r\nConnection: close\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{name}: {answer}");
        assert!(fixture.gateway.refused("01J").is_empty());
    }
}

#[tokio::test]
async fn what_is_refused_is_counted_by_session() {
    let fixture = Fixture::new(caller()).await;
    let mut denials = fixture.gateway.denials();
    for _ in 0..3 {
        fixture.ask("CONNECT api.example.com:443 HTTP/1.1\r\nConnection: close\r\n\r\n").await;
    }
    let refused = fixture.gateway.refused("01J");
    assert_eq!((refused[0].destination.as_str(), refused[0].count), ("api.example.com:443", 3));
    assert!(fixture.gateway.refused("01K").is_empty());
    let told = denials.try_recv().unwrap();
    assert_eq!((told.session.as_str(), told.refused.destination.as_str()), ("01J", "api.example.com:443"));
    assert!(denials.try_recv().is_err(), "once for a destination");
    fixture.gateway.forget("01J");
    assert!(fixture.gateway.refused("01J").is_empty());
}

#[tokio::test]
async fn services_of_the_host_are_reached_where_the_host_names_them_too() {
    let (port, _server) = echo_server().await;
    let (host, v4) = (format!("host.pilothouse.internal:{port}"), format!("127.0.0.1:{port}"));
    let caller = Caller { egress: egress([&host, &v4]), ..caller() };
    let fixture = Fixture::with(caller, |gateway, folder| gateway.with_local(LocalFile::of(folder))).await;
    let ask = async |to: &str| fixture.ask(&format!("GET http://{to}/ HTTP/1.1\r\nConnection: close\r\n\r\n")).await;
    assert!(ask(&host).await.starts_with("HTTP/1.1 200"), "it names nothing: the recipe alone decides");
    assert!(
        ask(&v4).await.contains("none of the services that this host names"),
        "but not on its loopback by an address"
    );
    let file = fixture.path(crate::local_services::FILE);
    std::fs::write(&file, "local = [\"db.lan:5432\"]\n").unwrap();
    for to in [&host, &v4] {
        let refused = ask(to).await;
        assert!(refused.contains(&format!("may add \"{to}\" to `local` in egress.toml")), "{refused}");
    }
    assert_eq!(fixture.gateway.refused("01J")[0].why, "not in the host's egress.toml");
    std::fs::write(&file, format!("local = [\"db.lan:5432\", \"{host}\", \"[::1]:{port}\"]\n")).unwrap();
    assert!(ask(&host).await.starts_with("HTTP/1.1 200"));
    assert!(ask(&v4).await.starts_with("HTTP/1.1 403"), "that is another name");
}

#[tokio::test]
async fn an_entry_may_let_http_or_tls_through_alone() {
    let (port, _server) = echo_server().await;
    let asks = "GET / HTTP/1.1\r\n\r\n";
    let plain = format!("GET http://127.0.0.1:{port}/ HTTP/1.1\r\nConnection: close\r\n\r\n");
    let tunnel = |says: &str| format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n{says}");
    for (entry, plain_fits, http_fits, other_fits) in [
        (format!("http://127.0.0.1:{port}"), true, true, false),
        (format!("https://127.0.0.1:{port}"), false, false, false),
        (format!("127.0.0.1:{port}"), true, true, true),
    ] {
        let fixture = Fixture::new(Caller { egress: egress([&entry]), ..caller() }).await;
        assert_eq!(fixture.ask(&plain).await.starts_with("HTTP/1.1 200"), plain_fits, "{entry}");
        for (says, fits) in [(asks, http_fits), ("SSH-2.0-x\r\n\r\n", other_fits)] {
            let why = "speaks something else than its entry in egress";
            let count =
                || fixture.gateway.refused("01J").iter().filter(|one| one.why == why).map(|one| one.count).sum::<u64>();
            let before = count();
            let mut stream = TcpStream::connect(&fixture.proxy).await.unwrap();
            stream.write_all(tunnel(says).as_bytes()).await.unwrap();
            let mut answer = String::new();
            // What breaks off is a reset for the program; here its connection ends.
            let _ = stream.read_to_string(&mut answer).await;
            assert_eq!(answer.ends_with(says), fits, "{entry}: {answer}");
            assert_eq!(count() - before, u64::from(!fits), "{entry}: {says}");
        }
    }
}

#[tokio::test]
async fn what_people_allow_a_session_is_reached_from_then_on() {
    let (port, _server) = echo_server().await;
    let fixture = Fixture::with(caller(), |gateway, folder| gateway.with_local(LocalFile::of(folder))).await;
    fixture.gateway.ledger().open("01J", None, 0);
    let (host, named) = (format!("host.pilothouse.internal:{port}"), format!("localhost:{port}"));
    let ask = async |to: &str| fixture.ask(&format!("GET http://{to}/ HTTP/1.1\r\nConnection: close\r\n\r\n")).await;
    let allow = |session: &str, all: &[(&String, bool)]| {
        let all: Vec<_> = all.iter().map(|(to, private)| Egress { to: (*to).clone(), private: *private }).collect();
        fixture.gateway.allow(session, &all);
    };
    let says = format!("may say: pilothouse allow --private fix-parser-3f {host}\n");
    let refused = ask(&host).await;
    assert!(refused.contains("is not allowed from environment") && refused.contains(&says), "{refused}");
    assert_eq!(fixture.gateway.refused("01J")[0].why, "not in egress, a private address");
    allow("01J", &[(&host, false)]);
    assert!(fixture.gateway.refused("01J").is_empty());
    let refused = ask(&host).await;
    assert!(refused.contains("leads to 127.0.0.1") && refused.contains(&says), "{refused}");
    assert_eq!(fixture.gateway.refused("01J")[0].why, "a private address, 127.0.0.1");
    allow("01J", &[(&host, true), (&named, true)]);
    let refused = ask(&host).await;
    assert!(refused.contains(&format!("may add \"{host}\" to `local` in egress.toml")), "{refused}");
    std::fs::write(fixture.path(crate::local_services::FILE), format!("local = [\"{host}\", \"{named}\"]\n")).unwrap();
    assert!(ask(&host).await.starts_with("HTTP/1.1 200"));
    // What a name leads to is the session's to choose, and this is no private network.
    let refused = ask(&named).await;
    assert!(refused.starts_with("HTTP/1.1 403") && !refused.contains("may say"), "{refused}");
    assert!(fixture.gateway.refused("01J").iter().any(|one| one.why.starts_with("of this host or its cloud: ")));
    let help = fixture.ask("GET http://pilothouse.internal/ HTTP/1.1\r\nConnection: close\r\n\r\n").await;
    assert!(help.contains(&format!("May reach: {host}, {named}\n")), "{help}");
    allow("01K", &[]);
    assert!(ask(&host).await.starts_with("HTTP/1.1 200"), "it was another session");
    allow("01J", &[]);
    assert!(ask(&host).await.starts_with("HTTP/1.1 403"));
}

#[rstest::rstest]
#[case("169.254.169.254")]
#[case("[fd00:ec2::254]")]
#[case("100.100.100.200")]
#[tokio::test]
async fn nothing_leads_to_what_tells_a_cloud_its_secrets_but_the_hosts_own_file(#[case] address: &str) {
    let caller = Caller { egress: egress([&format!("{address}:80")]), ..caller() };
    let fixture = Fixture::with(caller, |gateway, folder| gateway.with_local(LocalFile::of(folder))).await;
    fixture.gateway.allow("01J", &[Egress { to: format!("{address}:80"), private: true }]);
    let refused = fixture.ask(&format!("GET http://{address}/ HTTP/1.1\r\nConnection: close\r\n\r\n")).await;
    assert!(refused.contains("none of the services that this host names"), "{refused}");
}

#[tokio::test]
async fn what_ends_before_it_says_anything_was_refused_nothing() {
    let (port, _server) = echo_server().await;
    let entry = format!("https://127.0.0.1:{port}");
    let fixture = Fixture::new(Caller { egress: egress([&entry]), ..caller() }).await;
    for says in ["", "\x16\x03\x01"] {
        let mut stream = TcpStream::connect(&fixture.proxy).await.unwrap();
        stream.write_all(format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n").as_bytes()).await.unwrap();
        let mut head = vec![];
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(says.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let _ = stream.read_to_end(&mut head).await;
        assert!(fixture.gateway.refused("01J").is_empty());
    }
}

/// Whose ClientHello comes in two pieces.
#[tokio::test]
async fn what_fits_an_entry_arrives_whole() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let fixture = Fixture::new(Caller { egress: egress([&format!("https://127.0.0.1:{port}")]), ..caller() }).await;
    // It names no host: the connection is to an address.
    let hello = [&[22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 3], &[7; 32][..], &[0, 0, 2, 19, 1, 1, 0]].concat();
    let mut stream = TcpStream::connect(&fixture.proxy).await.unwrap();
    stream.write_all(format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n").as_bytes()).await.unwrap();
    let mut world = listener.accept().await.unwrap().0;
    let mut head = vec![];
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    stream.write_all(&hello[..9]).await.unwrap();
    stream.flush().await.unwrap();
    tokio::task::yield_now().await;
    stream.write_all(&hello[9..]).await.unwrap();
    let mut said = vec![0; hello.len()];
    world.read_exact(&mut said).await.unwrap();
    assert_eq!(said, hello);
}

#[tokio::test]
async fn a_host_that_is_down_is_named() {
    let fixture = Fixture::new(Caller { egress: egress(["127.0.0.1:1"]), ..caller() }).await;
    let answer = fixture.ask("GET http://127.0.0.1:1/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("127.0.0.1:1 could not be reached"), "{answer}");
}

#[tokio::test]
async fn the_gateway_explains_itself() {
    let fixture = Fixture::new(caller()).await;
    let answer = fixture.ask("GET http://pilothouse.internal/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(answer.contains("Repository: git clone http://pilothouse.internal/git/widgets.git"), "{answer}");
    assert!(answer.contains("May push to: refs/heads/agent/fix-parser-3f/*"), "{answer}");
    let direct = fixture.ask("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(direct.starts_with("HTTP/1.1 400") && direct.contains("this is a proxy"), "{direct}");
}

/// As programs ask that know of no proxy, whose connections the guest carries.
#[tokio::test]
async fn the_gateway_itself_is_reached_through_a_tunnel() {
    let fixture = Fixture::new(caller()).await;
    let connect = "CONNECT pilothouse.internal:80 HTTP/1.1\r\nHost: pilothouse.internal:80\r\n\r\n";
    let first = "GET / HTTP/1.1\r\nHost: pilothouse.internal\r\n\r\n";
    let refs =
        "GET /git/widgets.git/info/refs?service=git-upload-pack HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = fixture.ask(&[connect, first, refs].concat()).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("Repository: git clone"), "{answer}");
    assert!(answer.contains("refs/heads/main"), "{answer}");
    // It is no way around the proxy's rules.
    let onward = "GET http://example.com/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = fixture.ask(&[connect, onward].concat()).await;
    assert!(answer.contains("HTTP/1.1 421 ") && answer.contains("is no proxy"), "{answer}");
}

#[tokio::test]
async fn a_session_has_so_many_connections_and_no_more() {
    let fixture = Fixture::new(caller()).await;
    let ask = "GET http://pilothouse.internal/ HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut open = vec![];
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(&fixture.proxy).await.unwrap();
        stream.write_all(ask.as_bytes()).await.unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        open.push(stream);
    }
    // One more waits, and is served when another is closed.
    let mut waits = TcpStream::connect(&fixture.proxy).await.unwrap();
    waits.write_all(ask.as_bytes()).await.unwrap();
    let mut answer = [0; 4096];
    for stream in &mut open {
        // Those that have a place are served all the same.
        stream.write_all(ask.as_bytes()).await.unwrap();
        assert!(stream.read(&mut answer).await.unwrap() > 0);
    }
    let served = timeout(Duration::from_millis(200), waits.read(&mut answer)).await;
    assert!(served.is_err(), "one too many is served: {served:?}");
    drop(open.pop());
    let served = timeout(Duration::from_secs(20), waits.read(&mut answer)).await.unwrap().unwrap();
    assert!(answer[..served].starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn no_session_has_more_than_half_of_the_connections_of_a_small_host() {
    let (one, other) = (caller(), Caller { session_id: "other".into(), ..caller() });
    let gateway = Gateway::new(BareRepositories::at("/nowhere".into())).with_connections(4);
    let places = [Place::take(&gateway, &one.session_id).await, Place::take(&gateway, &one.session_id).await];
    assert!(places.iter().all(Option::is_some));
    assert!(timeout(Duration::from_millis(50), Place::take(&gateway, &one.session_id)).await.is_err());
    assert!(Place::take(&gateway, &other.session_id).await.is_some());
    drop(places);
    assert!(gateway.uses().is_empty());
}

#[tokio::test]
async fn a_head_without_end_is_cut_off() {
    let fixture = Fixture::new(caller()).await;
    let head = format!("GET http://pilothouse.internal/ HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(2 * HEAD_BYTES));
    let mut stream = TcpStream::connect(&fixture.proxy).await.unwrap();
    let _ = stream.write_all(head.as_bytes()).await;
    let mut answer = vec![];
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"));
}
