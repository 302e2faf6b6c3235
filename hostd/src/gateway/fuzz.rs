//! What the fuzz targets feed.

use std::io;

use hostd_core::recipe::Egress;
use hyper::{Method, Request, header::HeaderMap};

use super::{cgi, egress::Destination, forward};

/// Reads the header of a CGI process's answer.
///
/// # Errors
/// It is none.
pub async fn cgi_head(mut bytes: &[u8]) -> io::Result<()> {
    cgi::head(&mut bytes).await.map(drop)
}

/// Destination of a request, as an egress entry would name it; and whether this entry does.
pub fn destination(method: Method, uri: &str, asked: &str) -> Option<(String, bool)> {
    let request = Request::builder().method(method).uri(uri).body(()).ok()?;
    let destination = Destination::of(&request)?;
    let named = destination.to_string();
    let entry = |to: &str| Egress { to: to.into(), private: false };
    assert!(destination.is(&entry(&named)), "{named} does not name itself");
    Some((named, destination.is(&entry(asked))))
}

/// Removes the headers of one hop.
pub fn only_end_to_end(headers: &mut HeaderMap) {
    forward::only_end_to_end(headers);
}
