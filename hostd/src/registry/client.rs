//! Requests to one registry about one repository, by whoever the host says that it is.

use std::{sync::Arc, time::Duration};

use hostd_core::{
    credentials::{Credential, Fit, Place},
    image::{Challenge, Reference},
};
use hyper::{
    HeaderMap, Method, StatusCode,
    header::{AUTHORIZATION, HeaderName, HeaderValue, WWW_AUTHENTICATE},
};
use tokio_rustls::rustls::ClientConfig;

use super::{
    error::RegistryError,
    exchange::{self, Answer, Url},
};
use crate::{
    credentials::Credentials,
    gateway::{Gateway, put_secret},
};

/// Longest answer with a token, in bytes.
const TOKEN_MAX: u64 = 64 << 10;

/// Asks a registry.
pub(super) struct Client {
    reference: Reference,
    credential: Option<(Arc<Credential>, Arc<Credentials>)>,
    tls: Option<Arc<ClientConfig>>,
    /// Wait before it is asked again; each further one is twice as long.
    pub(super) pause: Duration,
    /// What says who asks, once that was found out.
    who: tokio::sync::Mutex<HeaderMap>,
}

impl Client {
    pub(super) async fn of(
        gateway: &Arc<Gateway>,
        reference: &Reference,
        credential: Option<&str>,
        environment: &str,
        pause: Duration,
    ) -> Result<Self, RegistryError> {
        let credential = credential.map(|name| named(gateway, name, environment)).transpose()?;
        let ca = credential.as_ref().and_then(|(credential, _)| credential.ca.clone());
        let gateway = gateway.clone();
        let tls = tokio::task::spawn_blocking(move || gateway.client_tls(ca.as_deref())).await;
        let tls = match tls.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(tls) => Some(tls),
            // Whoever is spoken to without it may lead on to nobody with it.
            Err(_) if reference.plain => None,
            Err(why) => return Err(RegistryError::Unreachable { host: reference.host().into(), why }),
        };
        Ok(Self { reference: reference.clone(), credential, tls, pause, who: tokio::sync::Mutex::default() })
    }

    /// Host of the registry, for people.
    pub(super) fn host(&self) -> &str {
        self.reference.host()
    }

    pub(super) fn image(&self) -> String {
        self.reference.to_string()
    }

    /// Asks for a part of the repository: `manifests/TAG`, `blobs/DIGEST`. The answer is a good one.
    pub(super) async fn ask(&self, method: Method, what: &str, headers: HeaderMap) -> Result<Answer, RegistryError> {
        let scheme = if self.reference.plain { "http" } else { "https" };
        let text = format!("{scheme}://{}/v2/{}/{what}", self.host(), self.reference.repository);
        let url = Url::parse(&text).ok_or_else(|| self.unreachable("its name makes no URL".into()))?;
        let own = self.who.lock().await.clone();
        let mut answer = self.send(&method, &url, &headers, &own).await?;
        if answer.status == StatusCode::UNAUTHORIZED {
            let challenge = answer.headers.get(WWW_AUTHENTICATE).and_then(|header| header.to_str().ok());
            let challenge = challenge.and_then(Challenge::parse);
            let who = self.answer(&url, challenge).await?;
            answer = self.send(&method, &url, &headers, &who).await?;
            *self.who.lock().await = who;
        }
        match answer.status {
            status if status.is_success() => Ok(answer),
            StatusCode::NOT_FOUND => Err(RegistryError::NotFound {
                image: self.image(),
                host: answer.host,
                status: answer.status.as_u16(),
                hinted: self.credential.is_none(),
            }),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let status = format!("it answers {}", answer.status.as_u16());
                if let Some((credential, all)) = &self.credential {
                    all.refused(credential).await;
                }
                Err(self.denied(status))
            }
            status @ (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) => {
                Err(RegistryError::TooOften { host: answer.host, status: status.as_u16() })
            }
            status => {
                Err(RegistryError::Unreachable { host: answer.host, why: format!("it answers {}", status.as_u16()) })
            }
        }
    }

    async fn send(
        &self,
        method: &Method,
        url: &Url,
        headers: &HeaderMap,
        own: &HeaderMap,
    ) -> Result<Answer, RegistryError> {
        let sent = exchange::send(self.tls.as_ref(), method, url, headers, own).await;
        sent.map_err(|why| self.unreachable(why))
    }

    /// What says who asks, in the way that the registry wants.
    async fn answer(&self, url: &Url, challenge: Option<Challenge>) -> Result<HeaderMap, RegistryError> {
        match challenge {
            Some(Challenge::Bearer { realm, service, scope }) => {
                // A token of the host's own needs nobody's leave.
                if let Some((credential, _)) = &self.credential
                    && !matches!(credential.place, Place::Basic { .. } | Place::Git { .. })
                {
                    return self.secret(url).await;
                }
                self.token(&realm, &service, &scope).await
            }
            _ if self.credential.is_some() => self.secret(url).await,
            Some(Challenge::Basic) => Err(self.denied("it wants a user and a password".into())),
            None => Err(self.denied("it answers 401, and does not say what it wants".into())),
        }
    }

    /// The header with the credential's secret, for a request that it is for.
    async fn secret(&self, url: &Url) -> Result<HeaderMap, RegistryError> {
        let mut headers = HeaderMap::new();
        let Some((credential, all)) = &self.credential else { return Ok(headers) };
        let failed = |why: String| RegistryError::Credential { name: credential.name.clone(), why };
        if !credential.is_for(&url.host, url.port) {
            let why =
                format!("its `hosts` do not have {}, which wants to know who asks; add it there", url.authority());
            return Err(failed(why));
        }
        let (path, query) = url.path.split_once('?').unwrap_or((&url.path, ""));
        // What git's requests are like is no matter here.
        let fit = if matches!(credential.place, Place::Git { .. }) {
            Fit::NotGit
        } else {
            credential.fits("GET", path, query)
        };
        if fit != Fit::Yes {
            return Err(failed(format!("it is not for this request: {}", fit.why_not())));
        }
        if !url.secure && !credential.goes_plain_to(&url.host) && !is_loopback(&url.host) {
            return Err(failed(format!("it is not sent unencrypted to {}; it needs `plain = true`", url.authority())));
        }
        let secret =
            all.secret(credential).await.map_err(|error| failed(format!("its secret cannot be read: {error}")))?;
        put_secret(credential, &secret, &mut headers).ok_or_else(|| failed("its secret fits into no header".into()))?;
        Ok(headers)
    }

    /// A token, from where the registry says.
    async fn token(&self, realm: &str, service: &str, scope: &str) -> Result<HeaderMap, RegistryError> {
        #[derive(serde::Deserialize)]
        struct Token {
            token: Option<String>,
            access_token: Option<String>,
        }
        let own = format!("repository:{}:pull", self.reference.repository);
        let scope = if scope.is_empty() { &own } else { scope };
        let url = Url::parse(&Challenge::token_url(realm, service, scope));
        let Some(url) = url.filter(|url| url.secure || self.reference.plain) else {
            return Err(self.unreachable("it sends whoever asks to a place that is none, or has no TLS".into()));
        };
        let secret = self.secret(&url).await?;
        let mut answer = self.send(&Method::GET, &url, &HeaderMap::new(), &secret).await?;
        if !answer.status.is_success() {
            return Err(self.denied(format!("{} answers {}", answer.host, answer.status.as_u16())));
        }
        let text = answer.all(TOKEN_MAX).await.map_err(|why| self.unreachable(why))?;
        let token = serde_json::from_slice::<Token>(&text).ok().and_then(|all| all.token.or(all.access_token));
        let token = token.ok_or_else(|| self.unreachable(format!("{} gives no token", answer.host)))?;
        let header = HeaderValue::from_str(&format!("Bearer {token}")).ok();
        let mut header = header.ok_or_else(|| self.unreachable("its token fits into no header".into()))?;
        header.set_sensitive(true);
        Ok(HeaderMap::from_iter([(AUTHORIZATION, header)]))
    }

    pub(super) fn unreachable(&self, why: String) -> RegistryError {
        RegistryError::Unreachable { host: self.host().into(), why }
    }

    fn denied(&self, why: String) -> RegistryError {
        let help = match &self.credential {
            None => "check its name; if it is private, name a `credential` of this host in the recipe's base".into(),
            Some((credential, _)) => format!("see `pilothouse credential check {}`", credential.name),
        };
        RegistryError::Denied { image: self.image(), host: self.host().into(), why, help }
    }
}

/// The credential of this name, which the environment may use.
fn named(
    gateway: &Gateway,
    name: &str,
    environment: &str,
) -> Result<(Arc<Credential>, Arc<Credentials>), RegistryError> {
    let failed = |why: &str| RegistryError::Credential { name: name.into(), why: why.into() };
    let missing = "this host has none of that name; `pilothouse credential ls` says which there are";
    let all = gateway.host_credentials().ok_or_else(|| failed(missing))?;
    let credential = all.all().into_iter().find(|one| one.name == name).ok_or_else(|| failed(missing))?;
    if !credential.allows(environment) {
        return Err(failed("its `environments` do not have this one"));
    }
    Ok((credential, all))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Headers of these names and values.
pub(super) fn headers(pairs: &[(HeaderName, String)]) -> HeaderMap {
    let pairs = pairs.iter().filter_map(|(name, value)| Some((name.clone(), HeaderValue::from_str(value).ok()?)));
    pairs.collect()
}
