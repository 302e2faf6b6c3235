//! The hosts a command speaks to, and finding things on them.

use std::{future::Future, time::Duration};

use futures::future::join_all;
use pilothouse_proto::hostd::v1::{
    AgentProfile, Environment, GetEnvironmentRequest, GetHostRequest, GetRequest, HostInfo, ListEnvironmentsRequest,
    ListProfilesRequest, ListRequest, Session, checks_client::ChecksClient, credentials_client::CredentialsClient,
    diffs_client::DiffsClient, environments_client::EnvironmentsClient, host_client::HostClient,
    repositories_client::RepositoriesClient, reviews_client::ReviewsClient, sessions_client::SessionsClient,
    spending_client::SpendingClient,
};
use tonic::{Response, Status, transport::Channel};

use super::{
    failure::{Failure, NOT_FOUND, UNREACHABLE, USAGE},
    format::plain,
    output, waiting,
};
use crate::client::HostAddress;

/// Longest wait for a host's answer about itself; what it is told to do may take longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Words of the waiting line while a host is asked.
const ASKING: &str = "waiting for the host's answer";

/// Largest answer that is taken from a host, in bytes: some ten thousand sessions.
const ANSWER_MAX: usize = 64 << 20;

/// A host and the connection to it.
#[derive(Debug)]
pub(crate) struct Host {
    /// Address of the host.
    pub(crate) address: HostAddress,
    channel: Channel,
}

/// All hosts that a command speaks to.
#[derive(Debug)]
pub(crate) struct Fleet {
    hosts: Vec<Host>,
}

/// A thing, and the host that has it.
#[derive(Debug)]
pub(crate) struct On<'a, T> {
    /// The host that has the thing.
    pub(crate) host: &'a Host,
    /// The thing itself.
    pub(crate) it: T,
}

impl Host {
    fn new(address: HostAddress) -> Self {
        let channel = address.channel();
        Self { address, channel }
    }

    /// Client of the host's sessions.
    pub(crate) fn sessions(&self) -> SessionsClient<Channel> {
        SessionsClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_MAX)
    }

    /// Client of the host's environments.
    pub(crate) fn environments(&self) -> EnvironmentsClient<Channel> {
        EnvironmentsClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_MAX)
    }

    /// Client of the host's pull requests.
    pub(crate) fn reviews(&self) -> ReviewsClient<Channel> {
        ReviewsClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_MAX)
    }

    /// Client of the host's checks.
    pub(crate) fn checks(&self) -> ChecksClient<Channel> {
        ChecksClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_MAX)
    }

    /// Client of the host's credentials.
    pub(crate) fn credentials(&self) -> CredentialsClient<Channel> {
        CredentialsClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_MAX)
    }

    /// Client of what models' answers took.
    pub(crate) fn spending(&self) -> SpendingClient<Channel> {
        SpendingClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_MAX)
    }

    /// Client of the host's repositories.
    pub(crate) fn repositories(&self) -> RepositoriesClient<Channel> {
        RepositoriesClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_MAX)
    }

    /// Client of the host's differences.
    pub(crate) fn diffs(&self) -> DiffsClient<Channel> {
        DiffsClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_MAX)
    }

    /// Client of what the host says of itself.
    pub(crate) fn host(&self) -> HostClient<Channel> {
        HostClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_MAX)
    }

    /// The failure of a call to the host.
    pub(crate) fn failure(&self, status: &Status) -> Failure {
        Failure::from_status(&self.address, status)
    }

    /// What the host says of itself.
    pub(crate) async fn info(&self) -> Result<HostInfo, Failure> {
        let mut client = self.host();
        self.ask(client.get(GetHostRequest {})).await
    }

    /// Name of the host on screen: the configured one, else what it calls itself, else its address.
    pub(crate) async fn name(&self) -> String {
        if !self.address.is_nameless() {
            return self.address.name.clone();
        }
        match self.info().await {
            Ok(info) if !info.name.is_empty() => plain(&info.name),
            _ => self.address.name.clone(),
        }
    }

    /// Waits for an answer of the host, but not for ever.
    pub(crate) async fn ask<T>(&self, call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Failure> {
        let patience = self.address.patience(PATIENCE);
        match tokio::time::timeout(patience, call).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(self.failure(&status)),
            Err(_) => {
                let name = &self.address.name;
                Err(Failure::new(UNREACHABLE, format!("{name} did not answer within {} s", patience.as_secs())))
            }
        }
    }

    /// The agent profiles of the host.
    pub(crate) async fn profiles(&self) -> Result<Vec<AgentProfile>, Failure> {
        let mut client = self.environments();
        Ok(self.ask(client.list_profiles(ListProfilesRequest {})).await?.profiles)
    }

    async fn sessions_list(&self) -> Result<Vec<Session>, Failure> {
        let mut client = self.sessions();
        Ok(self.ask(client.list(ListRequest {})).await?.sessions)
    }

    async fn environments_list(&self) -> Result<Vec<Environment>, Failure> {
        let mut client = self.environments();
        Ok(self.ask(client.list(ListEnvironmentsRequest {})).await?.environments)
    }
}

impl Fleet {
    /// The fleet of these hosts; nothing is connected yet.
    pub(crate) fn new(hosts: Vec<HostAddress>) -> Self {
        Self { hosts: hosts.into_iter().map(Host::new).collect() }
    }

