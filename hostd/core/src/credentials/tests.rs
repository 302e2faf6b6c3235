use proptest::prelude::*;
use rstest::rstest;

use super::*;

const FULL: &str = r#"
[[credential]]
name = "anthropic"
hosts = ["api.anthropic.com", "*.proxy.example.com:8443"]
header = "X-Api-Key"
secret = { file = "/etc/pilothouse/anthropic" }
path = "/v1/"
environments = ["web"]
variables = { ANTHROPIC_API_KEY = "pilothouse-placeholder" }

[[credential]]
name = "forge"
hosts = ["git.example.com"]
git = { user = "x-access-token", push = true }
secret = { command = ["pass", "show", "forge"] }
ca = "/etc/ssl/forge.pem"
private = true

[[credential]]
name = "local"
hosts = ["host.pilothouse.internal:11434"]
bearer = true
secret = { systemd = "local-model" }
"#;

fn all() -> Vec<Credential> {
    Credential::parse("credentials.toml", FULL).unwrap()
}

#[test]
fn a_file_is_read() {
    let all = all();
    assert_eq!(all.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["anthropic", "forge", "local"]);
    assert_eq!((&all[0].place, all[0].path.as_str()), (&Place::Header("x-api-key".into()), "/v1/"));
    assert_eq!(all[0].variables["ANTHROPIC_API_KEY"], "pilothouse-placeholder");
    assert_eq!(all[1].place, Place::Git { user: "x-access-token".into(), push: true });
    assert_eq!(all[1].source, Source::Command(["pass", "show", "forge"].map(Into::into).into()));
    assert_eq!((all[2].place.clone(), &all[2].source), (Place::Bearer, &Source::Systemd("local-model".into())));
    assert!(all[0].allows("web") && !all[0].allows("other") && all[1].allows("other"));
    assert!(all[2].goes_plain_to("host.pilothouse.internal") && !all[0].goes_plain_to("api.anthropic.com"));
    assert_eq!(all[1].source.words(), "command pass", "arguments may tell too much");
    assert_eq!(Credential::parse("x", "").unwrap(), []);
}

#[rstest]
#[case("api.example.com", "api.example.com", 443, true)]
#[case("api.example.com", "api.example.com", 8443, false)]
#[case("API.example.com:8443", "api.example.com", 8443, true)]
#[case("api.example.com", "xapi.example.com", 443, false)]
#[case("*.example.com", "a.example.com", 443, true)]
#[case("*.example.com", "a.b.example.com", 443, true)]
#[case("*.example.com", "example.com", 443, false)]
#[case("*.example.com", "evilexample.com", 443, false)]
#[case("*.example.com", ".example.com", 443, false)]
#[case("*.example.com", "a.example.com.evil.net", 443, false)]
#[case("*.2.1", "192.0.2.1", 443, false)]
#[case("[2001:DB8::1]:8443", "2001:db8:0::1", 8443, true)]
#[case("192.0.2.1", "192.0.2.1", 443, true)]
fn hosts_match_whole(#[case] pattern: &str, #[case] host: &str, #[case] port: u16, #[case] matches: bool) {
    let pattern = HostPattern::parse(pattern).unwrap();
    assert_eq!(pattern.matches(host, port), matches);
    assert_eq!(HostPattern::parse(&pattern.to_string()), Some(pattern));
}

#[rstest]
#[case("Example.com", Some("example.com:443"))]
#[case("*.Example.com", Some("*.example.com:443"))]
#[case("*.example.com:5432", Some("*.example.com:5432"))]
#[case("[2001:DB8::1]:80", Some("[2001:db8::1]:80"))]
#[case("*.com", None)]
#[case("*", None)]
#[case("a.*.com:1", None)]
#[case("*.192.0.2.1:80", None)]
#[case("*.pilothouse.internal", None)]
#[case("*.x.pilothouse.internal:80", None)]
#[case("host.pilothouse.internal:80", Some("host.pilothouse.internal:80"))]
#[case("example.com:", None)]
#[case("example.com:0", None)]
fn destinations_are_read(#[case] text: &str, #[case] to: Option<&str>) {
    assert_eq!(destination(text).as_deref(), to);
}

#[rstest]
#[case("*")]
#[case("*.com")]
#[case("a.*.com")]
#[case("*.192.0.2.1")]
#[case("https://a.example")]
#[case("a.example/x")]
#[case("a.example:0")]
#[case("")]
fn what_is_no_host_is_refused(#[case] pattern: &str) {
    assert_eq!(HostPattern::parse(pattern), None);
}

#[rstest]
#[case("GET", "/v1/messages", Fit::Yes)]
#[case("GET", "/v1/", Fit::Yes)]
#[case("GET", "/v10/x", Fit::OtherPath)]
#[case("GET", "/admin", Fit::OtherPath)]
#[case("GET", "/v1/../admin", Fit::UnclearPath)]
#[case("GET", "/v1/%2e%2E/admin", Fit::UnclearPath)]
#[case("GET", "/v1/..%2fadmin", Fit::UnclearPath)]
#[case("GET", "/v1/%252e%252e/admin", Fit::UnclearPath)]
#[case("GET", "/v1//admin", Fit::UnclearPath)]
#[case("GET", "/v1/..;/admin", Fit::UnclearPath)]
#[case("GET", "/v1/\\..\\admin", Fit::UnclearPath)]
#[case("OPTIONS", "*", Fit::UnclearPath)]
fn paths_are_judged(#[case] method: &str, #[case] path: &str, #[case] expected: Fit) {
    assert_eq!(all()[0].fits(method, path, ""), expected);
}

