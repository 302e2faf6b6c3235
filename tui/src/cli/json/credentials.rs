//! Credentials as scripts see them.

use pilothouse_proto::hostd::v1 as api;
use serde::Serialize;

use super::some;

/// A credential, as `credential ls` prints it.
#[derive(Serialize)]
pub(crate) struct Credential<'a> {
    name: &'a str,
    hosts: &'a [String],
    place: &'a str,
    source: &'a str,
    path: Option<&'a str>,
    environments: &'a [String],
    variables: &'a [String],
    readable: bool,
    problem: Option<&'a str>,
}

impl<'a> Credential<'a> {
    pub(crate) fn new(one: &'a api::Credential) -> Self {
        Self {
            name: &one.name,
            hosts: &one.hosts,
            place: &one.place,
            source: &one.source,
            path: some(&one.path),
            environments: &one.environments,
            variables: &one.variables,
            readable: one.readable,
            problem: some(&one.problem),
        }
    }
}

/// A credential that was tried, as `credential check` prints it.
#[derive(Serialize)]
pub(crate) struct CheckedCredential<'a> {
    #[serde(flatten)]
    credential: Option<Credential<'a>>,
    answers: Vec<Answer<'a>>,
}

#[derive(Serialize)]
struct Answer<'a> {
    host: &'a str,
    status: Option<u32>,
    problem: Option<&'a str>,
}

impl<'a> CheckedCredential<'a> {
    pub(crate) fn new(checked: &'a api::CheckCredentialResponse) -> Self {
        let answer = |it: &'a api::HostAnswer| Answer {
            host: &it.host,
            status: Some(it.status).filter(|status| *status != 0),
            problem: some(&it.problem),
        };
        Self {
            credential: checked.credential.as_ref().map(Credential::new),
            answers: checked.answers.iter().map(answer).collect(),
        }
    }
}
