//! Connections to a session's ports, which are this machine's.

use pilothouse_proto::hostd::v1::{
    ForwardConnected, ForwardRequest, ForwardResponse, ForwardStart, forward_request::Request,
    forward_response::Response,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use super::{State, sessions::Answers, status};

pub(super) async fn connect(
    state: &State,
    mut requests: Streaming<ForwardRequest>,
) -> Result<Answers<ForwardResponse>, Status> {
    let Some(Request::Start(ForwardStart { id, port })) = requests.message().await?.and_then(|r| r.request) else {
        return Err(Status::invalid_argument("not started"));
    };
    state.find(&id)?;
    let refused = |_| status(Code::FailedPrecondition, "GUEST_REFUSED", "nothing listens on that port in the session");
    let stream = TcpStream::connect(("127.0.0.1", u16::try_from(port).unwrap())).await.map_err(refused)?;
    let (mut reader, mut writer) = stream.into_split();
    let (answers, receiver) = mpsc::channel(4);
    let heard = state.heard_by();
    tokio::spawn(async move {
        loop {
            match requests.message().await {
                Ok(Some(ForwardRequest { request: Some(Request::Data(bytes)) })) => {
                    writer.write_all(&bytes).await.unwrap();
                }
                Ok(None) => return writer.shutdown().await.unwrap(),
                Ok(Some(_)) | Err(_) => return heard.lock().unwrap().extend_from_slice(b"broken"),
            }
        }
    });
    tokio::spawn(async move {
        let mut buffer = vec![0; 64 << 10];
        let answer = |response| Ok(ForwardResponse { response: Some(response) });
        let _ = answers.send(answer(Response::Connected(ForwardConnected {}))).await;
        loop {
            match reader.read(&mut buffer).await {
                Ok(0) => {
                    let _ = answers.send(answer(Response::End(true))).await;
                    return answers.closed().await;
                }
                Ok(some) => drop(answers.send(answer(Response::Data(buffer[..some].to_vec().into()))).await),
                Err(error) => return drop(answers.send(Err(Status::aborted(error.to_string()))).await),
            }
        }
    });
    Ok(ReceiverStream::new(receiver))
}
