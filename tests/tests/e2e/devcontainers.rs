//! Environments of a devcontainer.json: an image and a feature of Debian's own `docker-registry`, a Dockerfile, a real VM.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use tests::{Host, run};

use crate::images::{Registry, layer};

/// A system of busybox, and of this machine's git with the libraries that it takes.
fn system() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let bin = folder.path().join("bin");
    fs::create_dir(&bin).unwrap();
    fs::copy("/bin/busybox", bin.join("busybox")).unwrap();
    for name in run(Command::new("/bin/busybox").arg("--list"), &[]).text().lines().filter(|name| *name != "busybox") {
        symlink("busybox", bin.join(name)).unwrap();
    }
    // Where it looks for its own programs is compiled in.
    let git = PathBuf::from(run(Command::new("sh").args(["-c", "command -v git"]), &[]).text());
    let core = PathBuf::from(run(Command::new("git").arg("--exec-path"), &[]).text());
    let http = core.join("git-remote-http");
    fs::copy(&git, bin.join("git")).unwrap();
    let inside = folder.path().join(core.strip_prefix("/").unwrap());
    fs::create_dir_all(&inside).unwrap();
    fs::copy(&http, inside.join("git-remote-http")).unwrap();
    symlink("/bin/git", inside.join("git")).unwrap();
    // Where the loader looks on every distribution; the loader itself is called by its path in lib64.
    let libraries = folder.path().join("lib");
    fs::create_dir(&libraries).unwrap();
    symlink("lib", folder.path().join("lib64")).unwrap();
    let needed = run(Command::new("ldd").args([&git, &http]), &[]).text();
    for path in needed
        .lines()
        .filter(|line| !line.ends_with(':'))
        .filter_map(|line| line.split(' ').find(|word| word.trim().starts_with('/')))
    {
        let path = Path::new(path.trim());
        fs::copy(path, libraries.join(path.file_name().unwrap())).unwrap();
    }
    // A git that was built by hand has its system's settings there.
    fs::create_dir_all(folder.path().join("usr/local/etc")).unwrap();
    fs::create_dir(folder.path().join("etc")).unwrap();
    fs::write(folder.path().join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
    layer(folder.path())
}

/// A feature that writes down what it is told.
fn feature() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"{ "id": "tool", "version": "1.0.0", "name": "Tool",
        "options": { "version": { "type": "string", "default": "lts" }, "flag": { "type": "boolean", "default": true } },
        "containerEnv": { "TOOL": "${PATH}:/tool" }, "customizations": {} }"#;
    fs::write(folder.path().join("devcontainer-feature.json"), text).unwrap();
    fs::write(
        folder.path().join("install.sh"),
        "#!/bin/sh\necho \"$VERSION $FLAG $_REMOTE_USER $_REMOTE_USER_HOME $MODE\" >/tool\ncat part >>/tool\n",
    )
    .unwrap();
    fs::write(folder.path().join("part"), "of the feature").unwrap();
    // Not packed, as their own tools leave them.
    let output = Command::new("tar").args(["-c", "-C"]).arg(folder.path()).arg(".").output().unwrap();
    assert!(output.status.success());
    output.stdout
}

