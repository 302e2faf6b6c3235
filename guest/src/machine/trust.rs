//! Whom programs trust beside the usual: an authority of the session's own, in every place where programs look.
//!
//! The system's own bundle has it too, so that one file has all that is trusted and variables may name it: who is pointed to it
//! loses nothing. `update-ca-certificates` makes that bundle anew from the files that lie in `/usr/local/share/ca-certificates`,
//! and the authority is one of them. Java has a store of its own, which is filled from there by the same command where
//! `ca-certificates-java` is installed.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::{OpenOptionsExt as _, symlink},
    path::{Path, PathBuf},
};

use pilothouse_proto::guest::v1::Trust;

use crate::boot_log::report;

/// The authority alone, where Debian's `update-ca-certificates` takes it from.
const OWN: &str = "usr/local/share/ca-certificates/pilothouse-session.crt";
/// Where OpenSSL looks for it: named by a hash of the authority's name, which is always the same.
const HASHED: &str = "etc/ssl/certs/9b1bcfa9.0";
/// What all that is trusted stands in: Debian, Red Hat, SUSE, Alpine.
const BUNDLES: [&str; 4] = [
    "etc/ssl/certs/ca-certificates.crt",
    "etc/pki/tls/certs/ca-bundle.crt",
    "etc/ssl/ca-bundle.pem",
    "etc/ssl/cert.pem",
];
/// Variables by which programs find a bundle that takes the place of their own.
const VARIABLES: [&str; 8] = [
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CARGO_HTTP_CAINFO",
    "GIT_SSL_CAINFO",
    "CURL_CA_BUNDLE",
    "PIP_CERT",
    "AWS_CA_BUNDLE",
    "DENO_CERT",
];
/// The same, of a file that is trusted beside their own.
const ADDED: &str = "NODE_EXTRA_CA_CERTS";
/// Longest bundle that is written anew, in bytes.
const BUNDLE_BYTES: u64 = 16 << 20;

/// Whom the machine trusts already.
#[derive(Debug, Default)]
pub(super) struct Trusted {
    /// The authority, and the variables by which programs find it.
    last: Option<(String, HashMap<String, String>)>,
}

impl Trusted {
    /// Writes the authority to where programs look below `root`, unless it is there; returns the variables by which they find it,
    /// and those that came along.
    pub(super) fn trust(&mut self, root: &Path, trust: &Trust) -> HashMap<String, String> {
        let mut variables = match &self.last {
            Some((last, variables)) if *last == trust.certificate => variables.clone(),
            _ => {
                let variables = write_all(root, &trust.certificate);
                self.last = Some((trust.certificate.clone(), variables.clone()));
                variables
            }
        };
        variables.extend(trust.variables.clone());
        variables
    }
}

fn write_all(root: &Path, certificate: &str) -> HashMap<String, String> {
    let mut variables = HashMap::new();
    let own = root.join(OWN);
    // What an earlier life, or a build, has put there.
    let before = fs::read_to_string(&own).unwrap_or_default();
    match write_own(&own, certificate) {
        Ok(()) => {
            variables.insert(ADDED.into(), format!("/{OWN}"));
        }
        Err(error) => report(&format!("/{OWN} stays as it is: {error}")),
    }
    let mut bundle = None;
    for name in BUNDLES {
        match add(&root.join(name), &before, certificate) {
            Ok(true) => bundle = bundle.or(Some(name)),
            Ok(false) => {}
            Err(error) => report(&format!("/{name} stays as it is: {error}")),
        }
    }
    // Without a bundle, programs that have one of their own would lose it for the authority alone.
    if let Some(name) = bundle {
        variables.extend(VARIABLES.map(|variable| (variable.to_owned(), format!("/{name}"))));
    }
    if let Err(error) = link(root) {
        report(&format!("/{HASHED} is not there: {error}"));
    }
    variables
}

fn write_own(path: &Path, certificate: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    replace(path, certificate)
}

