use proptest::prelude::*;
use rstest::rstest;

use super::*;

const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[rstest]
#[case::bare("debian", "docker.io/library/debian:latest", "registry-1.docker.io", false)]
#[case::tag("debian:bookworm-slim", "docker.io/library/debian:bookworm-slim", "registry-1.docker.io", false)]
#[case::user("grafana/k6:1.0", "docker.io/grafana/k6:1.0", "registry-1.docker.io", false)]
#[case::docker_io("docker.io/node:22", "docker.io/library/node:22", "registry-1.docker.io", false)]
#[case::index("index.docker.io/a/b", "docker.io/a/b:latest", "registry-1.docker.io", false)]
#[case::ghcr("ghcr.io/o/a/b_c__d-e.f:V1_x", "ghcr.io/o/a/b_c__d-e.f:V1_x", "ghcr.io", false)]
#[case::port("reg.lan:5000/a", "reg.lan:5000/a:latest", "reg.lan:5000", false)]
#[case::plain("http://reg.lan:5000/a:1", "http://reg.lan:5000/a:1", "reg.lan:5000", true)]
#[case::plain_word("http://registry/a:1", "http://registry/a:1", "registry", true)]
#[case::localhost("localhost/a", "localhost/a:latest", "localhost", true)]
#[case::loopback("127.0.0.1:5000/a/b:x", "127.0.0.1:5000/a/b:x", "127.0.0.1:5000", true)]
#[case::loopback6("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000", true)]
#[case::tls("https://localhost:5000/a", "https://localhost:5000/a:latest", "localhost:5000", false)]
fn references_are_read_as_docker_does(#[case] text: &str, #[case] full: &str, #[case] host: &str, #[case] plain: bool) {
    let reference = Reference::parse(text).unwrap();
    assert_eq!((reference.to_string().as_str(), reference.host(), reference.plain), (full, host, plain));
    let by_digest = Reference::parse(&format!("{text}@sha256:{HEX}")).unwrap();
    assert_eq!(by_digest.wanted(), format!("sha256:{HEX}"));
    assert_eq!(by_digest.tag.is_some(), text.rsplit('/').next().unwrap().contains(':'));
}

#[rstest]
#[case::empty("", "it has no name")]
#[case::upper("Debian", "lower-case letters")]
#[case::space("a b", "lower-case letters")]
#[case::climbs("../x", "no host")]
#[case::climbs_on("a/../x", "lower-case letters")]
#[case::query("reg.lan/a?x", "lower-case letters")]
#[case::double("a//b", "lower-case letters")]
#[case::dots("a..b", "lower-case letters")]
#[case::ends("a-", "lower-case letters")]
#[case::tag("a:-x", "a tag has letters")]
#[case::tag_empty("a:", "a tag has letters")]
#[case::digest("a@sha256:12", "64 hex digits")]
#[case::sha512("a@sha512:12", "64 hex digits")]
#[case::scheme("ftp://a/b", "http or https")]
#[case::no_name("http://reg.lan", "no name behind the registry")]
#[case::user("me:pw@reg.lan/a", "64 hex digits")]
#[case::port("reg.lan:99999/a", "no host")]
fn bad_references_are_refused(#[case] text: &str, #[case] why: &str) {
    let error = Reference::parse(text).unwrap_err();
    assert!(error.contains(why), "{error}");
}