    /// All hosts of the fleet.
    pub(crate) fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The sessions of every host that answers, with the host's name, by [`Fleet::gather`].
    pub(crate) async fn sessions(&self) -> Result<Vec<On<'_, (String, Vec<Session>)>>, Failure> {
        self.gather(async |host: &Host| Ok((host.name().await, host.sessions_list().await?))).await
    }

    /// The environments of every host that answers, with the host's name, by [`Fleet::gather`].
    pub(crate) async fn environments(&self) -> Result<Vec<On<'_, (String, Vec<Environment>)>>, Failure> {
        self.gather(async |host: &Host| Ok((host.name().await, host.environments_list().await?))).await
    }

    /// Asks every host the question. Those that do not answer are told on stderr; if none does, that is the failure.
    pub(crate) async fn gather<'a, T>(
        &'a self,
        question: impl AsyncFn(&'a Host) -> Result<T, Failure>,
    ) -> Result<Vec<On<'a, T>>, Failure> {
        let mut answers = Vec::new();
        let mut failures = Vec::new();
        let asked = waiting::shown(ASKING, join_all(self.hosts.iter().map(|host| question(host)))).await;
        for (host, answer) in self.hosts.iter().zip(asked) {
            match answer {
                Ok(it) => answers.push(On { host, it }),
                Err(failure) => failures.push(failure),
            }
        }
        if answers.is_empty()
            && let Some(failure) = failures.pop()
        {
            failures.iter().for_each(|other| output::note(&format!("error: {}", other.message)));
            return Err(failure);
        }
        failures.iter().for_each(|failure| output::note(&format!("warning: {}", failure.message)));
        Ok(answers)
    }

    /// Finds the session of this id, prefix or slug, wherever it is.
    pub(crate) async fn session(&self, id: &str) -> Result<On<'_, Session>, Failure> {
        let request = || GetRequest { id: id.to_owned() };
        let found = join_all(self.hosts.iter().map(|host| {
            let mut client = host.sessions();
            async move { host.ask(client.get(request())).await }
        }));
        let mut answers = waiting::shown(ASKING, found).await;
        // A whole name beats a prefix of another, also where on another host it is one of several.
        if answers.iter().flatten().any(|session| is_exactly(session, id)) {
            for answer in &mut answers {
                if answer.as_ref().map_or_else(|failure| failure.exit == USAGE, |session| !is_exactly(session, id)) {
                    *answer = Err(Failure::new(NOT_FOUND, ""));
                }
            }
        }
        let found = self.found(answers)?;
        self.single(found, &format!("session `{}`", plain(id)), |session| session.slug.clone())
    }

    /// Finds the environment of this name, on the one host that has it.
    pub(crate) async fn environment(&self, name: &str) -> Result<On<'_, Environment>, Failure> {
        let asked = async |host: &Host| {
            host.ask(host.environments().get(GetEnvironmentRequest { name: name.to_owned() })).await
        };
        self.find(&format!("environment `{}`", plain(name)), asked, |environment| environment.name.clone()).await
    }

    /// Finds what `question` finds on exactly one host.
    pub(crate) async fn find<'a, T>(
        &'a self,
        what: &str,
        question: impl AsyncFn(&'a Host) -> Result<T, Failure>,
        name: impl Fn(&T) -> String,
    ) -> Result<On<'a, T>, Failure> {
        let answers = waiting::shown(ASKING, join_all(self.hosts.iter().map(|host| question(host)))).await;
        self.single(self.found(answers)?, what, name)
    }

    /// The only host of the fleet, for what must happen on one.
    pub(crate) fn only(&self, what: &str) -> Result<&Host, Failure> {
        match &self.hosts[..] {
            [host] => Ok(host),
            hosts => {
                let names = hosts.iter().map(|host| host.address.name.as_str()).collect::<Vec<_>>().join(", ");
                Err(Failure::usage(format!("{what} on which host?")).hint(format!("say --host with one of: {names}")))
            }
        }
    }

    /// Sorts answers: returns what was found; else the most telling failure. A host that does not answer might have it, so then
    /// nothing is called missing.
    fn found<T>(&self, answers: Vec<Result<T, Failure>>) -> Result<Vec<On<'_, T>>, Failure> {
        let mut found = Vec::new();
        let mut failures: Vec<Failure> = Vec::new();
        for (host, answer) in self.hosts.iter().zip(answers) {
            match answer {
                Ok(it) => found.push(On { host, it }),
                Err(failure) => failures.push(failure),
            }
        }
        let unclear = failures.iter().position(|failure| !matches!(failure.exit, NOT_FOUND | UNREACHABLE));
        let unreachable = failures.iter().position(|failure| failure.exit == UNREACHABLE);
        match unclear {
            Some(at) => Err(failures.swap_remove(at)),
            None if found.is_empty() && !failures.is_empty() => Err(failures.swap_remove(unreachable.unwrap_or(0))),
            None => Ok(found),
        }
    }

    fn single<'a, T>(
        &self,
        mut found: Vec<On<'a, T>>,
        what: &str,
        name: impl Fn(&T) -> String,
    ) -> Result<On<'a, T>, Failure> {
        if found.len() > 1 {
            let places = found.iter().map(|on| format!("{} on {}", plain(&name(&on.it)), on.host.address.name));
            let places = places.collect::<Vec<_>>().join(", ");
            return Err(Failure::usage(format!("{what} is ambiguous: {places}")).hint("say --host to mean one"));
        }
        found.pop().ok_or_else(|| Failure::new(NOT_FOUND, format!("there is no {what}")))
    }
}

fn is_exactly(session: &Session, id: &str) -> bool {
    session.slug == id || session.id.eq_ignore_ascii_case(id)
}
