//! The certificate authority of one session: by it the gateway ends TLS for hosts of credentials, and nobody else can.
//!
//! Its key never leaves the host. The guest is given the certificate alone by the handshake, before any of its processes runs;
//! programs that run on after a suspend trust what they have read, so the authority is kept in the session's folder for as long
//! as the session is there, and a fork, whose programs have read the same, has the same one.

use std::{
    collections::HashMap,
    fmt,
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::{ToSpan as _, civil::Date, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use tokio::time::Instant;
use tokio_rustls::rustls::{
    self, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _},
};
use zeroize::Zeroizing;

/// Name of every authority. Always the same: OpenSSL finds certificates by a hash of it, which a guest need not work out.
const NAME: &str = "Pilothouse session CA";
/// Most hosts whose certificates are kept.
const LEAVES: usize = 64;
/// Age at which a host's certificate is made anew, well before it ends.
const RENEWED: Duration = Duration::from_secs(24 * 3600);
/// Days that a host's certificate is good for.
const LEAF_DAYS: i64 = 90;
/// Years that an authority is good for: a session may sleep for long.
const YEARS: i64 = 20;

/// A session's certificate authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// The certificate, as PEM.
    certificate: String,
    /// The certificates' key, which all hosts share.
    key: KeyPair,
    leaves: Mutex<HashMap<String, Leaf>>,
}

struct Leaf {
    server: Arc<ServerConfig>,
    made_at: Instant,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authority")
    }
}

impl PartialEq for Authority {
    fn eq(&self, other: &Self) -> bool {
        self.certificate == other.certificate
    }
}

impl Eq for Authority {}

impl Authority {
    /// A new authority, which nobody else has.
    ///
    /// # Errors
    /// A text for people, where no key can be made.
    pub fn new() -> Result<Self, String> {
        let made = || {
            let key = KeyPair::generate()?;
            let certificate = params(today(), today().saturating_add(YEARS.years())).self_signed(&key)?.pem();
            Ok((key, certificate))
        };
        let (key, certificate) = made().map_err(|error: rcgen::Error| format!("no authority can be made: {error}"))?;
        Self::of(key, certificate)
    }

    fn of(key: KeyPair, certificate: String) -> Result<Self, String> {
        Ok(Self {
            issuer: Issuer::new(params(today(), today()), key),
            certificate,
            key: KeyPair::generate().map_err(|error| format!("no key can be made: {error}"))?,
            leaves: Mutex::default(),
        })
    }

    /// The authority that is kept in this file; a new one where there is none. The file is its owner's alone. Blocks.
    ///
    /// # Errors
    /// A text for people: it can neither be read nor made.
    pub fn kept(path: &Path) -> Result<Self, String> {
        let failed = |error| format!("{}: {error}", path.display());
        match fs::read_to_string(path).map(Zeroizing::new) {
            Ok(text) => Self::parse(&text).ok_or_else(|| format!("{} is damaged", path.display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let new = Self::new()?;
                new.keep(path).map_err(failed)?;
                Ok(new)
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let at = text.find("-----BEGIN CERTIFICATE-----")?;
        let (key, certificate) = text.split_at(at);
        CertificateDer::from_pem_slice(certificate.as_bytes()).ok()?;
        Self::of(KeyPair::from_pem(key).ok()?, certificate.to_owned()).ok()
    }

    fn keep(&self, path: &Path) -> io::Result<()> {
        let new = path.with_extension("new");
        // One that a hostd left half written may be there.
        let _ = fs::remove_file(&new);
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
        let key = Zeroizing::new(self.issuer.key().serialize_pem());
        file.write_all(key.as_bytes())?;
        file.write_all(self.certificate.as_bytes())?;
        file.sync_all()?;
        fs::rename(new, path)
    }

    /// Certificate of the authority, as PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// TLS as this host speaks it to the guest. Two versions of HTTP are offered.
    pub(super) fn server(&self, host: &str) -> Result<Arc<ServerConfig>, String> {
        let mut leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(leaf) = leaves.get(host).filter(|leaf| leaf.made_at.elapsed() < RENEWED) {
            return Ok(leaf.server.clone());
        }
        if leaves.len() >= LEAVES {
            let oldest = leaves.iter().min_by_key(|(_, leaf)| leaf.made_at).map(|(host, _)| host.clone());
            leaves.remove(&oldest.unwrap_or_default());
        }
        let server = Arc::new(self.sign(host)?);
        leaves.insert(host.into(), Leaf { server: server.clone(), made_at: Instant::now() });
        Ok(server)
    }

    fn sign(&self, host: &str) -> Result<ServerConfig, String> {
        let failed = |error: rcgen::Error| format!("no certificate for {host} can be made: {error}");
        let mut leaf = CertificateParams::new([host.to_owned()]).map_err(failed)?;
        leaf.distinguished_name = DistinguishedName::new();
        // An empty name is allowed and confuses programs; a host's may be longer than one may be.
        leaf.distinguished_name.push(DnType::CommonName, "Pilothouse");
        leaf.is_ca = IsCa::ExplicitNoCa;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.use_authority_key_identifier_extension = true;
        let ((y, m, d), end) = (start(today()), start(today().saturating_add(LEAF_DAYS.days())));
        (leaf.not_before, leaf.not_after) = (date_time_ymd(y, m, d), date_time_ymd(end.0, end.1, end.2));
        let certificate = leaf.signed_by(&self.key, &self.issuer).map_err(failed)?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let mut server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|server| server.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key))
            .map_err(|error: rustls::Error| format!("TLS for {host}: {error}"))?;
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(server)
    }
}

/// What an authority is; its key says which one.
fn params(from: Date, to: Date) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ((y, m, d), end) = (start(from), start(to));
    (params.not_before, params.not_after) = (date_time_ymd(y, m, d), date_time_ymd(end.0, end.1, end.2));
    params
}

