//! Archives with a fake npm and a fake pip on the PATH; everything else is real.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use hostd_core::profile::Profiles;
use tempfile::TempDir;

use super::*;

const PROFILE: &str = r#"
name = "mine"
about = "x"
npm = [{ package = "@me/agent", version = "1.2.3" }]
python = [{ package = "my-agent", version = "0.4" }]
programs = [
    { name = "mine", file = "node_modules/@me/agent/bin/mine" },
    { name = "other", interpreter = "node_modules/@me/agent/bin/mine", file = "node_modules/@me/agent/x.js" },
    { name = "third", module = "my_agent" },
]
check = { command = ["mine"], prints = "1.2.3" }
command = ["mine"]
user = "agent"
"#;

/// Installs what it is asked for, and says how it was asked; `$VERSION` is what it installs in the place of 1.2.3.
const NPM: &str = r#"#!/bin/sh
echo "npm $*" >> "$0.asked"
while [ "$1" != --prefix ]; do shift; done
module=$2/node_modules/@me/agent
mkdir -p "$module/bin"
echo '{"name": "@me/agent", "version": "VERSION"}' > "$module/package.json"
printf '#!/bin/sh\necho "mine $0 $*"\n' > "$module/bin/mine"
chmod 700 "$module/bin/mine"
echo x > "$module/x.js"
echo '{"resolved": "https://a.registry/x.tgz"}' > "$2/node_modules/.package-lock.json"
echo "npm says this" >&2
"#;
const PIP: &str = r#"#!/bin/sh
echo "pip $*" >> "$0.asked"
while [ "$1" != --target ]; do shift; done
mkdir -p "$2/my_agent" "$2/my_agent-0.4.dist-info"
echo 'import sys; print("third", sys.argv[1:])' > "$2/my_agent/__main__.py"
touch "$2/my_agent/__init__.py"
"#;

struct Fixture {
    data: TempDir,
    programs: Programs,
    progress: std::sync::Arc<Progress>,
}

