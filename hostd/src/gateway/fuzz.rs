//! What the fuzz targets feed.

use std::io;

use hyper::{Method, Request, header::HeaderMap};

use super::{cgi, egress::Destination, forward};

/// The header of a CGI process's answer.
///
/// # Errors
/// It is none.
pub async fn cgi_head(mut bytes: &[u8]) -> io::Result<()> {
    cgi::head(&mut bytes).await.map(drop)
}

/// Where a request goes, as an egress entry would name it; and whether this entry does.
pub fn destination(method: Method, uri: &str, entry: &str) -> Option<(String, bool)> {
    let request = Request::builder().method(method).uri(uri).body(()).ok()?;
    let destination = Destination::of(&request)?;
    let named = destination.to_string();
    assert!(destination.is(&named), "{named} does not name itself");
    Some((named, destination.is(entry)))
}

/// Takes away the headers of one hop.
pub fn only_end_to_end(headers: &mut HeaderMap) {
    forward::only_end_to_end(headers);
}