/// Year, month and day before: clocks differ.
fn start(date: Date) -> (i32, u8, u8) {
    let date = date.saturating_sub(1.days());
    let part = |part: i8| u8::try_from(part).unwrap_or(1);
    (date.year().into(), part(date.month()), part(date.day()))
}

fn today() -> Date {
    jiff::Timestamp::now().to_zoned(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_is_kept_in_a_file_of_its_owner_and_comes_back_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("authority.pem");
        let first = Authority::kept(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = Authority::kept(&path).unwrap();
        assert!(first == again && first != Authority::new().unwrap());
        assert!(!format!("{first:?}").contains("PRIVATE") && !first.certificate().contains("PRIVATE"));
        fs::write(&path, "x").unwrap();
        assert!(Authority::kept(&path).unwrap_err().contains("is damaged"));
    }

    /// What it signed before it was put to disk and after is one to whoever trusts it.
    #[test]
    fn what_it_signs_is_trusted_by_its_certificate_and_by_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("authority.pem");
        let first = Authority::kept(&path).unwrap();
        let again = Authority::kept(&path).unwrap();
        for (authority, host, good) in
            [(&first, "a.example", true), (&again, "a.example", true), (&first, "192.0.2.1", true)]
        {
            assert_eq!(shakes(&first, authority, host), good, "{host}");
        }
        assert!(!shakes(&Authority::new().unwrap(), &first, "a.example"));
    }

    /// Whether a client that trusts the one shakes hands with a server of the other.
    fn shakes(trusted: &Authority, server: &Authority, host: &str) -> bool {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(trusted.certificate().as_bytes()).unwrap()).unwrap();
        let client = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = rustls::pki_types::ServerName::try_from(host.to_owned()).unwrap();
        let mut client = rustls::ClientConnection::new(Arc::new(client), name).unwrap();
        let mut server = rustls::ServerConnection::new(server.server(host).unwrap()).unwrap();
        let pass = |from: &mut dyn FnMut(&mut Vec<u8>), to: &mut dyn FnMut(&mut &[u8]) -> bool| {
            let mut bytes = vec![];
            from(&mut bytes);
            to(&mut bytes.as_slice())
        };
        for _ in 0..4 {
            let to_server = pass(&mut |out| drop(client.write_tls(out)), &mut |bytes| {
                while !bytes.is_empty() && server.read_tls(bytes).is_ok() {}
                server.process_new_packets().is_ok()
            });
            let to_client =
                pass(&mut |out| while server.wants_write() && server.write_tls(out).is_ok() {}, &mut |bytes| {
                    while !bytes.is_empty() && client.read_tls(bytes).is_ok() {}
                    client.process_new_packets().is_ok()
                });
            if !to_server || !to_client {
                return false;
            }
        }
        !client.is_handshaking() && !server.is_handshaking()
    }

    #[test]
    fn certificates_are_kept_and_bounded() {
        let authority = Authority::new().unwrap();
        let first = authority.server("a.example").unwrap();
        assert!(Arc::ptr_eq(&first, &authority.server("a.example").unwrap()));
        for number in 0..LEAVES {
            authority.server(&format!("h{number}.example")).unwrap();
        }
        assert_eq!(authority.leaves.lock().unwrap().len(), LEAVES);
    }
}