fn blob(kind: &str, platform: &str) -> String {
    format!(r#"{{"mediaType":"application/vnd.{kind}","digest":"sha256:{HEX}","size":7{platform}}}"#)
}

fn on(os: &str, architecture: &str, variant: &str) -> String {
    format!(r#","platform":{{"os":"{os}","architecture":"{architecture}","variant":"{variant}"}}"#)
}

#[test]
fn an_index_names_the_image_of_a_platform() {
    let entry = |os: &str, architecture: &str, variant: &str| {
        blob("oci.image.manifest.v1+json", &on(os, architecture, variant))
    };
    let index = |entries: &[String]| {
        let text = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(","));
        let Document::Index(variants) = Document::parse(text.as_bytes()).unwrap() else { panic!() };
        variants
    };
    let all = index(&[
        entry("unknown", "unknown", ""),
        entry("linux", "arm64", "v8"),
        entry("linux", "amd64", "v3"),
        entry("linux", "amd64", "").replace("\"size\":7", "\"size\":8"),
    ]);
    assert_eq!(Variant::choose(&all, "amd64").unwrap().size, 8);
    assert_eq!(Variant::choose(&all, "arm64").unwrap().size, 7);
    let error = Variant::choose(&all, "riscv64").unwrap_err();
    assert_eq!(error, "there is no image for linux/riscv64; there are: linux/amd64, linux/arm64");
    assert!(Variant::choose(&index(&[blob("oci.image.manifest.v1+json", "")]), "amd64").is_ok());
    assert!(Variant::choose(&index(&[]), "amd64").is_err());
    // What is of no use is left out, where there is something else.
    let odd = [
        "7".into(),
        r#"{"mediaType":"text/plain","digest":"x","size":1}"#.into(),
        blob("cncf.helm.chart", ""),
        entry("linux", "amd64", ""),
    ];
    assert_eq!(index(&odd).len(), 1);
    let error = Document::parse(format!(r#"{{"manifests":[{}]}}"#, odd[2]).as_bytes()).unwrap_err();
    assert!(error.contains("of the type application/vnd.cncf.helm.chart"), "{error}");
}

#[test]
fn manifests_of_both_kinds_are_read_and_others_refused() {
    let of = |config: &str, layers: &[String]| {
        let (config, layers) = (blob(config, ""), layers.join(","));
        Document::parse(format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layers}]}}"#).as_bytes())
    };
    let oci = ["tar", "tar+gzip", "tar+zstd"].map(|kind| blob(&format!("oci.image.layer.v1.{kind}"), ""));
    let Ok(Document::Manifest(manifest)) = of("oci.image.config.v1+json", &oci) else { panic!() };
    assert_eq!((manifest.layers.len(), manifest.config.digest.hex()), (3, HEX));
    let docker = [blob("docker.image.rootfs.diff.tar.gzip", "")];
    assert!(of("docker.container.image.v1+json", &docker).is_ok());
    let refused = |config: &str, layers: &[String]| of(config, layers).unwrap_err();
    assert!(refused("cncf.helm.config.v1+json", &[]).contains("something else"));
    assert!(refused("oci.image.config.v1+json", &[blob("cncf.helm.chart", "")]).contains("something else"));
    let encrypted = blob("oci.image.layer.v1.tar+gzip+encrypted", "");
    assert!(refused("oci.image.config.v1+json", &[encrypted]).contains("encrypted"));
    let huge = oci[0].replace("\"size\":7", "\"size\":99999999999999");
    assert!(refused("oci.image.config.v1+json", &[huge]).contains("at most"));
    let many = vec![oci[0].replace("\"size\":7", "\"size\":60000000000"); 2];
    assert!(refused("oci.image.config.v1+json", &many).contains("GiB are read"));
    assert!(refused("oci.image.config.v1+json", &vec![oci[0].clone(); 513]).contains("513 layers"));
    assert!(Document::parse(br#"{"schemaVersion":1,"fsLayers":[]}"#).unwrap_err().contains("schema 1"));
    assert!(Document::parse(b"{}").unwrap_err().contains("neither"));
    assert!(Document::parse(b"<html>").unwrap_err().contains("makes no sense"));
    assert!(Document::parse(&vec![b' '; 5 << 20]).unwrap_err().contains("longer than"));
}

#[test]
fn a_configuration_says_how_programs_run() {
    let text = r#"{"os":"linux","architecture":"amd64","config":{"Env":["PATH=/a:/b","A=x=y","bad name=1","NOVALUE",
        "PILOTHOUSE_X=1"],"WorkingDir":"/srv//app/.","User":"node:staff","Cmd":["x"],"Entrypoint":null,
        "Volumes":{"/v":{}},"ExposedPorts":null}}"#;
    let config = Config::parse(text.as_bytes()).unwrap();
    assert_eq!(
        config.environment.into_iter().map(|(name, value)| name + "=" + &value).collect::<Vec<_>>(),
        ["A=x=y", "PATH=/a:/b"]
    );
    assert_eq!((config.directory.as_str(), config.user.as_str()), ("/srv/app", "node"));
    assert_eq!(config.group, "staff");
    let ignored = config.ignored.join("\n");
    for what in ["bad name", "PILOTHOUSE_X", "CMD is not run", "VOLUME has no effect"] {
        assert!(ignored.contains(what), "{ignored}");
    }
    assert_eq!(config.ignored.len(), 4);
    let of = |config: &str| Config::parse(format!(r#"{{"config":{config}}}"#).as_bytes()).unwrap();
    assert_eq!(of("null"), Config::default());
    assert_eq!(of(r#"{"WorkingDir":"/","User":"1000:1000"}"#).user, "1000");
    assert_eq!(of(r#"{"WorkingDir":"/a/../b"}"#).directory, "");
    assert_eq!(of(r#"{"WorkingDir":"/lost+found/a"}"#).directory, "");
    assert_eq!(of(r#"{"User":"4294967296"}"#).user, "");
    assert_eq!(of(r#"{"User":"-x"}"#).ignored.len(), 1);
    assert!(Config::parse(br#"{"os":"windows"}"#).unwrap_err().contains("windows"));
}

#[test]
fn challenges_are_read() {
    let bearer = |realm: &str, service: &str| Some(Challenge::Bearer { realm: realm.into(), service: service.into() });
    let of = Challenge::parse;
    let docker =
        r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/a:pull""#;
    assert_eq!(of(docker), bearer("https://auth.docker.io/token", "registry.docker.io"));
    assert_eq!(of(r#"Basic realm="a, b", bearer realm=x"#), bearer("x", ""));
    assert_eq!(of(r#"bearer Realm="q\"x" , error="e""#), bearer("q\"x", ""));
    assert_eq!(of("Basic realm=\"x\""), Some(Challenge::Basic));
    assert_eq!((of("Digest realm=\"x\""), of("Bearer"), of("Bearer realm=\"x"), of("")), (None, None, None, None));
    let url = Challenge::token_url("https://a/t?x=1", "a b&c", "repository:o/n:pull");
    assert_eq!(url, "https://a/t?x=1&service=a%20b%26c&scope=repository:o/n:pull");
}

proptest! {
    #[test]
    fn no_text_makes_them_panic(text in "\\PC*", mark in "[:@/.]{0,3}") {
        let _ = Reference::parse(&format!("{text}{mark}{text}"));
        let _ = Document::parse(text.as_bytes());
        let _ = Config::parse(text.as_bytes());
        let _ = Challenge::parse(&format!("Bearer {text}={text}"));
    }

    /// What is shown of an image names it again.
    #[test]
    fn a_reference_in_full_is_read_as_the_same(text in "(https?://)?([a-z]{1,5}(\\.[a-z]{2})?(:[0-9]{1,4})?/)?[a-z0-9]{1,4}(/[a-z]{1,3}){0,2}(:[a-zA-Z0-9.]{1,5})?") {
        if let Ok(reference) = Reference::parse(&text) {
            prop_assert_eq!(Reference::parse(&reference.to_string()).unwrap(), reference);
        }
    }
}