/// Adds the certificate to a bundle, in the place of the one before; false: there is no such bundle.
fn add(bundle: &Path, before: &str, certificate: &str) -> io::Result<bool> {
    // Where it is a link, what it leads to is written.
    let Ok(bundle) = fs::canonicalize(bundle) else { return Ok(false) };
    if fs::metadata(&bundle)?.len() > BUNDLE_BYTES {
        return Err(io::Error::other("it is too long"));
    }
    let now = fs::read_to_string(&bundle)?;
    let without = if before.is_empty() || before == certificate { now.clone() } else { now.replace(before, "") };
    let mut new = without;
    if !new.contains(certificate) {
        if !new.is_empty() && !new.ends_with('\n') {
            new.push('\n');
        }
        new.push_str(certificate);
    }
    if new != now {
        replace(&bundle, &new)?;
    }
    Ok(true)
}

/// The name by which OpenSSL finds it; nothing to do where there is no folder of such names.
fn link(root: &Path) -> io::Result<()> {
    let path = root.join(HASHED);
    if !path.parent().is_some_and(Path::is_dir) || fs::symlink_metadata(&path).is_ok() {
        return Ok(());
    }
    symlink(format!("/{OWN}"), path)
}

/// Writes a file that all may read, whole or not at all.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write as _;
    let mut new = PathBuf::from(path);
    new.set_extension("pilothouse");
    // What is left of a machine that was cut off, or a link that somebody put there: never written through.
    let _ = fs::remove_file(&new);
    let mut file = fs::File::options().write(true).create_new(true).mode(0o644).open(&new)?;
    file.write_all(text.as_bytes())?;
    drop(file);
    fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "-----BEGIN CERTIFICATE-----\nfirst\n-----END CERTIFICATE-----\n";
    const SECOND: &str = "-----BEGIN CERTIFICATE-----\nsecond\n-----END CERTIFICATE-----\n";
    const SYSTEM: &str = "-----BEGIN CERTIFICATE-----\nsystem\n-----END CERTIFICATE-----";

    fn trust(certificate: &str) -> Trust {
        let variables = HashMap::from([("API_KEY".to_owned(), "stand-in".to_owned())]);
        Trust { certificate: certificate.into(), variables }
    }

    #[test]
    fn one_authority_is_added_to_what_the_system_trusts() {
        let root = tempfile::tempdir().unwrap();
        let bundle = root.path().join(BUNDLES[0]);
        fs::create_dir_all(bundle.parent().unwrap()).unwrap();
        fs::write(&bundle, SYSTEM).unwrap();
        let mut trusted = Trusted::default();
        let variables = trusted.trust(root.path(), &trust(FIRST));
        assert_eq!(fs::read_to_string(&bundle).unwrap(), format!("{SYSTEM}\n{FIRST}"));
        assert_eq!(variables["SSL_CERT_FILE"], "/etc/ssl/certs/ca-certificates.crt");
        assert_eq!((variables["API_KEY"].as_str(), variables[ADDED].as_str()), ("stand-in", &*format!("/{OWN}")));
        assert_eq!(fs::read_link(root.path().join(HASHED)).unwrap(), Path::new(&format!("/{OWN}")));
        // A fork of a build, whose memory and disk have another's.
        Trusted::default().trust(root.path(), &trust(SECOND));
        assert_eq!(fs::read_to_string(&bundle).unwrap(), format!("{SYSTEM}\n{SECOND}"));
        assert_eq!(fs::read_to_string(root.path().join(OWN)).unwrap(), SECOND);
        // The same once more writes nothing.
        let before = fs::metadata(&bundle).unwrap().modified().unwrap();
        Trusted::default().trust(root.path(), &trust(SECOND));
        assert_eq!(fs::metadata(&bundle).unwrap().modified().unwrap(), before);
    }

    #[test]
    fn without_a_bundle_no_program_loses_its_own() {
        let root = tempfile::tempdir().unwrap();
        let variables = Trusted::default().trust(root.path(), &trust(FIRST));
        assert!(variables.contains_key(ADDED) && !variables.contains_key("PIP_CERT"), "{variables:?}");
    }
}
