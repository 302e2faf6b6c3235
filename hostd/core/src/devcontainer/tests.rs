//! Shapes that devcontainer.json files of real projects have, and what becomes of them.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::image::{Defaults, Reference};

const PATH_IN: &str = ".devcontainer/devcontainer.json";

fn variables() -> Variables {
    Variables { folder: "/work/shop".into(), id: "x1".into() }
}

fn file(text: &str) -> File {
    File::parse(PATH_IN, text, &variables()).unwrap()
}

fn plan(text: &str) -> Plan {
    Plan { file: file(text), dockerfile: None, features: vec![], variables: variables(), ignored: vec![] }
}

fn refused(text: &str) -> String {
    File::parse(PATH_IN, text, &variables()).unwrap_err()
}

fn image(environment: &[(&str, &str)], user: &str) -> Defaults {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let environment = environment.iter().map(pair).collect();
    Defaults { environment, user: user.into(), shell: true, ..Defaults::default() }
}

fn feature(name: &str, text: &str) -> Feature {
    let asked = Asked { name: name.into(), options: BTreeMap::new() };
    let place = asked.place(".devcontainer").unwrap();
    Feature::parse(asked, place, text, &variables()).unwrap()
}

fn run(step: &Step) -> Vec<&str> {
    match &step.task {
        Task::Run(words) => words.iter().map(String::as_str).collect(),
        other => panic!("{other:?}"),
    }
}

/// As a project in Node has it: comments, commas at the end, an editor's settings, ports, a command, caches.
#[test]
fn a_node_project_has_its_image_its_ports_and_its_command() {
    let text = r#"// For format details, see the reference.
    {
      "$schema": "https://example.com/schema.json",
      "name": "shop",
      /* the one of CI */
      "image": "mcr.example.com/devcontainers/typescript-node:1-22-bookworm",
      "customizations": { "editor": { "extensions": ["a.b", "c.d",] } },
      "forwardPorts": [3000, "localhost:5173", "db:5432", 3000],
      "portsAttributes": { "3000": { "label": "web" } },
      "postCreateCommand": "npm ci && npm run build",
      "mounts": [
        "source=${localEnv:HOME}/.ssh,target=/home/node/.ssh,type=bind,readonly",
        { "source": "cache-${devcontainerId}", "target": "/cache", "type": "volume" },
      ],
      "remoteUser": "node",
    }"#;
    let plan = plan(text);
    assert_eq!(plan.file.source, Source::Image("mcr.example.com/devcontainers/typescript-node:1-22-bookworm".into()));
    let work = plan.work(&image(&[("PATH", "/usr/bin")], ""), None, "amd64").unwrap();
    assert_eq!((work.ports, work.defaults.user.as_str()), (vec![3000, 5173], "node"));
    assert_eq!(work.commands.len(), 1);
    let command = &work.commands[0];
    assert_eq!(command.title, "postCreateCommand: npm ci && npm run build");
    assert_eq!(
        (run(command), command.directory.as_str()),
        (vec!["/bin/sh", "-c", "npm ci && npm run build"], "/work/shop")
    );
    let of = |start: &str| work.ignored.iter().filter(|line| line.starts_with(start)).count();
    let found = [
        "customizations: ",
        "portsAttributes: ",
        "forwardPorts db:5432: ",
        "mounts /home/node/.ssh: files of the host",
        "mounts /cache: the folder is on the VM's own disk",
    ];
    assert_eq!(found.map(of), [1; 5], "{:?}", work.ignored);
    assert_eq!(work.ignored.len(), 5, "{:?}", work.ignored);
}

