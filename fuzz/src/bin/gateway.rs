//! A guest's connection to the gateway, whole: nothing that it may ask for leads anywhere.
#![no_main]

use std::{io::Cursor, sync::LazyLock};

use hostd::gateway::{Caller, Gateway};
use libfuzzer_sys::fuzz_target;
use pilothouse_fuzz::block_on;
use tokio::io::{join, sink};

static GATEWAY: LazyLock<Gateway> = LazyLock::new(|| Gateway::new("/nonexistent/git".into()));
static CALLER: LazyLock<Caller> = LazyLock::new(|| Caller {
    session_id: "id".into(),
    slug: "fuzzer".into(),
    environment: "fuzz".into(),
    repository: Some("widgets".into()),
    branch_prefix: Some("agent/fuzzer/".into()),
    also_read: vec![],
    egress: vec![],
});

fuzz_target!(|data: &[u8]| {
    block_on(GATEWAY.serve(&CALLER, join(Cursor::new(data.to_vec()), sink())));
});
