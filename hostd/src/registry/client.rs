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
    exchange::{self, Answer, Asker, Url},
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
    /// The registry itself.
    registry: Url,
    credential: Option<(Arc<Credential>, Arc<Credentials>)>,
    /// Whom the system trusts.
    tls: Option<Arc<ClientConfig>>,
    /// Whom the credential says to trust: for its hosts alone.
    own_tls: Option<Arc<ClientConfig>>,
    /// Wait before it is asked again; each further one is twice as long.
    pub(super) pause: Duration,
    /// What says who asks, once that was found out.
    who: tokio::sync::Mutex<Who>,
}

/// What says who asks.
#[derive(Clone, Default)]
struct Who {
    headers: HeaderMap,
    /// Whether it is the credential's own secret, and no token that was given for it.
    is_secret: bool,
}

/// A client, as it is for one request.
struct Asking<'a> {
    client: &'a Client,
    who: &'a Who,
}

impl Asker for Asking<'_> {
    fn tls(&self, url: &Url) -> Option<&Arc<ClientConfig>> {
        let Client { credential, tls, own_tls, .. } = self.client;
        let is_own = credential.as_ref().is_some_and(|(credential, _)| credential.is_for(&url.host, url.port));
        if is_own && own_tls.is_some() { own_tls.as_ref() } else { tls.as_ref() }
    }

    fn own(&self, url: &Url) -> HeaderMap {
        let fits = |(credential, _): &(Arc<Credential>, _)| fit(credential, url) == Fit::Yes;
        if self.who.is_secret && !self.client.credential.as_ref().is_some_and(fits) {
            return HeaderMap::new();
        }
        self.who.headers.clone()
    }

    fn is_foreign(&self) -> bool {
        self.client.reference.is_foreign
    }
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
        let unreachable = |why: String| RegistryError::Unreachable { host: reference.host().into(), why };
        let scheme = if reference.plain { "http" } else { "https" };
        let registry = Url::parse(&format!("{scheme}://{}/", reference.host()));
        let registry = registry.ok_or_else(|| unreachable("its name makes no URL".into()))?;
        let ca = credential.as_ref().and_then(|(credential, _)| credential.ca.clone());
        let gateway = gateway.clone();
        let made = tokio::task::spawn_blocking(move || {
            let own = ca.as_deref().map(|ca| gateway.client_tls(Some(ca)));
            (gateway.client_tls(None), own.transpose())
        });
        let (tls, own_tls) = made.await.unwrap_or_else(|error| (Err(error.to_string()), Err(error.to_string())));
        // Whoever is spoken to without it may lead on to nobody with it.
        let plain = reference.plain;
        let own_tls = own_tls.or_else(|why| if plain { Ok(None) } else { Err(unreachable(why)) })?;
        let tls = match tls {
            Ok(tls) => Some(tls),
            Err(_) if plain || own_tls.is_some() => None,
            Err(why) => return Err(unreachable(why)),
        };
        let who = tokio::sync::Mutex::default();
        Ok(Self { reference: reference.clone(), registry, credential, tls, own_tls, pause, who })
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
        let path = format!("/v2/{}/{what}", self.reference.repository);
        let url = Url { path, ..self.registry.clone() };
        let own = self.who.lock().await.clone();
        let mut answer = self.send(&method, &url, &headers, &own).await?;
        if answer.status == StatusCode::UNAUTHORIZED && answer.first {
            let challenge = answer.headers.get(WWW_AUTHENTICATE).and_then(|header| header.to_str().ok());
            let challenge = challenge.and_then(Challenge::parse);
            let who = self.answer(&url, challenge).await?;
            answer = self.send(&method, &url, &headers, &who).await?;
            *self.who.lock().await = who;
        }
        match answer.status {
            status if status.is_success() => Ok(answer),
            // Whom it leads on to knows nothing of the credential, nor of the image.
            status if !answer.first => {
                Err(self.unreachable(format!("{}, where it leads on to, answers {}", answer.host, status.as_u16())))
            }
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

    async fn send(&self, method: &Method, url: &Url, headers: &HeaderMap, who: &Who) -> Result<Answer, RegistryError> {
        let sent = exchange::send(&Asking { client: self, who }, method, url, headers).await;
        sent.map_err(|why| self.unreachable(why))
    }

    /// What says who asks, in the way that the registry wants.
    async fn answer(&self, url: &Url, challenge: Option<Challenge>) -> Result<Who, RegistryError> {
        match challenge {
            Some(Challenge::Bearer { realm, service }) => {
                // A token of the host's own needs nobody's leave.
                if let Some((credential, _)) = &self.credential
                    && !matches!(credential.place, Place::Basic { .. } | Place::Git { .. })
                {
                    return self.secret(url).await;
                }
                self.token(&realm, &service).await
            }
            _ if self.credential.is_some() => self.secret(url).await,
            Some(Challenge::Basic) => Err(self.denied("it wants a user and a password".into())),
            None => Err(self.denied("it answers 401, and does not say what it wants".into())),
        }
    }

    /// The header with the credential's secret, for a request that it is for. That the secret is for whoever gives out tokens is
    /// not enough: any registry may name them, and would get a token of the credential's for itself.
    async fn secret(&self, url: &Url) -> Result<Who, RegistryError> {
        let mut headers = HeaderMap::new();
        let Some((credential, all)) = &self.credential else { return Ok(Who::default()) };
        let failed = |why: String| RegistryError::Credential { name: credential.name.clone(), why };
        for server in [&self.registry, url] {
            goes_to(credential, server).map_err(failed)?;
        }
        let fit = fit(credential, url);
        if fit != Fit::Yes {
            return Err(failed(format!("it is not for this request: {}", fit.why_not())));
        }
        let secret =
            all.secret(credential).await.map_err(|error| failed(format!("its secret cannot be read: {error}")))?;
        put_secret(credential, &secret, &mut headers).ok_or_else(|| failed("its secret fits into no header".into()))?;
        Ok(Who { headers, is_secret: true })
    }

    /// A token, from where the registry says. What it may do is not the registry's to say: it reads this repository.
    async fn token(&self, realm: &str, service: &str) -> Result<Who, RegistryError> {
        #[derive(serde::Deserialize)]
        struct Token {
            token: Option<String>,
            access_token: Option<String>,
        }
        let scope = format!("repository:{}:pull", self.reference.repository);
        let url = Url::parse(&Challenge::token_url(realm, service, &scope));
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
        Ok(Who { headers: HeaderMap::from_iter([(AUTHORIZATION, header)]), is_secret: false })
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

/// Whether a credential's secret may go to this server; says why not.
fn goes_to(credential: &Credential, server: &Url) -> Result<(), String> {
    let name = server.authority();
    if !credential.is_for(&server.host, server.port) {
        return Err(format!("its `hosts` do not have {name}, which wants to know who asks; add it there"));
    }
    if !server.secure && !credential.goes_plain_to(&server.host) && !is_loopback(&server.host) {
        return Err(format!("it is not sent unencrypted to {name}; it needs `plain = true`"));
    }
    Ok(())
}

/// Whether a credential is for this request.
fn fit(credential: &Credential, url: &Url) -> Fit {
    let (path, query) = url.path.split_once('?').unwrap_or((&url.path, ""));
    // What git's requests are like is no matter here.
    if matches!(credential.place, Place::Git { .. }) { Fit::NotGit } else { credential.fits("GET", path, query) }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Headers of these names and values.
pub(super) fn headers(pairs: &[(HeaderName, String)]) -> HeaderMap {
    let pairs = pairs.iter().filter_map(|(name, value)| Some((name.clone(), HeaderValue::from_str(value).ok()?)));
    pairs.collect()
}
