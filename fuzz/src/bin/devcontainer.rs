//! devcontainer.json, Dockerfiles, features, and the label of an image.
#![no_main]

use std::collections::BTreeMap;

use hostd_core::{
    devcontainer::{Asked, Dockerfile, Feature, File, Metadata, Plan, Source, Variables, in_order},
    image::{Defaults, feature_archive},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = feature_archive(data, 1 << 20);
    let Some(text) = pilothouse_fuzz::text(data) else { return };
    // Up to the first mark it is a devcontainer.json, and behind it what that names.
    let (file, rest) = text.split_once("\u{1}").unwrap_or((text, ""));
    let (dockerfile, feature) = rest.split_once("\u{1}").unwrap_or((rest, ""));
    let variables = Variables { folder: "/work".into(), id: "id".into() };
    let _ = Metadata::of_label(text, &variables);
    let Ok(file) = File::parse(".devcontainer/devcontainer.json", file, &variables) else { return };
    let dockerfile = match &file.source {
        Source::Dockerfile { path, arguments, target, .. } => {
            let Ok(dockerfile) = Dockerfile::parse(path, dockerfile, target.as_deref()) else { return };
            let _ = dockerfile.image(arguments);
            Some(dockerfile)
        }
        Source::Image(_) => None,
    };
    let mut features = vec![];
    for asked in file.features.clone() {
        let Ok(place) = asked.place(".devcontainer") else { continue };
        features.extend(Feature::parse(asked, place, feature, &variables));
    }
    let count = features.len();
    let Ok(features) = in_order(features, &file.order, ".devcontainer") else { return };
    assert_eq!(features.len(), count);
    assert!(features.iter().flat_map(Feature::variables).all(|(name, _)| !name.contains(['=', '\0'])));
    let _ = Asked { name: text.into(), options: BTreeMap::new() }.place("");
    let plan = Plan { file, dockerfile, features, variables, ignored: vec![] };
    let image = Defaults { metadata: Some(feature.into()), ..Defaults::default() };
    if let Ok(work) = plan.work(&image, None, "amd64") {
        let steps = work.system.iter().chain(&work.commands).chain(&work.start);
        assert!(steps.into_iter().all(|step| step.directory.starts_with('/') && !step.title.contains('\n')));
    }
});
