//! A guest's connection to the gateway, whole: nothing that it may ask for leads anywhere.
#![no_main]

use std::{
    io::Cursor,
    sync::{Arc, LazyLock},
};

use hostd::{
    forge::BareRepositories,
    gateway::{Access, Beside, Caller, Gateway},
};
use libfuzzer_sys::fuzz_target;
use pilothouse_fuzz::block_on;
use tokio::io::{join, sink};

static GATEWAY: LazyLock<Arc<Gateway>> =
    LazyLock::new(|| Arc::new(Gateway::new(BareRepositories::at("/nonexistent/git".into()))));
static CALLER: LazyLock<Arc<Caller>> = LazyLock::new(|| {
    Arc::new(Caller {
        session_id: "id".into(),
        slug: "fuzzer".into(),
        environment: "fuzz".into(),
        repository: Some("widgets".into()),
        branch_prefix: Some("agent/fuzzer/".into()),
        opens_pulls: None,
        also_read: vec![],
        egress: vec![],
        beside: Beside::default(),
        access: Access::default(),
    })
});

fuzz_target!(|data: &[u8]| {
    let _ = block_on(GATEWAY.serve(&CALLER, join(Cursor::new(data.to_vec()), sink())));
});
