//! Which requests get which secret, and where it goes. What is not here puts no secret anywhere.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hostd_core::credentials::{Credential, Place, best};
use hyper::{
    Request, Response, StatusCode,
    header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue},
};
use zeroize::Zeroizing;

use super::{
    Gateway,
    caller::{Access, Caller},
    egress::{self, Destination},
    response::{self, Body},
};
use crate::{credentials::Secret, guest::Trust};

/// Headers by which programs say who they are. Where a credential's secret goes into one of them, a stand-in in another would
/// be a second, wrong answer.
const WHO: [&str; 4] = ["authorization", "x-api-key", "api-key", "x-goog-api-key"];

impl Gateway {
    /// What a guest is told at the handshake that has this access: whom to trust, and stand-ins for secrets. None: nothing.
    #[must_use]
    pub fn trust(&self, access: &Access, environment: &str) -> Option<Trust> {
        let authority = access.authority.as_ref()?;
        let named = self.named(access, environment);
        let variables = named.iter().flat_map(|one| one.variables.clone()).collect();
        Some(Trust { certificate: authority.certificate().into(), variables })
    }

    /// Credentials of the caller for this destination.
    pub(super) fn held(&self, caller: &Caller, destination: &Destination) -> Vec<Arc<Credential>> {
        let mut held = self.named(&caller.access, &caller.environment);
        held.retain(|one| one.is_for(&destination.host, destination.port));
        held
    }

    fn named(&self, access: &Access, environment: &str) -> Vec<Arc<Credential>> {
        self.credentials.as_ref().map_or_else(Vec::new, |all| all.named(&access.credentials, environment))
    }

    /// Gives a request to this destination the secret of the credential that it fits, and returns that. A request that fits none
    /// goes without, where the recipe lists the destination and lets through what is spoken: TLS where it came encrypted, or else HTTP.
    ///
    /// # Errors
    /// The refusal of the request.
    pub(super) async fn equip<B>(
        &self,
        caller: &Caller,
        destination: &Destination,
        held: &[Arc<Credential>],
        encrypted: bool,
        request: &mut Request<B>,
    ) -> Result<Option<Arc<Credential>>, Box<Response<Body>>> {
        let refused = |status, text: String| Box::new(response::text(status, &text));
        let of_host = (destination.host.as_str(), destination.port);
        let uri = request.uri();
        let asked = (request.method().as_str(), uri.path(), uri.query().unwrap_or_default());
        let fit = if held.is_empty() { Err("it has no credential any more") } else { Ok(()) };
        let fit = fit.and_then(|()| best(held, of_host, asked).map_err(|fit| fit.why_not()));
        let credential = match fit {
            Ok(credential) => credential.clone(),
            Err(_) if egress::listed_for_http(caller, destination, encrypted) => return Ok(None),
            Err(why) => {
                let text = format!(
                    "pilothouse: {destination} is reached by credentials of {} alone, and this request is not: {why}; to \
                     allow it without a secret, add \"{destination}\" to egress in the recipe of `{}`",
                    caller.slug, caller.environment
                );
                return Err(refused(StatusCode::FORBIDDEN, text));
            }
        };
        let Some(all) = &self.credentials else { return Ok(None) };
        let secret = all.secret(&credential).await.map_err(|error| {
            tracing::error!(credential = credential.name, "its secret cannot be read: {error}");
            let text = format!(
                "pilothouse: the secret of the credential `{0}` cannot be read on the host; see `pilothouse credential check {0}`",
                credential.name
            );
            refused(StatusCode::BAD_GATEWAY, text)
        })?;
        put(&credential, &secret, request.headers_mut())
            .ok_or_else(|| refused(StatusCode::BAD_GATEWAY, "pilothouse: the secret fits into no header".into()))?;
        Ok(Some(credential))
    }
}

/// Puts the secret into its place, over whatever is there; None: it does not fit.
pub(crate) fn put(credential: &Credential, secret: &Secret, headers: &mut HeaderMap) -> Option<()> {
    let (name, value) = match &credential.place {
        Place::Header(name) => (HeaderName::try_from(name.as_str()).ok()?, Zeroizing::new(secret.bytes().to_vec())),
        Place::Bearer => (AUTHORIZATION, joined(b"Bearer ", secret.bytes())),
        Place::Basic { user } | Place::Git { user, .. } => {
            let both = joined(format!("{user}:").as_bytes(), secret.bytes());
            let mut value = Zeroizing::new(String::with_capacity(6 + both.len().div_ceil(3) * 4));
            value.push_str("Basic ");
            STANDARD.encode_string(&*both, &mut value);
            (AUTHORIZATION, Zeroizing::new(value.as_bytes().to_vec()))
        }
    };
    let mut value = HeaderValue::from_bytes(&value).ok()?;
    // It is not printed then, and not kept in HTTP/2's tables.
    value.set_sensitive(true);
    remove_stand_ins(credential, headers);
    headers.insert(name, value);
    Some(())
}

fn joined(before: &[u8], secret: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut all = Zeroizing::new(Vec::with_capacity(before.len() + secret.len()));
    all.extend_from_slice(before);
    all.extend_from_slice(secret);
    all
}

/// Removes what says with a stand-in of the credential who the guest is.
fn remove_stand_ins(credential: &Credential, headers: &mut HeaderMap) {
    let is_stand_in = |value: &HeaderValue| {
        let value = value.as_bytes();
        let mut values = credential.variables.values().filter(|known| !known.is_empty() && known.len() <= value.len());
        values.any(|known| value.windows(known.len()).any(|part| part == known.as_bytes()))
    };
    for name in WHO {
        if headers.get_all(name).iter().any(is_stand_in) {
            headers.remove(name);
        }
    }
}
