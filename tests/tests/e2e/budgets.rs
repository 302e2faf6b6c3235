//! What models take is counted where TLS is ended for a credential, and a budget ends it there.

use std::{
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::Value;
use tests::{Host, until, wait::SOON};

use crate::tls;

/// An answer that costs a dollar: 100,000 tokens of input for $5 a million, and 20,000 of output for $25 a million.
const ANSWER: &str = r#"event: message_start
data: {"type":"message_start","message":{"model":"claude-opus-4-5","usage":{"input_tokens":100000,"output_tokens":1}}}

event: content_block_delta
data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"an answer, \"usage\":{\"input_tokens\":5}"}}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":20000}}

event: message_stop
data: {"type":"message_stop"}

"#;

/// Answers one request after the other, and counts them.
fn model(stream: tls::Stream, asked: &AtomicUsize) -> std::io::Result<()> {
    tls::answer_each(stream, |_, stream| {
        asked.fetch_add(1, Ordering::SeqCst);
        let kind = "text/event-stream; charset=utf-8";
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", ANSWER.len());
        stream.write_all(&[head.as_bytes(), ANSWER.as_bytes()].concat())
    })
}

/// Waits until the session's usage is this many dollars; returns the session.
fn costs(host: &Host, id: &str, dollars: f64) -> Value {
    until("what it cost", SOON, || {
        let session = host.show(id);
        (session["usage"]["cost_usd"] == dollars).then_some(session)
    })
}

/// Waits until it is this one's turn, about this; returns the reason.
fn turn(host: &Host, id: &str, attention: &str, word: &str) -> String {
    until("the turn", SOON, || {
        let session = host.show(id);
        (session["attention"] == attention && session["word"] == word)
            .then(|| session["reason"].as_str().unwrap().to_owned())
    })
}

#[test]
fn a_budget_ends_what_a_session_asks_of_models_until_it_is_raised() {
    let mut host = Host::start();
    let elsewhere = tempfile::tempdir().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let (port, ca) = tls::serve(move |stream| model(stream, &counted));
    let name = tls::model(&host, elsewhere.path(), port, &ca, "budget = 4\n");

    let id = host.session("spends", &["bash", "-c", "session status working busy; read go"]);
    let ask = format!("curl -sS -m 120 -w '\\n%{{http_code}}' -d '{{}}' https://{name}/v1/messages");
    let answer = |host: &Host, id: &str| host.exec(id, &["sh", "-c", &ask]).text();
    let first = answer(&host, &id);
    assert!(first.contains("message_stop") && first.ends_with("200"), "{first}");
    let session = costs(&host, &id, 1.0);
    assert_eq!((&session["budget_usd"], &session["usage"]["input_tokens"]), (&4.0.into(), &100_000.into()));
    assert_eq!((&session["usage"]["answers"], &session["usage"]["output_tokens"]), (&1.into(), &20_000.into()));
    assert!(host.cli(["show", &id]).text().contains("$1 · 1 answer · 100k tokens in, 0 cached, 20k out"));
    turn(&host, &id, "agent", "working");

    // Eight at a time, where there is money for three: no more than these reach the model, however quick they are.
    let many = format!("for n in 1 2 3 4 5 6 7 8; do (code=$({ask} | tail -n 1); echo $code) & done; wait");
    let codes = host.exec(&id, &["sh", "-c", &many]).text();
    let mut codes: Vec<_> = codes.lines().filter(|line| !line.is_empty()).collect();
    codes.sort_unstable();
    assert_eq!(codes, ["200", "200", "200", "402", "402", "402", "402", "402"]);
    assert_eq!(asked.load(Ordering::SeqCst), 4);
    costs(&host, &id, 4.0);
    assert_eq!(turn(&host, &id, "you", "budget"), "budget of $4 used up; raise it to go on");
    let refused = answer(&host, &id);
    let (body, code) = refused.rsplit_once('\n').unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!((code, &body["type"], &body["error"]["type"]), ("402", &"error".into(), &"billing_error".into()));
    let help = format!("a person raises it with `pilothouse budget {} AMOUNT`", host.slug(&id));
    assert!(body["error"]["message"].as_str().unwrap().ends_with(&help), "{body}");

    assert_eq!(host.cli(["budget", &id, "+1", "--json"]).json()["budget_usd"], 5.0);
    turn(&host, &id, "agent", "working");
    assert!(answer(&host, &id).ends_with("200"), "it goes on");
    costs(&host, &id, 5.0);
    assert!(answer(&host, &id).ends_with("402"));
    let events = host.cli(["events", &id]).text();
    for said in ["budget-used-up", "$4 on models", "set to $5"] {
        assert!(events.contains(said), "{events}");
    }

    // A fork has as much to spend once more; another hostd knows what was spent.
    let fork = host.cli(["fork", &id]).text();
    host.wait_for(&fork, "lifecycle", "running");
    assert_eq!((&host.show(&fork)["budget_usd"], &host.show(&fork)["usage"]), (&5.0.into(), &Value::Null));
    assert!(answer(&host, &fork).ends_with("200"));
    costs(&host, &fork, 1.0);
    host.stop();
    host.launch();
    host.wait_for(&id, "lifecycle", "running");
    costs(&host, &id, 5.0);
    assert_eq!(turn(&host, &id, "you", "budget"), "budget of $5 used up; raise it to go on");
    assert!(answer(&host, &id).ends_with("402"));
    let _ = host.cli(["budget", &id, "none"]).text();
    assert!(answer(&host, &id).ends_with("200"));
    assert_eq!(asked.load(Ordering::SeqCst), 7);
    for (by, key) in [("environment", "tools"), ("model", "claude-opus-4-5")] {
        until("the sum", SOON, || {
            let usage = host.cli(["usage", "--by", by, "--json"]).json();
            (usage[0]["key"] == key && usage[0]["answers"] == 7 && usage[0]["cost_usd"] == 7.0).then_some(())
        });
    }
    let _ = host.cli(["rm", "--yes", &id]).text();
    let usage = host.cli(["usage", "--json"]).json();
    assert_eq!(
        (&usage[0]["key"], &usage[0]["cost_usd"]),
        (&id.as_str().into(), &6.0.into()),
        "it outlives its session"
    );
}
