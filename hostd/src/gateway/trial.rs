//! A credential, tried: one request to each of its hosts, as a guest's would go.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hostd_core::credentials::Credential;
use http_body_util::Empty;
use hyper::{Request, client::conn::http1, header::HOST};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::{
    Gateway,
    caller::Caller,
    credentials::put,
    egress::{self, Destination},
    inspected::causes,
    leave::with_leave,
    outer::{Connector, Way},
};

/// Longest time for a host to answer.
const WITHIN: Duration = Duration::from_secs(8);

impl Gateway {
    /// Asks each host of the credential for its path; answers with the status of HTTP, or with what went wrong. Hosts of a wildcard
    /// are not known.
    pub async fn try_credential(&self, credential: &Arc<Credential>) -> Vec<(String, Result<u16, String>)> {
        let hosts = credential.hosts.iter().filter(|host| !host.wildcard);
        let tried = hosts.map(|pattern| async move {
            let destination = Destination { host: pattern.host.clone(), port: pattern.port };
            let tried = async {
                let encrypted =
                    if credential.plain { None } else { Some(self.try_host(credential, &destination, true).await) };
                match encrypted {
                    Some(answered) if answered.is_ok() || !credential.goes_plain_to(&destination.host) => answered,
                    _ => self.try_host(credential, &destination, false).await,
                }
            };
            let answered = timeout(WITHIN, tried).await;
            let answered = answered.unwrap_or_else(|_| Err(format!("no answer within {} s", WITHIN.as_secs())));
            (pattern.to_string(), answered)
        });
        futures::future::join_all(tried).await
    }

    async fn try_host(
        &self,
        credential: &Arc<Credential>,
        destination: &Destination,
        encrypted: bool,
    ) -> Result<u16, String> {
        let all = self.credentials.as_ref().ok_or("this host has no credentials")?;
        let secret = all.secret(credential).await.map_err(|error| error.to_string())?;
        let caller = Caller::nowhere("credential", "credential", "credential");
        let caller = with_leave(&caller, destination, std::slice::from_ref(credential));
        // A credential is all that leads anywhere here: the host bounds nothing of it.
        let stream = egress::connect(&caller, destination, None).await.map_err(|error| {
            // The text is for a guest's recipe.
            error.to_string().trim_start_matches("pilothouse: ").to_owned()
        })?;
        let settings = encrypted.then(|| self.outer_tls.settings(credential.ca.as_deref())).transpose()?;
        let connector = Connector::new(Way { caller, local: None }, destination.clone(), settings, stream);
        let io = connector.http1().await.map_err(|error| causes(&error))?;
        let (mut sender, connection) = http1::handshake(io).await.map_err(|error| causes(&error))?;
        let _driver = AbortOnDropHandle::new(tokio::spawn(connection));
        let path = if credential.path.is_empty() { "/" } else { &credential.path };
        let request = Request::builder().uri(path).header(HOST, host_of(destination, encrypted));
        let mut request = request.body(Empty::<Bytes>::new()).map_err(|error| causes(&error))?;
        put(credential, &secret, request.headers_mut()).ok_or("the secret fits into no header")?;
        let response = sender.send_request(request).await.map_err(|error| causes(&error))?;
        Ok(response.status().as_u16())
    }
}

fn host_of(destination: &Destination, encrypted: bool) -> String {
    let (all, default) = (destination.to_string(), if encrypted { 443 } else { 80 });
    if destination.port == default { all.trim_end_matches(&format!(":{default}")).into() } else { all }
}