/// As a project in Python has it: a Dockerfile above an image that is chosen by an argument.
#[test]
fn a_python_project_has_what_its_dockerfile_does() {
    let text = r#"{
      "build": { "dockerfile": "Dockerfile", "context": "..", "args": { "VARIANT": "3.12-bookworm", "NODE": "none" }, "cacheFrom": "x" },
      "containerEnv": { "PYTHONUNBUFFERED": "1", "HOST": "${localEnv:HOST:nowhere}" },
      "remoteEnv": { "PATH": "${containerEnv:PATH}:/opt/more", "UNSET": null },
      "runArgs": ["--init", "-e", "MODE=dev", "--network=host"],
      "postCreateCommand": { "deps": "pip install -e .", "hooks": ["pre-commit", "install"] },
      "onCreateCommand": "touch ${containerWorkspaceFolder}/made",
      "remoteUser": "vscode"
    }"#;
    let dockerfile = "# syntax=docker/dockerfile:1\n\
        ARG VARIANT=3.11\n\
        FROM --platform=linux/amd64 mcr.example.com/devcontainers/python:${VARIANT} AS dev\n\
        ARG NODE=\"lts\"\n\
        ARG USERNAME=vscode\n\
        ENV PATH=/opt/venv/bin:$PATH \\\n    # the one of CI\n    A=\"b c\"\n\
        RUN if [ \"$NODE\" != none ]; then echo node; fi \\\n    && apt-get update\n\
        WORKDIR /opt/app\n\
        COPY --chown=$USERNAME requirements*.txt ./\n\
        SHELL [\"/bin/bash\", \"-o\", \"pipefail\", \"-c\"]\n\
        RUN --mount=type=cache,target=/root/.cache pip install -r requirements.txt\n\
        USER ${USERNAME}\n\
        RUN [\"whoami\", \"--x\"]\n\
        EXPOSE 80\nCMD [\"sleep\", \"infinity\"]\n";
    let mut plan = plan(text);
    let Source::Dockerfile { path, context, arguments, target } = plan.file.source.clone() else { panic!() };
    assert_eq!((path.as_str(), context.as_str(), target), (".devcontainer/Dockerfile", "", None));
    let dockerfile = Dockerfile::parse(&path, dockerfile, Some("dev")).unwrap();
    let from = dockerfile.image(&arguments).unwrap();
    assert_eq!(from.to_string(), "mcr.example.com/devcontainers/python:3.12-bookworm");
    plan.dockerfile = Some(dockerfile);
    let work = plan.work(&image(&[("PATH", "/usr/bin"), ("UNSET", "x")], ""), None, "amd64").unwrap();
    let bash = "/bin/bash";
    assert_eq!(
        crate::text::one_line(run(&work.system[0])[2]),
        "if [ \"$NODE\" != none ]; then echo node; fi && apt-get update"
    );
    assert_eq!(work.system[0].environment["NODE"], "none");
    assert_eq!(work.system[0].environment["PATH"], "/opt/venv/bin:/usr/bin");
    assert_eq!(run(&work.system[1]), ["mkdir", "-p", "--", "/opt/app"]);
    let copy = Task::Copy {
        context: "/work/shop/".into(),
        sources: vec!["requirements*.txt".into()],
        target: "/opt/app/".into(),
        owner: "vscode".into(),
        mode: String::new(),
    };
    assert_eq!(work.system[2].task, copy);
    assert_eq!(run(&work.system[3]), [bash, "-o", "pipefail", "-c", "pip install -r requirements.txt"]);
    assert_eq!((work.system[3].user.as_str(), work.system[3].directory.as_str()), ("root", "/opt/app"));
    assert_eq!((work.system[4].user.as_str(), run(&work.system[4])), ("vscode", vec!["whoami", "--x"]));
    assert!(work.system[4].title.starts_with(".devcontainer/Dockerfile:16: RUN whoami"), "{}", work.system[4].title);

    let environment = &work.defaults.environment;
    assert_eq!(environment["A"], "b c");
    assert_eq!(environment["PATH"], "/opt/venv/bin:/usr/bin:/opt/more");
    assert_eq!((environment["HOST"].as_str(), environment["MODE"].as_str()), ("nowhere", "dev"));
    assert!(!environment.contains_key("NODE") && !environment.contains_key("UNSET"), "{environment:?}");
    let titles: Vec<&str> = work.commands.iter().map(|step| step.title.as_str()).collect();
    let all = [
        "onCreateCommand: touch /work/shop/made",
        "postCreateCommand deps: pip install -e .",
        "postCreateCommand hooks: pre-commit install",
    ];
    assert_eq!(titles, all);
    let said = work.ignored.join("\n");
    for part in [
        "build.cacheFrom",
        "${localEnv:HOST}",
        "runArgs --init",
        "runArgs --network=host",
        "FROM --platform",
        "RUN --mount",
        "CMD",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
}