impl Fixture {
    fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let bin = data.path().join("bin");
        fs::create_dir(&bin).unwrap();
        fs::create_dir(data.path().join("programs")).unwrap();
        let path = format!("{}:/usr/bin:/bin", bin.display());
        let programs = Programs { folder: data.path().join("programs"), path: Some(path.into()) };
        let fixture = Self { data, programs, progress: Progress::new(String::new()) };
        fixture.has("npm", &NPM.replace("VERSION", "1.2.3"));
        fixture.has("pip3", PIP);
        fixture
    }

    fn has(&self, program: &str, text: &str) {
        let path = self.data.path().join("bin").join(program);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }

    fn asked(&self, program: &str) -> String {
        fs::read_to_string(self.data.path().join("bin").join(format!("{program}.asked"))).unwrap_or_default()
    }

    async fn archive(&self, profile: &str) -> Result<PathBuf, EnvironmentError> {
        self.programs.archive(&wanted(profile, "bookworm"), &self.progress).await
    }

    async fn failed(&self, profile: &str) -> String {
        let error = self.archive(profile).await.unwrap_err().to_string();
        assert_eq!(self.kept(), Vec::<String>::new(), "nothing half done is left");
        error
    }

    fn kept(&self) -> Vec<String> {
        let entries = fs::read_dir(self.data.path().join("programs")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

fn wanted(profile: &str, suite: &str) -> Wanted {
    let mut profiles = Profiles::default();
    profiles.put("mine", "mine.toml", profile);
    let text = format!("name = 'a'\nbase.debian = '{suite}'\nagent = 'mine'");
    Wanted::of(&Recipe::parse_with("x", &text, &profiles).unwrap()).unwrap()
}

#[tokio::test]
async fn packages_are_fetched_once_as_an_archive_for_the_guest() {
    let fixture = Fixture::new();
    let archive = fixture.archive(PROFILE).await.unwrap();
    assert_eq!(fixture.archive(PROFILE).await.unwrap(), archive);
    let asked = fixture.asked("npm");
    assert_eq!(asked.lines().count(), 1, "{asked}");
    for word in ["--ignore-scripts", "--os=linux", "--cpu=x64", "--libc=glibc", "-- @me/agent@1.2.3"] {
        assert!(asked.contains(word), "{asked}");
    }
    let asked = fixture.asked("pip3");
    for word in ["--only-binary=:all:", "--python-version 3.11", "--abi=cp311", "-- my-agent==0.4"] {
        assert!(asked.contains(word), "{asked}");
    }
    assert!(fixture.progress.log().contains("npm says this"));

    let list = Command::new("tar").args(["-tvf"]).arg(&archive).args(["--numeric-owner"]).output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(list.lines().all(|line| line.split_whitespace().nth(1) == Some("0/0")), "{list}");
    assert!(list.contains("./usr/local/bin/mine -> /opt/agents/mine/node_modules/@me/agent/bin/mine"), "{list}");
    assert!(!list.contains(".package-lock.json"), "it names a registry");
    let mode = list.lines().find(|line| line.ends_with("agent/bin/mine")).unwrap();
    assert!(mode.starts_with("-rwxr-xr-x"), "{mode}");
    assert_eq!(fs::metadata(&archive).unwrap().permissions().mode() & 0o777, 0o444);
}

#[tokio::test]
async fn its_scripts_start_what_they_should_and_show_it_to_nobody_else() {
    let fixture = Fixture::new();
    let archive = fixture.archive(PROFILE).await.unwrap();
    let root = tempfile::tempdir().unwrap();
    assert!(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(root.path()).status().unwrap().success());
    // As it would be with this as the root of the file system.
    let run = |name: &str| {
        let launcher = root.path().join("usr/local/bin").join(name);
        let here = format!("{}/opt/", root.path().display());
        fs::write(&launcher, fs::read_to_string(&launcher).unwrap().replace("/opt/", &here)).unwrap();
        let output = Command::new(&launcher).args(["a b", "c"]).output().unwrap();
        (String::from_utf8(output.stdout).unwrap(), output.stderr)
    };
    let (said, _) = run("other");
    assert!(said.starts_with("mine ") && said.ends_with("/node_modules/@me/agent/x.js a b c\n"), "{said}");
    if Path::new("/usr/bin/python3").exists() {
        let (said, error) = run("third");
        assert_eq!(said, "third ['a b', 'c']\n", "{}", String::from_utf8_lossy(&error));
    }
}

#[tokio::test]
async fn what_is_not_what_was_wanted_is_told() {
    let fixture = Fixture::new();
    fixture.has("npm", &NPM.replace("VERSION", "1.1.9"));
    let error = fixture.failed(PROFILE).await;
    assert!(error.ends_with("npm fetched 1.1.9 as @me/agent 1.2.3"), "{error}");
    fixture.has("npm", "#!/bin/sh\necho 'npm error code E404' >&2\nexit 1\n");
    let error = fixture.failed(PROFILE).await;
    assert!(error.contains("npm error code E404\nnpm ended with exit status: 1: it could not fetch"), "{error}");
    fixture.has("npm", &NPM.replace("VERSION", "1.2.3"));
    fixture.has("pip3", &PIP.replace("0.4", "0.3"));
    assert!(fixture.failed(PROFILE).await.ends_with("pip did not fetch my-agent 0.4"));
    fixture.has("pip3", PIP);
    let error = fixture.failed(&PROFILE.replace("agent/x.js", "agent/y.js")).await;
    assert!(error.contains("the packages hold no node_modules/@me/agent/y.js"), "{error}");
    fixture.has(
        "npm",
        &NPM.replace("VERSION", "1.2.3").replace("echo x > \"$module/x.js\"", "ln -s /etc/passwd \"$module/x.js\""),
    );
    assert!(fixture.failed(PROFILE).await.contains("the packages hold no node_modules/@me/agent/x.js"));
}

#[tokio::test]
async fn a_host_without_npm_or_pip_is_told_what_to_install() {
    let mut fixture = Fixture::new();
    fixture.programs.path = Some(fixture.data.path().join("bin").into());
    fs::remove_file(fixture.data.path().join("bin/npm")).unwrap();
    let error = fixture.failed(PROFILE).await;
    assert!(error.contains("npm") && error.contains("install"), "{error}");
    let error = fixture.failed(&PROFILE.replace("npm = [{", "# npm = [{")).await;
    assert!(error.contains("pip3") || error.contains("the packages hold no"), "{error}");
    fs::remove_file(fixture.data.path().join("bin/pip3")).unwrap();
    let error = fixture.failed(&PROFILE.replace("npm = [{", "# npm = [{")).await;
    assert!(error.contains("python3-pip"), "{error}");
}

#[tokio::test]
async fn only_debians_whose_python_is_known_have_python_packages() {
    let fixture = Fixture::new();
    let error = fixture.programs.archive(&wanted(PROFILE, "sid"), &fixture.progress).await.unwrap_err().to_string();
    assert!(
        error.ends_with("nobody knows which Python Debian sid has; have the base be Debian bookworm or trixie"),
        "{error}"
    );
    assert_ne!(wanted(PROFILE, "trixie").hash, wanted(PROFILE, "bookworm").hash);
    let without = PROFILE.replace("python = [{", "# python = [{");
    assert_eq!(wanted(&without, "trixie").hash, wanted(&without, "bookworm").hash);
    assert_ne!(wanted(PROFILE, "bookworm").hash, wanted(&PROFILE.replace("\"0.4\"", "\"0.5\""), "bookworm").hash);
}

#[tokio::test]
async fn what_was_cut_off_is_removed_by_the_next() {
    let fixture = Fixture::new();
    let left = fixture.data.path().join("programs/new-0123/root");
    fs::create_dir_all(&left).unwrap();
    let archive = fixture.archive(PROFILE).await.unwrap();
    assert_eq!(fixture.kept(), [archive.file_name().unwrap().to_str().unwrap()]);
}
