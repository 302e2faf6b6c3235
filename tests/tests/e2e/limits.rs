//! That a model's API refuses a session is seen by the gateway, whatever the agent's program says.

use std::{
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tests::{Host, until, wait::SOON};

use crate::tls;

/// Says that there are too many requests, and when to ask again, until it is to answer.
fn model(stream: tls::Stream, answers: &AtomicBool) -> std::io::Result<()> {
    tls::answer_each(stream, |_, stream| {
        let head = match answers.load(Ordering::SeqCst) {
            true => "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
            false => "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3600\r\nContent-Length: 2\r\n\r\n{}",
        };
        stream.write_all(head.as_bytes())
    })
}

#[test]
fn a_rate_limit_is_shown_until_the_api_answers() {
    let host = Host::start();
    let elsewhere = tempfile::tempdir().unwrap();
    let answers = Arc::new(AtomicBool::new(false));
    let asked = answers.clone();
    let (port, ca) = tls::serve(move |stream| model(stream, &asked));
    let name = tls::model(&host, elsewhere.path(), port, &ca, "");
    let id = host.session("limited", &["bash", "-c", "session status working busy; read go"]);
    host.wait_for(&id, "reason", "working: busy");
    let ask = format!("curl -sS -m 120 -o /dev/null -w '%{{http_code}}' -d '{{}}' https://{name}/v1/messages");
    let code = || host.exec(&id, &["sh", "-c", &ask]).text();
    let shows = |reason: &str, word: &str| {
        until("the turn", SOON, || {
            let session = host.show(&id);
            let said = session["reason"].as_str().unwrap_or_default();
            (said.starts_with(reason) && session["word"] == word && session["attention"] == "agent").then_some(())
        });
    };
    assert_eq!(code(), "429");
    shows("rate limited; it ends in ", "limited");
    let explained = host.cli(["explain", &id]).text();
    let said = explained.lines().find(|line| line.contains("gateway: limited: rate limited, until "));
    assert!(said.is_some_and(|said| said.contains("[host.pilothouse.internal]")), "{explained}");
    answers.store(true, Ordering::SeqCst);
    assert_eq!(code(), "200");
    shows("working: busy", "working");
}
