//! Names, manifests and configurations of container images, and what registries want to know.
#![no_main]

use hostd_core::image::{Challenge, Config, Document, Reference, Variant};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = Config::parse(data);
    if let Ok(Document::Index(variants)) = Document::parse(data) {
        let _ = Variant::choose(&variants, "amd64");
    }
    let Some(text) = pilothouse_fuzz::text(data) else { return };
    if let Some(Challenge::Bearer { realm, service }) = Challenge::parse(text) {
        assert!(Challenge::token_url(&realm, &service, text).starts_with(&realm));
    }
    if let Ok(reference) = Reference::parse(text) {
        let again = Reference::parse(&reference.to_string()).expect("what is shown to be a name");
        assert_eq!(
            (again.host(), &again.repository, &again.tag, &again.digest),
            (reference.host(), &reference.repository, &reference.tag, &reference.digest)
        );
    }
});
