//! Which mirrors serve a Debian suite: those that the machine's own apt is configured with.

use std::path::Path;

/// Entries for mmdebstrap (`deb [options] URI suite components`), security and updates included. Empty where apt's
/// configuration names no mirror that would do: mmdebstrap then takes its own default.
pub(super) fn for_suite(root: &Path, suite: &str) -> Vec<String> {
    let apt = root.join("etc/apt");
    let mut sources = vec![];
    let mut files = vec![apt.join("sources.list")];
    files.extend(std::fs::read_dir(apt.join("sources.list.d")).into_iter().flatten().flatten().map(|e| e.path()));
    files.sort();
    for file in files {
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => sources.extend(text.lines().filter_map(one_line)),
            Some("sources") => sources.extend(deb822(&text)),
            _ => {}
        }
    }
    let own = os_codename(root).unwrap_or_else(|| suite.to_owned());
    let names = [suite, own.as_str()];
    // The machine may run another release than the recipe asks for; its mirror has that one as well.
    let found = names.into_iter().map(|name| entries(root, &sources, name, suite)).find(|entries| !entries.is_empty());
    found.unwrap_or_default()
}

/// One entry of apt's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Source {
    uris: Vec<String>,
    suites: Vec<String>,
    components: Vec<String>,
    signed_by: Option<String>,
    trusted: bool,
}

fn entries(root: &Path, sources: &[Source], configured: &str, wanted: &str) -> Vec<String> {
    let mut entries: Vec<String> = vec![];
    let mut complete = false;
    for source in sources {
        let options = options(source);
        for suite in &source.suites {
            let Some(kind) = suite.strip_prefix(configured).filter(|kind| ["", "-updates", "-security"].contains(kind))
            else {
                continue;
            };
            complete |= kind.is_empty();
            for uri in source.uris.iter().filter_map(|uri| plain_uri(root, uri)) {
                let entry = format!("deb {options}{uri} {wanted}{kind} {}", source.components.join(" "));
                if !entries.contains(&entry) {
                    entries.push(entry);
                }
            }
        }
    }
    if complete { entries } else { vec![] }
}

fn options(source: &Source) -> String {
    let signed_by = source.signed_by.as_ref().map(|path| format!("signed-by={path}"));
    let trusted = source.trusted.then(|| "trusted=yes".to_owned());
    let options: Vec<String> = signed_by.into_iter().chain(trusted).collect();
    if options.is_empty() { String::new() } else { format!("[{}] ", options.join(" ")) }
}

/// The mirror's own address: cloud images name a file with mirrors instead, whose first one is taken.
fn plain_uri(root: &Path, uri: &str) -> Option<String> {
    let Some(file) = uri.strip_prefix("mirror+file:") else {
        return (uri.starts_with("http://") || uri.starts_with("https://")).then(|| uri.to_owned());
    };
    let text = std::fs::read_to_string(root.join(file.trim_start_matches('/'))).ok()?;
    let first = text.lines().filter_map(|line| line.split_whitespace().next()).find(|word| !word.starts_with('#'))?;
    first.starts_with("http").then(|| first.to_owned())
}

fn os_codename(root: &Path) -> Option<String> {
    let text = std::fs::read_to_string(root.join("etc/os-release")).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="))?;
    Some(value.trim_matches('"').to_owned())
}

/// Reads a line `deb [options] URI suite component...`; None: it is no such line.
fn one_line(line: &str) -> Option<Source> {
    let rest = line.split('#').next()?.trim().strip_prefix("deb")?;
    let rest = rest.strip_prefix(char::is_whitespace)?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace().map(str::to_owned);
    let option =
        |name: &str| options.split_whitespace().find_map(|option| option.strip_prefix(name)?.strip_prefix('='));
    Some(Source {
        uris: vec![words.next()?],
        suites: vec![words.next()?],
        components: words.collect(),
        signed_by: option("signed-by").map(str::to_owned),
        trusted: option("trusted") == Some("yes"),
    })
}

/// Reads paragraphs of `Name: value`, continued on lines that begin with a blank.
fn deb822(text: &str) -> Vec<Source> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    lines.split(|line| line.trim().is_empty()).filter_map(paragraph).collect()
}

fn paragraph(lines: &[&str]) -> Option<Source> {
    let mut fields: Vec<(String, String)> = vec![];
    for line in lines {
        if line.starts_with([' ', '\t']) {
            let (_, value) = fields.last_mut()?;
            value.push(' ');
            value.push_str(line.trim());
        } else {
            let (name, value) = line.split_once(':')?;
            fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    let field = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str());
    let words = |name: &str| field(name).unwrap_or_default().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let on = !field("enabled").is_some_and(|value| value.eq_ignore_ascii_case("no"));
    (on && words("types").iter().any(|kind| kind == "deb")).then(|| Source {
        uris: words("uris"),
        suites: words("suites"),
        components: words("components"),
        // A key written out in place of a file is not passed on; apt's trusted keys are tried then.
        signed_by: field("signed-by").filter(|value| value.starts_with('/') && !value.contains(' ')).map(str::to_owned),
        trusted: field("trusted").is_some_and(|value| value.eq_ignore_ascii_case("yes")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    const DEB822: &str = "Types: deb deb-src\n# a comment\nURIs: http://m.example/debian\nSuites: bookworm\n bookworm-updates\n\
        Components: main contrib\nSigned-By: /k.gpg\n\nTypes: deb\nURIs: http://s.example/debian-security\n\
        Suites: bookworm-security\nComponents: main\n\nEnabled: no\nTypes: deb\nURIs: http://off.example/\nSuites: bookworm\n";

    #[test]
    fn new_style_sources_are_read() {
        let root = machine(&[("etc/apt/sources.list.d/debian.sources", DEB822)]);
        let expected = [
            "deb [signed-by=/k.gpg] http://m.example/debian bookworm main contrib",
            "deb [signed-by=/k.gpg] http://m.example/debian bookworm-updates main contrib",
            "deb http://s.example/debian-security bookworm-security main",
        ];
        assert_eq!(for_suite(root.path(), "bookworm"), expected);
    }

    #[test]
    fn another_release_comes_from_the_same_mirror() {
        let release = ("etc/os-release", "ID=debian\nVERSION_CODENAME=bookworm\n");
        let root = machine(&[("etc/apt/sources.list.d/debian.sources", DEB822), release]);
        let entries = for_suite(root.path(), "trixie");
        assert_eq!(entries[0], "deb [signed-by=/k.gpg] http://m.example/debian trixie main contrib");
        assert_eq!(entries[2], "deb http://s.example/debian-security trixie-security main");
    }

    #[test]
    fn old_style_sources_and_mirror_files_are_read() {
        let list = "# x\ndeb [arch=amd64 trusted=yes] mirror+file:/etc/apt/mirrors/d.list sid main # y\ndeb-src http://x/ sid main\n";
        let root = machine(&[
            ("etc/apt/sources.list", list),
            ("etc/apt/mirrors/d.list", "#\nhttps://m.example/ priority:1\n"),
        ]);
        assert_eq!(for_suite(root.path(), "sid"), ["deb [trusted=yes] https://m.example/ sid main"]);
    }

    #[test]
    fn other_sources_say_nothing() {
        let list = "deb http://tools.example/apt nodistro main\ndeb cdrom:[x]/ bookworm main\ndebug\ndeb\n";
        let root = machine(&[("etc/apt/sources.list", list)]);
        assert_eq!(for_suite(root.path(), "bookworm"), Vec::<String>::new());
    }
}
