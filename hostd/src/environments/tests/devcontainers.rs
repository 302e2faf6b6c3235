//! Builds of devcontainer.json, with pretended guests and a registry that is made up.

use super::*;

const BUILD: &str = r#"{
    // The image, and two features.
    "image": "REGISTRY/team/app:1",
    "features": { "REGISTRY/team/tool:tool": { "version": "7" }, "./own": {}, "https://x.example/f.tgz": {} },
    "remoteUser": "node", "containerEnv": { "MODE": "dev" }, "remoteEnv": { "PATH": "${containerEnv:PATH}:/more" },
    "postCreateCommand": { "deps": ["npm", "ci"], "hooks": "make hooks" },
    "postStartCommand": "server --daemon", "forwardPorts": [3000],
}"#;

/// A fixture whose repository has these files, and whose recipe is for the devcontainer.json in it.
pub(super) async fn fixture(files: &[(&str, &str)]) -> (Fixture, FakeRegistry) {
    let (fixture, registry) = (Fixture::new().await, FakeRegistry::new(Manner::Open).await);
    let below =
        [("bin/sh", "a shell"), ("etc/passwd", "root:x:0:0::/root:/bin/sh\nnode:x:1000:1000::/home/node:/bin/sh\n")];
    let config = IMAGE.replace(
        "\"User\":\"7\"",
        "\"Labels\":{\"devcontainer.metadata\":\"[{\\\"postCreateCommand\\\":\\\"of-image\\\"}]\"}",
    );
    registry.push("1", &config, &[layer(&below)]);
    registry.push_feature("tool", &archive("tool", "7.1"));
    fixture.files(&registry, files).await;
    fixture.register(&recipe(&registry, "true")).await;
    (fixture, registry)
}

/// A recipe for a devcontainer.json that may name this registry.
fn recipe(registry: &FakeRegistry, path: &str) -> String {
    let base = format!("base = {{ devcontainer = {path}, registries = [\"{}\"] }}", registry.address);
    RECIPE.replace(r#"base = { debian = "bookworm" }"#, &base)
}

/// The archive of a feature.
fn archive(name: &str, version: &str) -> Vec<u8> {
    let text = format!(
        r#"{{"id":"{name}","version":"{version}","options":{{"version":{{"default":"1"}},"flag":{{"default":true}}}},"installsAfter":["./own"]}}"#
    );
    layer(&[("devcontainer-feature.json", text.as_str()), ("install.sh", "echo $VERSION")])
}

impl Fixture {
    /// A commit on main with these files, in which REGISTRY is the registry's address.
    pub(super) async fn files(&self, registry: &FakeRegistry, files: &[(&str, &str)]) {
        let tree = self.data.path().join("tree");
        for (path, text) in files {
            let path = tree.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text.replace("REGISTRY", &registry.address)).unwrap();
        }
        let at = ["--git-dir=git/widgets.git", "--work-tree=tree"];
        self.git(&[&at[..], &["add", "-A"]].concat()).await;
        let written = self.git(&["--git-dir=git/widgets.git", "write-tree"]).await;
        let commit = self.git(&["--git-dir=git/widgets.git", "commit-tree", "-m", "x", &written]).await;
        self.git(&["--git-dir=git/widgets.git", "update-ref", "refs/heads/main", &commit]).await;
    }
}

