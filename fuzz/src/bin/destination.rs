//! Where a guest's request goes, and what of its headers goes along.
#![no_main]

use hostd::gateway::fuzz::{destination, only_end_to_end};
use hyper::{
    Method,
    header::{CONNECTION, HeaderMap, HeaderValue},
};
use libfuzzer_sys::fuzz_target;
use pilothouse_fuzz::line;

fuzz_target!(|data: &[u8]| {
    let Some((uri, rest)) = line(data) else { return };
    let Some((entry, connection)) = line(rest) else { return };
    for method in [Method::GET, Method::CONNECT] {
        if let Some((named, true)) = destination(method, uri, entry) {
            let port = |text: &str| text.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
            assert_eq!(port(&named), port(entry), "{named} is not {entry}");
        }
    }
    if let Ok(value) = HeaderValue::from_bytes(connection) {
        let mut headers = HeaderMap::new();
        headers.insert(CONNECTION, value);
        only_end_to_end(&mut headers);
        assert!(headers.is_empty());
    }
});