/// What a repository says of its container is there in its sessions: as its Dockerfile, its features and its commands make it,
/// with the user and the variables that it names. What is left out is listed.
#[test]
fn a_devcontainer_of_a_repository_comes_up() {
    let (registry, host) = (Registry::start(), Host::start());
    let config = r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]},"config":{"Env":["PATH=/bin:/usr/bin"],
        "Labels":{"devcontainer.metadata":"[{\"remoteUser\":\"dev\"}]"}}}"#;
    registry.image("1", config, &[system()]);
    registry.feature("tool", &feature());
    let address = &registry.address;
    let source = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = source.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write(
        ".devcontainer/devcontainer.json",
        &format!(
            r#"// Of the shop.
        {{
            "build": {{ "dockerfile": "Dockerfile", "context": "..", "args": {{ "TAG": "1" }} }},
            "features": {{ "{address}/team/app:tool": {{ "version": "22" }} }},
            "containerEnv": {{ "PLACE": "${{containerWorkspaceFolder}}", "SECRET": "${{localEnv:HOME}}" }},
            "mounts": ["source=/etc,target=/host,type=bind"],
            "forwardPorts": [3000],
            "postCreateCommand": {{ "who": "whoami >made; pwd >>made", "words": ["sh", "-c", "echo \"$PLACE\" >>made"] }},
            "postStartCommand": "setsid sleep 1000077 >/dev/null 2>&1 &",
        }}"#
        ),
    );
    write(
        ".devcontainer/Dockerfile",
        &format!(
            "ARG TAG=never\nFROM {address}/team/app:${{TAG}} AS dev\nENV MODE=dev \\\n    MORE=\"a b\"\nRUN echo dev:x:1000:1000::/home/dev:/bin/sh >>/etc/passwd && echo dev:x:1000: >>/etc/group \\\n    && mkdir -p /home/dev && chown dev: /home/dev\nWORKDIR /opt/shop\nCOPY --chown=dev words/* price ./\nRUN [\"sh\", \"-c\", \"echo $MORE >run\"]\n"
        ),
    );
    write("price", "12");
    write("words/one", "1");
    write("words/two words", "2");
    for args in [
        &["init", "-q", "-b", "main"][..],
        &["add", "."],
        &["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "Shop"],
    ] {
        let _ = run(Command::new("git").current_dir(source.path()).args(args), &[]).text();
    }
    let _ = host.cli(["repo", "add", source.path().to_str().unwrap(), "--name", "shop"]).text();
    let recipe = host.data().join("shop.toml");
    let text = "name = \"shop\"\nbase = { devcontainer = true, registries = [\"REGISTRY\"] }\n\
        repository = { url = \"http://pilothouse.internal/git/shop.git\", path = \"/workspaces/shop\" }\n\
        setup = [\"cat made >from-setup\"]\nagent = { command = [\"sleep\", \"1000000\"] }\n\
        size = { memory = \"128MiB\", disk = \"1GiB\" }\n";
    fs::write(&recipe, text.replace("REGISTRY", address)).unwrap();
    let built = host.cli(["env", "build", recipe.to_str().unwrap()]).text();
    assert!(built.contains("shop is ready"), "{built}");
    let build = host.cli(["env", "show", "shop", "--json"]).json()["build"].clone();
    assert_eq!(
        (build["devcontainer"].as_str(), &build["forward_ports"][0]),
        (Some(".devcontainer/devcontainer.json"), &3000.into())
    );
    let left: Vec<&str> = build["not_honoured"].as_array().unwrap().iter().filter_map(|line| line.as_str()).collect();
    assert!(left.len() == 2 && left.iter().any(|line| line.starts_with("${localEnv:HOME}: ")), "{left:?}");
    let shown = host.cli(["env", "show", "shop"]).text();
    assert!(shown.contains("3000; `pilothouse forward SESSION 3000`") && shown.contains("mounts /host"), "{shown}");
    drop(registry);

    let id = host.cli(["new", "--env", "shop", "--title", "shop"]).text();
    host.wait_for(&id, "lifecycle", "running");
    let said = |script: &str| host.exec(&id, &["sh", "-c", script]).text();
    assert_eq!(
        said("whoami; pwd; echo \"$MODE,$MORE,$PLACE,$SECRET,\"; cat made from-setup"),
        "dev\n/workspaces/shop\ndev,a b,/workspaces/shop,,\ndev\n/workspaces/shop\n/workspaces/shop\ndev\n/workspaces/shop\n/workspaces/shop"
    );
    assert_eq!(said("cat /tool; echo; echo $TOOL"), "22 true dev /home/dev dev\nof the feature\n/bin:/usr/bin:/tool");
    assert_eq!(
        said("cd /opt/shop; ls; cat run 'two words' price; stat -c '%U' one"),
        "one\nprice\nrun\ntwo words\na b\n212dev"
    );
    // What was started with the template goes on in each session.
    assert!(said("ps -o user,args").lines().any(|line| line.contains("dev") && line.contains("sleep 1000077")));
}
