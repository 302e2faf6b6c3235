use super::*;
use rstest::rstest;
use tokio::{
    io::{AsyncBufReadExt, BufReader, DuplexStream, duplex},
    task::JoinHandle,
};

const WITHIN: Duration = Duration::from_secs(20);
const GREETING: &str =
    r#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}}, "capabilities": ["oob"]}}"#;

/// A QEMU that greets, then answers each line it gets with the next of these texts.
async fn play(stream: DuplexStream, answers: Vec<String>) -> Vec<Value> {
    let mut stream = BufReader::new(stream);
    stream.write_all(format!("{GREETING}\r\n").as_bytes()).await.unwrap();
    let mut asked = Vec::new();
    for answer in answers {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap() == 0 {
            break;
        }
        let question: Value = serde_json::from_str(&line).unwrap();
        stream.write_all(answer.replace("ID", &question["id"].to_string()).as_bytes()).await.unwrap();
        asked.push(question);
    }
    asked
}

pub(in crate::qemu) async fn open(answers: &[&str]) -> Result<Qmp<DuplexStream>, QmpError> {
    begin(answers).await.0
}

/// The same, and what it was asked, once it has answered all or the connection is closed.
pub(in crate::qemu) async fn watched(answers: &[&str]) -> (Qmp<DuplexStream>, JoinHandle<Vec<Value>>) {
    let (qmp, asked) = begin(answers).await;
    (qmp.unwrap(), asked)
}

async fn begin(answers: &[&str]) -> (Result<Qmp<DuplexStream>, QmpError>, JoinHandle<Vec<Value>>) {
    let (ours, theirs) = duplex(1024);
    let mut all = vec!["{\"return\": {}, \"id\": ID}\r\n".to_owned()];
    all.extend(answers.iter().map(|a| (*a).to_owned()));
    let asked = tokio::spawn(play(theirs, all));
    (Qmp::open(ours, WITHIN).await, asked)
}

#[tokio::test]
async fn answers_and_events_may_be_mixed() {
    let mut qmp = open(&[concat!(
        "{\"event\": \"RESUME\", \"timestamp\": {\"seconds\": 1}}\n",
        "{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true, \"reason\": \"guest-shutdown\"}}\n",
        "{\"return\": 1, \"id\": 999}\n{\"return\": \"two\", \"id\": ID}\n",
        "{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true, \"reason\": \"guest-reset\"}}\n",
    )])
    .await
    .unwrap();
    assert_eq!(qmp.execute("x", json!({}), WITHIN).await.unwrap(), "two");
    assert_eq!(qmp.event().await.unwrap(), Event::Shutdown { guest: true, reset: false });
    assert_eq!(qmp.event().await.unwrap(), Event::Shutdown { guest: true, reset: true });
    assert_eq!(qmp.event().await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn refusals_are_told_apart_from_broken_connections() {
    let mut qmp = open(&["{\"error\": {\"class\": \"GenericError\", \"desc\": \"no \\u001b such\"}, \"id\": ID}\n"])
        .await
        .unwrap();
    let error = qmp.execute("x", json!({}), WITHIN).await.unwrap_err();
    assert!(matches!(&error, QmpError::Refused(why) if why == "no  such"), "{error:?}");
    assert!(matches!(qmp.execute("x", json!({}), WITHIN).await, Err(QmpError::Io(_))));
}

#[rstest]
#[case("nonsense\n")]
#[case("{\"return\": {}}\n")]
#[case("[]\n")]
#[case("")]
#[tokio::test]
async fn refuses_what_is_no_greeting(#[case] first: &'static str) {
    let (ours, mut theirs) = duplex(1024);
    theirs.write_all(first.as_bytes()).await.unwrap();
    drop(theirs);
    assert!(matches!(Qmp::open(ours, WITHIN).await, Err(QmpError::Io(_))));
}

#[tokio::test]
async fn bounds_lines_and_waiting() {
    let (ours, mut theirs) = duplex(1024);
    tokio::spawn(async move { while theirs.write_all(&[b'x'; 1024]).await.is_ok() {} });
    let error = Qmp::open(ours, WITHIN).await.unwrap_err().to_string();
    assert!(error.contains("too long"), "{error}");
    let (ours, _theirs) = duplex(1024);
    let error = Qmp::open(ours, Duration::from_millis(20)).await.unwrap_err().to_string();
    assert!(error.contains("did not answer"), "{error}");
}

#[rstest]
#[case("SHUTDOWN", json!({"guest": true, "reason": "guest-panic"}), Event::Shutdown { guest: true, reset: true })]
#[case("SHUTDOWN", json!({"guest": false, "reason": "host-qmp-quit"}), Event::Shutdown { guest: false, reset: false })]
#[case("SHUTDOWN", json!(null), Event::Shutdown { guest: false, reset: false })]
#[case("BLOCK_IO_ERROR", json!({"action": "stop", "reason": "No space left on device"}), Event::DiskStopped { reason: "No space left on device".into() })]
#[case("BLOCK_IO_ERROR", json!({"action": "report"}), Event::Other)]
#[case("BLOCK_IO_ERROR", json!({"action": "stop"}), Event::DiskStopped { reason: "an input/output error".into() })]
#[case("STOP", json!([1]), Event::Stopped)]
#[case("RESUME", json!([1]), Event::Other)]
fn knows_events(#[case] name: &str, #[case] data: Value, #[case] want: Event) {
    assert_eq!(event(name, &data), want);
}

#[tokio::test]
async fn an_open_file_goes_with_its_command() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let server = tokio::spawn(async move {
        let mut theirs = theirs;
        theirs.write_all(format!("{GREETING}\n").as_bytes()).await.unwrap();
        let mut line = [0; 256];
        assert!(theirs.read(&mut line).await.unwrap() > 0);
        theirs.write_all(b"{\"return\": {}, \"id\": 0}\n").await.unwrap();
        let (text, file) = receive(&theirs).await;
        assert!(text.contains("getfd") && text.contains("\"fdname\":\"state\""), "{text}");
        std::io::Write::write_all(&mut std::fs::File::from(file), b"written by QEMU").unwrap();
        theirs.write_all(b"{\"return\": {}, \"id\": 1}\n").await.unwrap();
    });
    let mut qmp = Qmp::open(ours, WITHIN).await.unwrap();
    qmp.give("state", std::fs::File::create(&path).unwrap().as_fd(), WITHIN).await.unwrap();
    server.await.unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"written by QEMU");
}

/// Receives a message and the descriptor beside it.
async fn receive(stream: &UnixStream) -> (String, std::os::fd::OwnedFd) {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    let take = || {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let (mut beside, mut bytes) = (RecvAncillaryBuffer::new(&mut space), [0; 256]);
        let read = recvmsg(stream, &mut [std::io::IoSliceMut::new(&mut bytes)], &mut beside, RecvFlags::empty())?.bytes;
        let file = beside.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut files) => files.next(),
            _ => None,
        });
        Ok((String::from_utf8_lossy(&bytes[..read]).into_owned(), file.unwrap()))
    };
    stream.async_io(Interest::READABLE, take).await.unwrap()
}
