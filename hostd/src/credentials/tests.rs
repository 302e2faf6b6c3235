use std::{fs, os::unix::fs::PermissionsExt as _};

use tempfile::TempDir;

use super::*;

/// A data folder with a file of credentials, and a file with a secret.
struct Fixture {
    data: TempDir,
    credentials: Credentials,
}

impl Fixture {
    fn new(secret: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        let fixture = Self { credentials: Credentials::of(data.path()), data };
        fixture.write("secret", "canary\n", 0o600);
        fixture.write(FILE, &Self::text(secret), 0o600);
        fixture
    }

    fn text(secret: &str) -> String {
        format!(
            "[[credential]]\nname = 'one'\nhosts = ['a.example']\nbearer = true\nsecret = {secret}\nvariables.KEY = 'x'\n"
        )
    }

    /// Of a file in the data folder.
    fn of_file() -> Self {
        let fixture = Self::new("{ file = '/' }");
        fixture.write(FILE, &Self::text(&format!("{{ file = '{}' }}", fixture.path("secret").display())), 0o600);
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.data.path().join(name)
    }

    /// Writes a file anew, so that it is another one however coarse the clock is.
    fn write(&self, name: &str, text: &str, mode: u32) {
        let new = self.path(&format!("{name}.new"));
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(mode)).unwrap();
        fs::rename(new, self.path(name)).unwrap();
    }

    async fn secret(&self) -> Result<String, SecretError> {
        let one = self.credentials.all().remove(0);
        let secret = self.credentials.secret(&one).await?;
        Ok(String::from_utf8(secret.bytes().to_vec()).unwrap())
    }
}

#[tokio::test]
async fn a_secret_is_read_from_its_file_each_time_and_printed_by_nothing() {
    let fixture = Fixture::of_file();
    assert_eq!(fixture.secret().await.unwrap(), "canary");
    fixture.write("secret", "canary-2", 0o640);
    assert_eq!(fixture.secret().await.unwrap(), "canary-2");
    let one = fixture.credentials.all().remove(0);
    let secret = fixture.credentials.secret(&one).await.unwrap();
    assert!(!format!("{secret:?} {:?}", fixture.credentials).contains("canary"));
    fixture.write("secret", "canary", 0o604);
    let error = fixture.secret().await.unwrap_err().to_string();
    assert!(error.contains("is open to other users (rights 604)") && error.contains("chmod 600"), "{error}");
    for (text, expected) in [("\n", SecretError::Empty), ("canary\nmore", SecretError::NotText)] {
        fixture.write("secret", text, 0o600);
        assert_eq!(fixture.secret().await.unwrap_err(), expected);
    }
    fixture.write("secret", "x", 0o600);
    assert_eq!(fixture.secret().await.unwrap_err(), SecretError::InVariable { variable: "KEY".into() });
    fixture.write("secret", &"x".repeat(20_000), 0o600);
    assert!(fixture.secret().await.unwrap_err().to_string().contains("longer than"), "it is bounded");
}

#[tokio::test]
async fn a_command_prints_its_secret_without_a_shell_and_is_not_asked_each_time() {
    let fixture = Fixture::new("{ file = '/' }");
    let count = fixture.path("count");
    let script = fixture.path("print");
    fs::write(&script, format!("#!/bin/sh\necho >> {}\nprintf '%s' \"$1\"\n", count.display())).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
    fixture.write(FILE, &Fixture::text(&format!("{{ command = ['{}', 'ca$(id)y'] }}", script.display())), 0o600);
    for _ in 0..3 {
        assert_eq!(fixture.secret().await.unwrap(), "ca$(id)y");
    }
    let runs = || fs::read_to_string(&count).unwrap().len();
    assert_eq!(runs(), 1);
    fixture.credentials.refused(&fixture.credentials.all()[0]).await;
    fixture.secret().await.unwrap();
    assert_eq!(runs(), 2, "what was refused is asked for anew");
    for (command, expected) in [
        ("['sh', '-c', 'echo canary >&2; exit 3']", "failed: exit status: 3"),
        ("['/nonexistent/canary']", "cannot be run"),
        ("['sh', '-c', 'exec cat /dev/zero']", "printed more than"),
    ] {
        fixture.write(FILE, &Fixture::text(&format!("{{ command = {command} }}")), 0o600);
        let error = fixture.secret().await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn systemd_hands_secrets_over_by_name() {
    let mut fixture = Fixture::new("{ systemd = 'secret' }");
    fixture.credentials.systemd = None;
    assert_eq!(fixture.secret().await.unwrap_err(), SecretError::NoSystemd);
    fixture.credentials.systemd = Some(fixture.data.path().into());
    assert_eq!(fixture.secret().await.unwrap(), "canary");
}

#[test]
fn a_file_is_read_again_and_a_bad_one_changes_nothing() {
    let fixture = Fixture::new("{ file = '/a' }");
    let names = || fixture.credentials.all().iter().map(|one| one.name.clone()).collect::<Vec<_>>();
    assert_eq!((names(), fixture.credentials.problem()), (vec!["one".to_owned()], None));
    fixture.write(FILE, "[[credential]]\nname = 3", 0o600);
    assert_eq!(names(), ["one"]);
    assert!(fixture.credentials.problem().unwrap().contains("credentials.toml:2:8: invalid type"));
    fixture.write(FILE, &Fixture::text("{ file = '/a' }").replace("one", "two"), 0o644);
    assert_eq!(names(), ["one"], "others can read it");
    assert!(fixture.credentials.problem().unwrap().contains("chmod 600"));
    fixture.write(FILE, &Fixture::text("{ file = '/a' }").replace("one", "two"), 0o600);
    assert_eq!((names(), fixture.credentials.problem()), (vec!["two".to_owned()], None));
    fs::remove_file(fixture.path(FILE)).unwrap();
    assert_eq!(names(), Vec::<String>::new(), "who removes it takes them back");
}

#[test]
fn who_may_use_one_is_said_by_recipe_and_file() {
    let fixture = Fixture::new("{ file = '/a' }");
    let named = |names: &[&str], environment: &str| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        fixture.credentials.named(&names, environment).len()
    };
    assert_eq!((named(&["one", "two"], "web"), named(&["two"], "web"), named(&[], "web")), (1, 0, 0));
    fixture.write(FILE, &(Fixture::text("{ file = '/a' }") + "environments = ['web']"), 0o600);
    assert_eq!((named(&["one"], "web"), named(&["one"], "other")), (1, 0));
}
