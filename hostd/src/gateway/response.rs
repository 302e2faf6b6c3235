//! Answers of the gateway itself: short plain text, which git, curl and people show as it is.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{
    Response, StatusCode,
    ext::ReasonPhrase,
    header::{CONTENT_TYPE, HeaderValue},
};

/// Body of every answer.
pub(super) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// An answer with a short text, also as the reason phrase where it fits: of a refused CONNECT, many clients show only that.
pub(super) fn text(status: StatusCode, text: &str) -> Response<Body> {
    let line = text.trim_end();
    let mut response = Response::new(whole(format!("{line}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if status != StatusCode::OK
        && let Ok(reason) = ReasonPhrase::try_from(line.as_bytes())
    {
        response.extensions_mut().insert(reason);
    }
    response
}

/// An answer with JSON.
pub(super) fn json(status: StatusCode, json: String) -> Response<Body> {
    let mut response = Response::new(whole(json));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An empty answer, for an accepted CONNECT.
pub(super) fn empty() -> Response<Body> {
    Response::new(whole(String::new()))
}

fn whole(text: String) -> Body {
    Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync()
}