#[rstest]
#[case("GET", "/me/widgets.git/info/refs", "service=git-upload-pack", Fit::Yes, Fit::Yes)]
#[case("POST", "/me/widgets.git/git-upload-pack", "", Fit::Yes, Fit::Yes)]
#[case("GET", "/me/widgets.git/info/refs", "service=git-receive-pack", Fit::Push, Fit::Yes)]
#[case("POST", "/me/widgets.git/git-receive-pack", "", Fit::Push, Fit::Yes)]
#[case("POST", "/me/widgets.git/info/lfs/objects/batch", "", Fit::Yes, Fit::Yes)]
#[case("GET", "/me/widgets.git/info/refs", "", Fit::NotGit, Fit::NotGit)]
#[case("GET", "/api/v4/user", "", Fit::NotGit, Fit::NotGit)]
#[case("GET", "/me/git-receive-pack", "", Fit::NotGit, Fit::NotGit)]
#[case("POST", "/x/../git-upload-pack", "", Fit::UnclearPath, Fit::UnclearPath)]
fn gits_requests_are_known(
    #[case] method: &str,
    #[case] path: &str,
    #[case] query: &str,
    #[case] reads: Fit,
    #[case] pushes: Fit,
) {
    let with = |push| Credential { place: Place::Git { user: "u".into(), push }, ..all()[1].clone() };
    assert_eq!((with(false).fits(method, path, query), with(true).fits(method, path, query)), (reads, pushes));
}

#[test]
fn the_closest_credential_goes_first() {
    let with = |name: &str, host: &str, path: &str| Credential {
        name: name.into(),
        hosts: vec![HostPattern::parse(host).unwrap()],
        path: path.into(),
        place: Place::Bearer,
        ..all()[0].clone()
    };
    let all =
        [with("wide", "*.example.com", ""), with("host", "a.example.com", ""), with("path", "a.example.com", "/v1/")];
    let of = |path: &str| best(&all, ("a.example.com", 443), ("GET", path, "")).map(|one| one.name.as_str());
    assert_eq!((of("/v1/x"), of("/x")), (Ok("path"), Ok("host")));
    assert_eq!(best(&all[2..], ("a.example.com", 443), ("GET", "/x", "")), Err(Fit::OtherPath));
}

#[rstest]
#[case(
    r#"name = "anthropic""#,
    r#"name = "A""#,
    "3:8: name is not what it may be; allowed: lower-case letters, digits and dashes, at most 40"
)]
#[case(
    r#"name = "forge""#,
    r#"name = "anthropic""#,
    "12:8: there are two credentials \"anthropic\"; their names must differ"
)]
#[case(r#"header = "X-Api-Key""#, r#"header = "Host""#, "5:10: header is not what it may be")]
#[case(r#"header = "X-Api-Key""#, "header = 'a'\nbearer = true", "2:1: say where the secret goes by one of header")]
#[case("bearer = true", "bearer = false", "19:1: say where the secret goes by one of header")]
#[case(
    r#"{ file = "/etc/pilothouse/anthropic" }"#,
    r#"{ file = "sk-ant-canary" }"#,
    "6:19: secret.file is not what it may be; allowed: the absolute path of a file"
)]
#[case(
    r#"{ file = "/etc/pilothouse/anthropic" }"#,
    r#""sk-ant-canary""#,
    "6:10: invalid type, expected a table with the key file, command or systemd"
)]
#[case(
    r#"{ file = "/etc/pilothouse/anthropic" }"#,
    r#"{ value = "sk-ant-canary" }"#,
    "6:12: unknown key `value`, expected one of `file`, `command`, `systemd`"
)]
#[case(r#"{ systemd = "local-model" }"#, r#"{ systemd = "../x" }"#, "23:22: secret.systemd is not what it may be")]
#[case(r#"["pass", "show", "forge"]"#, "[]", "15:22: secret.command is not what it may be")]
#[case(r#"path = "/v1/""#, r#"path = "/v1/../x""#, "7:8: path is not what it may be")]
#[case("ANTHROPIC_API_KEY", "LD_PRELOAD", "9:28: variables is not what it may be")]
#[case(r#"["git.example.com"]"#, "[]", "13:9: hosts is empty")]
#[case(r#"["git.example.com"]"#, r#"["*.com"]"#, "13:10: hosts is not what it may be")]
#[case("private = true", "privat = true", "17:1: unknown key `privat`")]
fn mistakes_are_told_and_no_secret_is(#[case] piece: &str, #[case] with: &str, #[case] expected: &str) {
    assert!(FULL.contains(piece), "the case does not fit the file any more");
    let error = Credential::parse("c", &FULL.replacen(piece, with, 1)).unwrap_err().to_string();
    assert!(error.starts_with(&format!("c:{expected}")), "{error}");
    assert!(!error.contains("canary"), "{error}");
}

proptest! {
    #[test]
    fn no_near_miss_makes_it_panic(at in 0..FULL.len(), length in 0..40usize, with in "[ -~\n\0]{0,8}") {
        let text = format!("{}{with}{}", &FULL[..at], &FULL[(at + length).min(FULL.len())..]);
        if let Err(error) = Credential::parse("x", &text) {
            prop_assert!(error.line >= 1 && error.column >= 1 && !error.message.is_empty());
        }
    }

    /// What gets the secret of a path is below that path, however a server reads it.
    #[test]
    fn no_path_climbs_out(path in "(/(v1|\\.|\\.\\.|%2e|%2F|a|;|\\\\)?){1,5}") {
        if all()[0].fits("GET", &path, "") == Fit::Yes {
            prop_assert!(path.starts_with("/v1/"));
            prop_assert!(!path.contains("..") && !path.contains('%') && !path.contains('\\'), "{}", path);
        }
    }
}
