use futures::{StreamExt as _, stream};
use pilothouse_proto::{
    guest::v1 as guest,
    hostd::v1::{ForwardConnected, ForwardRequest, ForwardResponse, ForwardStart, forward_request, forward_response},
};
use tonic::{Request, Status, Streaming};

use super::{
    Api,
    principal::actor,
    status,
    streams::{Answers, first, pieces, until_closing},
};

/// Hands a connection through to the guest. A caller that goes away has it reset.
pub(super) async fn forward(
    api: &Api,
    request: Request<Streaming<ForwardRequest>>,
) -> Result<Answers<ForwardResponse>, Status> {
    let hands = api.fleet.by(actor(&request));
    let mut requests = request.into_inner();
    let Some(forward_request::Request::Start(ForwardStart { id, port })) = first(&mut requests).await?.request else {
        return Err(status::invalid("the first message of Forward must be `start`"));
    };
    if !(1..=u32::from(u16::MAX)).contains(&port) {
        return Err(status::invalid("a port is a number from 1 to 65535"));
    }
    let (mut client, busy) = hands.guest(&id).await?;
    let start = stream::once(std::future::ready(towards(guest::connect_request::Request::Port(port))));
    let answers =
        client.connect(start.chain(rest(requests))).await.map_err(|error| status::guest(&error))?.into_inner();
    hands.connected(&id, port).await;
    // Held until the connection's last answer.
    let answers = answers.map(move |answer| {
        let _ = &busy;
        answer.map(back).map_err(|error| status::guest(&error))
    });
    Ok(until_closing(answers, &api.closing))
}

/// What follows the start, in order. Where the caller's stream breaks, the guest is told so.
fn rest(requests: Streaming<ForwardRequest>) -> impl stream::Stream<Item = guest::ConnectRequest> + Send {
    use guest::connect_request::Request as To;
    requests.flat_map(|request| {
        let parts: Vec<To> = match request.map(|r| r.request) {
            Ok(Some(forward_request::Request::Data(bytes))) => pieces(&bytes).map(To::Data).collect(),
            Ok(Some(forward_request::Request::Start(_) | forward_request::Request::Reset(_)) | None) | Err(_) => {
                vec![To::Reset(true)]
            }
        };
        stream::iter(parts.into_iter().map(towards))
    })
}

fn towards(request: guest::connect_request::Request) -> guest::ConnectRequest {
    guest::ConnectRequest { request: Some(request) }
}

fn back(answer: guest::ConnectResponse) -> ForwardResponse {
    use forward_response::Response as Back;
    use guest::connect_response::Response as From;
    let response = answer.response.map(|response| match response {
        From::Connected(_) => Back::Connected(ForwardConnected {}),
        From::Data(bytes) => Back::Data(bytes),
        From::End(end) => Back::End(end),
    });
    ForwardResponse { response }
}