/// As a project in Rust has it: features with options, and what the image itself says in its label.
#[test]
fn a_rust_project_has_its_features_and_what_the_image_says() {
    let text = r#"{
      "image": "mcr.example.com/devcontainers/rust:1-bookworm",
      "features": {
        "ghcr.io/devcontainers/features/node:1": { "version": "22", "nodeGypDependencies": false },
        "ghcr.io/devcontainers/features/common-utils:2": {},
        "./local": "stable"
      },
      "privileged": true, "hostRequirements": { "memory": "8gb" }, "initializeCommand": "docker pull x",
      "postStartCommand": ["redis-server", "--daemonize", "yes"], "unheard": 1
    }"#;
    let file = file(text);
    let names: Vec<&str> = file.features.iter().map(|asked| asked.name.as_str()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    let node = file.features.iter().find(|asked| asked.name.contains("node")).unwrap().clone();
    let place = node.place(".devcontainer").unwrap();
    let metadata = r#"{ "id": "node", "version": "1.6.1",
        "options": { "version": { "type": "string", "default": "lts" }, "2nd-choice": { "type": "boolean", "default": true } },
        "containerEnv": { "NVM_DIR": "/usr/local/share/nvm", "PATH": "/usr/local/share/nvm/current/bin:${PATH}" },
        "customizations": {}, "entrypoint": "/start.sh", "mounts": [{ "source": "a", "target": "/b", "type": "volume" }],
        "postCreateCommand": "nvm ready", "installsAfter": ["ghcr.io/devcontainers/features/common-utils"] }"#;
    let node = Feature::parse(node, place, metadata, &variables()).unwrap();
    let expected = [("NODEGYPDEPENDENCIES", "false"), ("VERSION", "22"), ("_ND_CHOICE", "true")];
    assert_eq!(node.variables(), expected.map(|(name, value)| (name.into(), value.into())).into());
    let common = feature("ghcr.io/devcontainers/features/common-utils:2", "{\"id\":\"common-utils\"}");
    let local = feature("./local", "{\"id\":\"local\"}");
    assert_eq!(local.place, Place::Folder(".devcontainer/local".into()));
    let features = in_order(vec![node, local, common], &[], ".devcontainer").unwrap();
    let order: Vec<&str> = features.iter().map(|feature| feature.asked.name.rsplit('/').next().unwrap()).collect();
    assert_eq!(order, ["local", "common-utils:2", "node:1"]);

    let plan = Plan { file, dockerfile: None, features, variables: variables(), ignored: vec![] };
    let label = r#"[{"id":"common"},{"remoteUser":"vscode","containerEnv":{"CARGO_HOME":"/cargo","PATH":"/never"},"postCreateCommand":"image"}]"#;
    let image = Defaults { metadata: Some(label.into()), ..image(&[("PATH", "/bin")], "") };
    let work = plan.work(&image, None, "amd64").unwrap();
    assert_eq!((work.defaults.user.as_str(), work.defaults.environment["CARGO_HOME"].as_str()), ("vscode", "/cargo"));
    assert_eq!(work.defaults.environment["PATH"], "/usr/local/share/nvm/current/bin:/bin");
    assert_eq!(
        work.system[0].task,
        Task::Install { feature: 0, folder: Some("/work/shop/.devcontainer/local".into()) }
    );
    assert_eq!(work.system[2].task, Task::Install { feature: 2, folder: None });
    let environment = &work.system[2].environment;
    assert_eq!(
        (
            environment["VERSION"].as_str(),
            environment["_REMOTE_USER"].as_str(),
            environment["_CONTAINER_USER"].as_str()
        ),
        ("22", "vscode", "root")
    );
    let titles: Vec<&str> = work.commands.iter().map(|step| step.title.as_str()).collect();
    assert_eq!(titles.len(), 2);
    assert!(
        titles[0].starts_with("image: postCreateCommand") && titles[1].contains("node:1: postCreateCommand: nvm ready"),
        "{titles:?}"
    );
    assert_eq!(run(&work.start[0]), ["redis-server", "--daemonize", "yes"]);
    let said = work.ignored.join("\n");
    for part in [
        "privileged",
        "hostRequirements",
        "initializeCommand: it would run on the host",
        "unheard: it is not known",
        "entrypoint",
        "mounts /b",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert!(!said.contains("customizations"), "{said}");
    // The recipe's own user wins.
    assert_eq!(plan.work(&image, Some("dev"), "amd64").unwrap().defaults.user, "dev");
}

