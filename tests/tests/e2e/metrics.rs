//! `hostd serve --metrics`, against what is written about it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Instant,
};

use serde_json::Value;
use tests::{Host, paths, run, wait::SOON};

/// A metric: its type, and the names of its labels.
type Metric = (String, BTreeSet<String>);

fn serve(more: &[&str]) -> (Host, SocketAddr) {
    let mut arguments = vec!["--metrics", "127.0.0.1:0", "--log-format", "json"];
    arguments.extend(more);
    let host = Host::simulated(&arguments);
    let log = fs::read_to_string(host.log()).unwrap();
    let mut lines = log.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
    let line = lines.find(|line| line["message"].as_str().unwrap().starts_with("shows metrics")).unwrap();
    let address = line["address"].as_str().unwrap().parse().unwrap();
    (host, address)
}

fn get(address: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.into(), body.into())
}

/// The metrics of a page, without what the format itself adds.
fn shown(page: &str) -> BTreeMap<String, Metric> {
    let mut all = BTreeMap::new();
    let (mut name, mut of) = (String::new(), String::new());
    for line in page.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (metric, kind) = kind.split_once(' ').unwrap();
            (name, of) = (metric.into(), kind.into());
            all.insert(name.clone(), (of.clone(), BTreeSet::new()));
        } else if !line.starts_with('#') {
            assert!(line.starts_with(&name), "{line} is none of {name}");
            let labels = line.split_once('{').map_or("", |(_, rest)| rest.rsplit_once('}').unwrap().0);
            let names = labels.split("\",").filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
            let own = names.filter(|label| !(of == "histogram" && label == "le"));
            all.get_mut(&name).unwrap().1.extend(own);
        }
    }
    all
}

/// The metrics that the tables of `docs/metrics.md` name.
fn documented(text: &str) -> BTreeMap<String, Metric> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `pilothouse_"));
    let metric = |row: &str| {
        let mut cells = row.split('|').map(str::trim);
        let name = format!("pilothouse_{}", cells.next().unwrap().trim_end_matches('`'));
        let kind = cells.next().unwrap().to_owned();
        let labels = cells.next().unwrap().split(',').map(|label| label.trim().trim_matches('`').to_owned());
        (name, (kind, labels.filter(|label| !label.is_empty()).collect()))
    };
    rows.map(metric).collect()
}

/// Names of metrics in a text, without the endings of parts of histograms.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let words = words.filter(|word| word.starts_with("pilothouse_"));
    let whole = |word: &str| {
        ["_bucket", "_count", "_sum"].iter().fold(word.to_owned(), |w, end| w.trim_end_matches(end).into())
    };
    words.map(whole).collect()
}

#[test]
fn what_is_shown_is_what_is_documented_and_what_is_watched() {
    let (host, address) = serve(&[]);
    let (head, page) = get(address, "/metrics");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("text/plain; version=0.0.4"), "{head}");
    let read = |path: &str| fs::read_to_string(paths::root().join(path)).unwrap();
    let shown = shown(&page);
    assert_eq!(shown, documented(&read("docs/metrics.md")));
    let known: BTreeSet<_> = shown.keys().cloned().collect();
    for file in ["observe/alerts.yml", "observe/alerts.test.yml", "observe/dashboard.json"] {
        let unknown: Vec<_> = named(&read(file)).difference(&known).cloned().collect();
        assert!(unknown.is_empty(), "{file} names metrics that are not there: {unknown:?}");
    }
    let dashboard: Value = serde_json::from_str(&read("observe/dashboard.json")).unwrap();
    assert!(named(&dashboard.to_string()).is_superset(&known), "the dashboard shows all");
    let value = |line: &str| page.lines().find_map(|text| text.strip_prefix(line)).map(|value| value.trim().to_owned());
    assert_eq!(value("pilothouse_build_info{version=\"0.1.0\",vmm=\"simulated\"}").as_deref(), Some("1"));
    assert_eq!(value("pilothouse_sessions{state=\"running\"}").as_deref(), Some("0"));
    let transactions: u64 = value("pilothouse_store_transaction_duration_seconds_count").unwrap().parse().unwrap();
    assert!(transactions > 0, "a start commits");
    assert!(get(address, "/").0.starts_with("HTTP/1.1 404 "));
    drop(host);
}

#[test]
fn who_only_connects_keeps_nobody_out_for_long_and_a_taken_address_is_said() {
    let (host, address) = serve(&[]);
    let began = Instant::now();
    let idle: Vec<_> = (0..40).map(|_| TcpStream::connect(address).unwrap()).collect();
    let (_, page) = get(address, "/metrics");
    assert!(page.contains("pilothouse_build_info"));
    println!("beside 40 idle connections metrics came after {:?}", began.elapsed());
    drop(idle);
    let folder = paths::folder();
    let mut command = std::process::Command::new(paths::program("hostd"));
    command.args(["serve", "--vmm", "simulated", "--metrics", &address.to_string(), "--data"]).arg(folder.path());
    run(&mut command, &[]).assert_failed(1, &["cannot be listened on", "choose another address"]);
    drop(host);
}