fn own_feature() -> (&'static str, &'static str) {
    (".devcontainer/own/devcontainer-feature.json", r#"{ "id": "own", "containerEnv": { "OWN": "${PATH}:x" } }"#)
}

#[tokio::test]
async fn what_it_says_is_followed_in_order_and_the_rest_is_listed() {
    let (fixture, registry) = fixture(&[(".devcontainer/devcontainer.json", BUILD), own_feature()]).await;
    let events = fixture.build().await;
    let Some(BuildEvent::Done { info, cached: false }) = events.last() else { panic!("{events:?}") };
    let steps: Vec<_> = events
        .iter()
        .filter_map(|event| {
            if let BuildEvent::Step { number, count, name } = event {
                Some((*number, *count, name.as_str()))
            } else {
                None
            }
        })
        .collect();
    assert_eq!(steps.last().map(|(number, ..)| *number), steps.last().map(|(_, count, _)| *count), "{steps:?}");
    let names: Vec<&str> = steps
        .iter()
        .map(|(_, _, name)| *name)
        .filter(|name| name.contains("feature") || name.contains("Command"))
        .collect();
    let tool = format!("feature {}/team/tool:tool", registry.address);
    let wanted = [
        "feature ./own",
        &tool,
        "image: postCreateCommand: of-image",
        "postCreateCommand deps: npm ci",
        "postCreateCommand hooks: make hooks",
    ];
    assert_eq!(names, wanted);

    let commands = fixture.vmm.commands();
    let at = |part: &str| {
        commands.iter().position(|command| command.contains(part)).unwrap_or_else(|| panic!("{part} in {commands:#?}"))
    };
    let order = [
        "git clone",
        "/work/widgets/.devcontainer/own",
        "chown -Rh node:",
        "node@/work/widgets: /bin/sh -c of-image",
        "node@/work/widgets: npm ci",
        "make hooks",
        "sh -c make all",
        "server --daemon",
    ];
    assert!(order.windows(2).all(|pair| at(pair[0]) < at(pair[1])), "{commands:#?}");
    assert!(
        commands.iter().filter(|command| command.contains("feature of a devcontainer")).count() == 2,
        "{commands:#?}"
    );

    let build = info.build.as_ref().unwrap();
    let followed = build.devcontainer.as_ref().unwrap();
    assert_eq!((followed.path.as_str(), &followed.ports[..]), (".devcontainer/devcontainer.json", &[3000][..]));
    assert!(build.image.contains("/team/app:1@sha256:"), "{}", build.image);
    let expected = [
        "feature https://x.example/f.tgz: features are taken from registries and from the repository, and not from the web",
    ];
    assert_eq!(followed.ignored, expected);
    let told = |events: &[BuildEvent]| {
        events
            .iter()
            .any(|event| matches!(event, BuildEvent::Output(line) if line.starts_with("not honoured: feature https")))
    };
    assert!(told(&events));

    let ready = fixture.environments.ready("python").unwrap();
    assert_eq!((ready.recipe.user.as_str(), ready.recipe.directory()), ("node", "/work/widgets"));
    let variables = &ready.recipe.environment;
    assert_eq!((variables["MODE"].as_str(), variables["OWN"].as_str()), ("dev", "/bin:x"));
    assert_eq!(variables["PATH"], "/run/pilothouse/bin:/bin:/more");
    assert_eq!(open(fixture.data.path()).await.1.ready("python").unwrap(), ready);

    let events = fixture.build().await;
    assert!(matches!(events.last(), Some(BuildEvent::Done { cached: true, .. })) && told(&events), "{events:?}");
    // A feature that is another one now makes another build.
    registry.push_feature("tool", &archive("tool", "7.2"));
    assert!(!fixture.built().await.1);
}

#[tokio::test]
async fn a_dockerfile_is_followed_on_the_image_that_it_names() {
    let file = r#"{ "build": { "dockerfile": "Dockerfile", "context": "..", "args": { "TAG": "1" } } }"#;
    let dockerfile = "ARG TAG=9\nFROM REGISTRY/team/app:${TAG}\nRUN make tools\nWORKDIR /opt\nCOPY a.txt ./\nUSER node\nRUN [\"whoami\"]\n";
    let files = [(".devcontainer.json", file), ("Dockerfile", dockerfile)];
    let (fixture, registry) = fixture(&files).await;
    // Of a file at the top, the folder above is none of the repository's.
    let (step, output) = fixture.failed().await;
    assert!(
        step == "devcontainer.json" && output.contains("build.context is .., which is not in the repository"),
        "{step}: {output}"
    );
    fixture.files(&registry, &[(".devcontainer.json", &file.replace("..\"", ".\""))]).await;
    fixture.built().await;
    let commands = fixture.vmm.commands();
    let at = |part: &str| {
        commands.iter().position(|command| command.contains(part)).unwrap_or_else(|| panic!("{part} in {commands:#?}"))
    };
    let order = [
        "git clone",
        "/srv: /bin/sh -c make tools",
        "/srv: mkdir -p -- /opt",
        "sh /work/widgets/ /opt/",
        "node@/opt: whoami",
        "chown -Rh node:",
    ];
    assert!(order.windows(2).all(|pair| at(pair[0]) < at(pair[1])), "{commands:#?}");
    assert_eq!(fixture.environments.ready("python").unwrap().recipe.user, "node");

    fixture.files(&registry, &[("Dockerfile", "FROM REGISTRY/team/app:1\nRUN make fail\n")]).await;
    let (step, output) = fixture.failed().await;
    assert!(
        step == "Dockerfile:2: RUN make fail" && output.contains("ended with exit code 3; what it fetches"),
        "{step}: {output}"
    );
    fixture.files(&registry, &[("Dockerfile", "FROM REGISTRY/team/app:1\nADD x /\n")]).await;
    let started = fixture.vmm.specs().len();
    let (_, output) = fixture.failed().await;
    assert!(output.contains("Dockerfile:2: ADD unpacks") && output.contains("the recipe's `setup`"), "{output}");
    assert_eq!(fixture.vmm.specs().len(), started, "nothing was begun");
}

#[tokio::test]
async fn one_that_is_not_there_or_is_of_several_containers_says_what_to_do() {
    let (fixture, registry) = fixture(&[("README", "x")]).await;
    let (_, output) = fixture.failed().await;
    let missing = "there is no .devcontainer/devcontainer.json and no .devcontainer.json at main of the repository widgets; push one";
    assert!(output.contains(missing), "{output}");
    fixture.files(&registry, &[(".devcontainer/devcontainer.json", "{\"dockerComposeFile\":\"a.yml\"}")]).await;
    let (_, output) = fixture.failed().await;
    assert!(output.contains("an environment is one system"), "{output}");
    fixture
        .files(
            &registry,
            &[(
                ".devcontainer/devcontainer.json",
                "{\"image\":\"REGISTRY/team/app:1\",\"features\":{\"REGISTRY/team/app:1\":{}}}",
            )],
        )
        .await;
    let (_, output) = fixture.failed().await;
    assert!(output.contains("it is no feature of devcontainers"), "{output}");
}

/// An agent that must not be root is not made to by an image.
#[tokio::test]
async fn commands_run_as_the_user_that_the_recipe_names() {
    let file = "{\"image\":\"REGISTRY/team/app:1\",\"onCreateCommand\":\"make create\",\"remoteUser\":\"node\"}";
    let (fixture, registry) = fixture(&[(".devcontainer.json", file)]).await;
    // One that is the same user as without a word is another build all the same.
    for (user, cached) in [("", false), ("user = \"root\"\n", false), ("user = \"dev\"\n", false), ("", true)] {
        fixture.register(&format!("{user}{}", recipe(&registry, "\".devcontainer.json\""))).await;
        assert_eq!(fixture.built().await.1, cached, "{user}");
    }
    let commands = fixture.vmm.commands();
    assert!(commands.iter().any(|command| command == "dev@/work/widgets: /bin/sh -c make create"), "{commands:#?}");
}

/// What a repository says decides about no connection of the host's to places that are not public.
#[tokio::test]
async fn registries_that_are_not_public_are_asked_where_the_recipe_names_them_alone() {
    let file = "{\"image\":\"REGISTRY/team/app:1\"}";
    let (fixture, registry) = fixture(&[(".devcontainer.json", file)]).await;
    fixture.register(&recipe(&registry, "true").replace(&registry.address, "other.example")).await;
    let write = format!("add `registries = [\"{}\"]` to the recipe's base", registry.address);
    let (_, output) = fixture.failed().await;
    assert!(output.contains("without TLS") && output.contains(&write), "{output}");
    for image in [
        "https://REGISTRY/team/app:1",
        "https://10.0.0.5/x/y",
        "https://169.254.169.254/x/y",
        "https://localhost:1/x/y",
    ] {
        fixture.files(&registry, &[(".devcontainer.json", &file.replace("REGISTRY/team/app:1", image))]).await;
        let (_, output) = fixture.failed().await;
        assert!(output.contains("it has no public address") && output.contains("add `registries = [\""), "{output}");
    }
    assert_eq!(registry.asked(), Vec::<String>::new());
}