#[rstest]
#[case("{", "Unterminated object on line 1")]
#[case("[]", "is no JSON object")]
#[case("{\"name\": \"x\"}", "neither `image` nor `build.dockerfile`")]
#[case("{\"dockerComposeFile\": \"compose.yml\", \"service\": \"app\"}", "an environment is one system")]
#[case("{\"image\": \"a\", \"remoteUser\": \"1000\"}", "remoteUser is 1000; allowed: the name of a user")]
#[case("{\"image\": \"a\", \"remoteUser\": \"-x\"}", "remoteUser is -x")]
#[case("{\"image\": \"a\", \"postCreateCommand\": 7}", "postCreateCommand is 7; allowed: a text, a list")]
#[case("{\"image\": \"a\", \"postCreateCommand\": [\"a\", 7]}", "postCreateCommand is")]
#[case("{\"image\": \"a\", \"features\": []}", "features is []")]
#[case("{\"image\": \"a\", \"features\": {\"a/b\": {\"x\": {}}}}", "option x of the feature a/b")]
#[case("{\"build\": {\"dockerfile\": \"../../Dockerfile\"}}", "which is not in the repository")]
#[case("{\"build\": {\"dockerfile\": \"/etc/passwd\"}}", "which is not in the repository")]
fn what_cannot_be_is_refused_and_says_why(#[case] text: &str, #[case] why: &str) {
    let refused = refused(text);
    assert!(refused.contains(why) && refused.starts_with(PATH_IN), "{refused}");
}

#[rstest]
#[case("FROM a\nFROM b", 2, "several stages")]
#[case("FROM a\nCOPY --from=b /x /y", 2, "COPY --from=b")]
#[case("FROM a\n\nADD x.tar /", 3, "ADD unpacks")]
#[case("FROM a\nRUN <<EOF\necho\nEOF", 2, "behind <<")]
#[case("FROM a\nRUN --mount=type=secret,id=x cat", 2, "RUN --mount=type=secret")]
#[case("FROM a\nCOPY ../x /", 2, "outside its context")]
#[case("FROM scratch", 1, "no system")]
#[case("RUN x\nFROM a", 1, "before FROM")]
#[case("FROM a\nONBUILD RUN x", 2, "ONBUILD is not known")]
#[case("FROM a\nENV A=\"b", 2, "a quote has no end")]
#[case("# escape=`\nFROM a", 1, "what goes on")]
#[case("FROM a\nENV A=1 B-C=2", 2, "B-C cannot be the name of a variable")]
#[case("FROM a\nENV =2", 2, "cannot be the name of a variable")]
#[case("FROM a\nARG 1A", 2, "1A cannot be the name of a variable")]
fn a_dockerfile_that_cannot_be_followed_is_refused_with_its_line(
    #[case] text: &str,
    #[case] line: usize,
    #[case] why: &str,
) {
    let refused = Dockerfile::parse("Dockerfile", text, None).unwrap_err();
    assert!(refused.starts_with(&format!("Dockerfile:{line}: ")) && refused.contains(why), "{refused}");
}

#[test]
fn variables_in_variables_are_refused_by_their_name() {
    let dockerfile = Dockerfile::parse("D", "ARG A=x\nFROM ${A:-${B}}", None).unwrap();
    let refused = dockerfile.image(&BTreeMap::new()).unwrap_err();
    assert!(refused.contains("${...} in another ${...} is not known here; write $NAME"), "{refused}");
}

#[test]
fn a_here_string_and_a_shift_are_no_document() {
    for run in ["cat <<< x", "echo $((1 << 2))"] {
        assert!(Dockerfile::parse("D", &format!("FROM a\nRUN {run}"), None).is_ok(), "{run}");
    }
}

