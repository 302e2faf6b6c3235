//! TLS as the gateway speaks it to the world: hosts are verified always.

use std::{
    collections::HashMap,
    fs,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::SystemTime,
};

use tokio_rustls::rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};

/// Longest file of certificates, in bytes.
const BYTES: u64 = 4 << 20;

/// Settings of TLS, by the file of certificates that hosts are verified with; empty: those of the system.
#[derive(Debug, Default)]
pub(super) struct OuterTls {
    of_system: OnceLock<Result<Settings, String>>,
    of_files: Mutex<HashMap<String, (SystemTime, Settings)>>,
}

/// Settings that verify by the same certificates.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// Offers HTTP/2 and HTTP/1.1.
    pub(super) any: Arc<ClientConfig>,
    /// Offers HTTP/1.1 alone: what is upgraded begins as that.
    pub(super) http1: Arc<ClientConfig>,
}

impl OuterTls {
    /// Settings for hosts that this file vouches for; None: those that the system does. Blocks where they are not known yet.
    ///
    /// # Errors
    /// A text for people.
    pub(super) fn settings(&self, file: Option<&str>) -> Result<Settings, String> {
        let Some(path) = file else {
            return self.of_system.get_or_init(|| settings(of_system()?)).clone();
        };
        let failed = |error| format!("the certificates in {path}: {error}");
        let is = fs::metadata(path).map_err(failed)?;
        let modified = is.modified().map_err(failed)?;
        let mut files = self.of_files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = files.get(path).filter(|(at, _)| *at == modified) {
            return Ok(known.clone());
        }
        if is.len() > BYTES {
            return Err(format!("the certificates in {path} are longer than {BYTES} bytes"));
        }
        let pem = fs::read(path).map_err(failed)?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let certificates = certificates.map_err(|error| format!("the certificates in {path}: {error}"))?;
        let new = settings(certificates).map_err(|why| format!("{path}: {why}"))?;
        files.insert(path.into(), (modified, new.clone()));
        Ok(new)
    }
}

fn of_system() -> Result<Vec<CertificateDer<'static>>, String> {
    let found = rustls_native_certs::load_native_certs();
    match found.errors.first() {
        Some(error) if found.certs.is_empty() => {
            Err(format!("the system's certificates cannot be read: {error}; install ca-certificates"))
        }
        _ => Ok(found.certs),
    }
}

fn settings(certificates: Vec<CertificateDer<'static>>) -> Result<Settings, String> {
    let mut roots = RootCertStore::empty();
    if roots.add_parsable_certificates(certificates).0 == 0 {
        return Err(
            "there is no certificate to verify hosts with; install ca-certificates, or name a file with ca".into()
        );
    }
    let mut any = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    any.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut http1 = any.clone();
    http1.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Settings { any: Arc::new(any), http1: Arc::new(http1) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::Authority;

    #[test]
    fn a_file_is_read_again_when_it_changed_and_a_bad_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem").to_str().unwrap().to_owned();
        let tls = OuterTls::default();
        let error = |tls: &OuterTls| tls.settings(Some(&path)).unwrap_err();
        assert!(error(&tls).contains(&path));
        fs::write(&path, "nothing").unwrap();
        assert!(error(&tls).contains("no certificate"));
        fs::write(&path, Authority::new().unwrap().certificate()).unwrap();
        let first = tls.settings(Some(&path)).unwrap();
        assert!(Arc::ptr_eq(&first.any, &tls.settings(Some(&path)).unwrap().any));
        let later = SystemTime::now() + std::time::Duration::from_secs(9);
        fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        assert!(!Arc::ptr_eq(&first.any, &tls.settings(Some(&path)).unwrap().any));
    }
}