#[test]
fn a_number_for_a_user_and_another_stage_are_refused() {
    let mut plan = plan("{\"build\": {\"dockerfile\": \"D\"}}");
    plan.dockerfile = Some(Dockerfile::parse("D", "FROM a\nUSER 0\nRUN x\nUSER 1000", None).unwrap());
    assert!(plan.work(&Defaults::default(), None, "amd64").unwrap_err().starts_with("D:4: USER 1000"));
    assert!(Dockerfile::parse("D", "FROM a AS b", Some("c")).unwrap_err().contains("the stage c"));
}

#[test]
fn what_variables_make_is_bounded() {
    let long = "y".repeat(4096);
    let many = |name: &str| format!("${{containerEnv:{name}}}").repeat(120);
    let work = |text: String| plan(&text).work(&image(&[("X", &long)], ""), None, "amd64").unwrap_err();
    let said = "a text of more than 32768 bytes";
    for text in [
        format!("{{\"image\":\"a\",\"containerEnv\":{{\"A\":\"{}\"}}}}", many("X")),
        format!("{{\"image\":\"a\",\"remoteEnv\":{{\"A\":\"{}\"}}}}", many("X")),
        format!("{{\"image\":\"a\",\"onCreateCommand\":\"{}\"}}", many("X")),
    ] {
        let refused = work(text);
        assert!(refused.contains(said), "{}", refused.len());
    }
    // What stands behind the last of them counts, too.
    let full = "${containerEnv:X}".repeat(8);
    assert!(work(format!("{{\"image\":\"a\",\"remoteEnv\":{{\"A\":\"{full}z\"}}}}")).contains(said));
    let words = vec![format!("\"{full}\""); 2].join(",");
    assert!(work(format!("{{\"image\":\"a\",\"onCreateCommand\":[{words}]}}")).contains("a command of more than"));
    let all = (0..9).map(|at| format!("\"A{at}\":\"{full}\"")).collect::<Vec<_>>().join(",");
    assert!(work(format!("{{\"image\":\"a\",\"containerEnv\":{{{all}}}}}")).contains("bytes together; at most"));
    let label = format!("[{}]", vec!["{\"onCreateCommand\":{\"a\":\"x\",\"b\":\"x\",\"c\":\"x\"}}"; 200].join(","));
    let image = Defaults { metadata: Some(label), ..image(&[], "") };
    assert!(plan("{\"image\":\"a\"}").work(&image, None, "amd64").unwrap_err().contains("it has 600 commands"));
}

#[test]
fn a_dockerfile_has_no_more_variables_than_an_environment() {
    let steps = |text: &str| {
        let dockerfile = Some(Dockerfile::parse("D", &format!("FROM a\n{text}"), None)?);
        Plan { dockerfile, ..plan("{\"build\":{\"dockerfile\":\"D\"}}") }.work(&Defaults::default(), None, "amd64")
    };
    let numbered = |from: usize, name: &str, value: &str| {
        (from..from + 300).map(|at| format!("{name}{at}={value}")).collect::<Vec<_>>().join(" ")
    };
    let twice =
        |text: &str, value: &str| format!("{text} {}\n{text} {}", numbered(0, "A", value), numbered(300, "A", value));
    let refused = steps(&twice("ENV", "x")).unwrap_err();
    assert!(refused.starts_with("D:3: it has 513 variables"), "{refused}");
    let refused = steps(&format!("ENV {}", numbered(0, "A", &"x".repeat(900)))).unwrap_err();
    assert!(refused.contains("bytes together"), "{refused}");
    assert!(steps(&twice("ARG", "x")).unwrap_err().contains("more than 512 instructions"));
    assert!(steps(&format!("ARG {}", numbered(0, "A", &"x".repeat(900)))).unwrap_err().contains("bytes together"));
    // Steps share what they have until it is another.
    let work = steps("RUN a\nRUN b\nENV A=1\nRUN c").unwrap();
    let same = |a: usize, b: usize| std::sync::Arc::ptr_eq(&work.system[a].environment, &work.system[b].environment);
    assert_eq!((same(0, 1), same(1, 2), work.system[2].environment["A"].as_str()), (true, false, "1"));
}

#[test]
fn lists_of_what_is_not_honoured_have_an_end() {
    let text = "FROM a\n".to_owned() + &"CMD x\n".repeat(400);
    let mut plan = plan(
        "{\"image\":\"${localEnv:IMAGE:a}\",\"build\":{\"dockerfile\":\"D\",\"args\":{\"A\":\"${localEnv:USER}\"}}}",
    );
    plan.dockerfile = Some(Dockerfile::parse("D", &text, None).unwrap());
    plan.ignored = (0..300).map(|at| format!("{at}")).collect();
    let ignored = plan.work(&Defaults::default(), None, "amd64").unwrap().ignored;
    assert_eq!((ignored.len(), ignored.last().map(String::as_str)), (257, Some("and 301 more")));
    assert!(plan.file.metadata.ignored.iter().any(|line| line.starts_with("${localEnv:USER}: ")));
    let file = file("{\"image\":\"${localEnv:IMAGE:a}\"}");
    assert!(file.metadata.ignored[0].starts_with("${localEnv:IMAGE}: "), "{:?}", file.metadata.ignored);
}

#[test]
fn features_come_in_their_order() {
    let of =
        |name: &str, rest: &str| feature(&format!("x.example/f/{name}:1"), &format!("{{\"id\":\"{name}\"{rest}}}"));
    let names = |features: Vec<Feature>, first: &[&str]| {
        let first: Vec<String> = first.iter().map(|name| format!("x.example/f/{name}")).collect();
        let ordered = in_order(features, &first, "")?;
        Ok::<_, String>(
            ordered
                .iter()
                .map(|feature| feature.resource().rsplit('/').next().unwrap().to_owned())
                .collect::<Vec<_>>()
                .join(" "),
        )
    };
    let after_b = ",\"installsAfter\":[\"x.example/f/b\"]";
    let on_c = ",\"dependsOn\":{\"x.example/f/c:1\":{}}";
    assert_eq!(names(vec![of("c", ""), of("b", ""), of("a", "")], &[]).unwrap(), "a b c");
    assert_eq!(names(vec![of("c", ""), of("b", ""), of("a", "")], &["c", "b"]).unwrap(), "c b a");
    assert_eq!(names(vec![of("a", after_b), of("b", on_c), of("c", "")], &["a"]).unwrap(), "c b a");
    // A wish for what nobody asks for, and wishes in a circle, are no bar.
    assert_eq!(names(vec![of("a", after_b)], &[]).unwrap(), "a");
    let after_a = ",\"installsAfter\":[\"x.example/f/a\"]";
    assert_eq!(names(vec![of("a", after_b), of("b", after_a)], &[]).unwrap(), "a b");
    let on_a = ",\"dependsOn\":{\"x.example/f/a:1\":{}}";
    assert!(
        names(vec![of("a", on_c), of("c", on_a)], &[])
            .unwrap_err()
            .contains("in a circle: x.example/f/a:1, x.example/f/c:1")
    );
}

#[rstest]
#[case("node", "write ghcr.io/devcontainers/features/node:1")]
#[case("https://x.example/f.tgz", "not from the web")]
#[case("../../../x", "not in the repository")]
fn features_that_cannot_be_had_say_why(#[case] name: &str, #[case] why: &str) {
    let asked = Asked { name: name.into(), options: BTreeMap::new() };
    let said = asked.place(".devcontainer").unwrap_err();
    assert!(said.contains(why), "{said}");
}

#[test]
fn paths_stay_inside() {
    assert_eq!(join(".devcontainer", "../a/./b").as_deref(), Some("a/b"));
    assert_eq!((join("a", "b\nc"), join("a", &"b/".repeat(2049))), (None, None));
    assert_eq!((join("a", "../../b"), join("a", "/b"), join("", "..")), (None, None, None));
}

proptest! {
    #[test]
    fn whatever_is_written_is_read_or_refused(text: String, dockerfile: String) {
        let _ = File::parse(PATH_IN, &text, &variables());
        let _ = Metadata::of_label(&text, &variables());
        if let Ok(dockerfile) = Dockerfile::parse("D", &format!("FROM a\n{dockerfile}"), None) {
            let _ = dockerfile.image(&BTreeMap::new());
            let plan = Plan { dockerfile: Some(dockerfile), ..plan("{\"build\":{\"dockerfile\":\"D\"}}") };
            let _ = plan.work(&Defaults::default(), None, "amd64");
        }
        let _ = Reference::parse(&text);
    }
}
