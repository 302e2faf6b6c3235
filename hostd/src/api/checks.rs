use futures::stream;
use hostd_core::{
    checks::{Check, CheckState},
    ci::Key,
};
use pilothouse_proto::hostd::v1::{
    CheckLogRequest, CheckLogResponse, ListChecksRequest, ListChecksResponse, ReportCheckRequest, ReportCheckResponse,
    RerunChecksRequest, RerunChecksResponse, checks_server::Checks,
};
use tonic::{Code, Request, Response, Status, async_trait};

use super::{
    Api, pulls,
    status::{forge as failed, invalid, status},
    streams::{Answers, until_closing},
};
use crate::{ci::RerunError, forge::Report};

/// Largest piece of a log in one message, in bytes.
const PIECE: usize = 64 << 10;

#[async_trait]
impl Checks for Api {
    type CheckLogStream = Answers<CheckLogResponse>;

    async fn list_checks(&self, request: Request<ListChecksRequest>) -> Result<Response<ListChecksResponse>, Status> {
        let ListChecksRequest { pull, repository, commit } = request.into_inner();
        let (repository, commit, checks) = self.checks_of(&pull, &repository, &commit).await?;
        let rules = self.forge.rules(&repository).await.map_err(failed)?;
        let checks = checks.iter().map(|check| pulls::check(check, rules.required_checks.contains(&check.name)));
        Ok(Response::new(ListChecksResponse { checks: checks.collect(), commit }))
    }

    async fn check_log(&self, request: Request<CheckLogRequest>) -> Result<Response<Self::CheckLogStream>, Status> {
        let CheckLogRequest { pull, repository, commit, name, follow } = request.into_inner();
        let (repository, commit, checks) = self.checks_of(&pull, &repository, &commit).await?;
        let check = choose(&checks, &name, &commit)?;
        let key = Key { repository: repository.clone(), commit, name: check.name.clone() };
        if let Some(log) = self.ci.log(&key) {
            let pieces = stream::unfold((log, 0), move |(log, mut offset)| async move {
                let data = log.next(&mut offset, follow).await?;
                Some((Ok(CheckLogResponse { data }), (log, offset)))
            });
            return Ok(Response::new(until_closing(pieces, &self.closing)));
        }
        let Some(log) = self.forge.log(&repository, check).await.map_err(failed)? else {
            let elsewhere = match check.url.as_str() {
                "" => "whoever reported it gave none".to_owned(),
                url => format!("read it at {url}"),
            };
            let text = format!("no log of `{}` is kept here; {elsewhere}", check.name);
            return Err(status(Code::NotFound, "NO_LOG", text));
        };
        let log = bytes::Bytes::from(log);
        let starts = (0..log.len()).step_by(PIECE);
        let pieces =
            starts.map(move |from| Ok(CheckLogResponse { data: log.slice(from..log.len().min(from + PIECE)) }));
        Ok(Response::new(until_closing(stream::iter(pieces), &self.closing)))
    }

    async fn rerun_checks(
        &self,
        request: Request<RerunChecksRequest>,
    ) -> Result<Response<RerunChecksResponse>, Status> {
        let RerunChecksRequest { pull, repository, commit, name } = request.into_inner();
        let (repository, commit, _) = self.checks_of(&pull, &repository, &commit).await?;
        let name = Some(name.as_str()).filter(|name| !name.is_empty());
        let names = self.ci.rerun(&repository, &commit, name).await.map_err(|error| match error {
            RerunError::NotOurs { .. } => status(Code::FailedPrecondition, "CHECK_NOT_OURS", error.to_string()),
            RerunError::NothingBad => status(Code::FailedPrecondition, "NOTHING_BAD", error.to_string()),
            RerunError::Forge(error) => failed(error),
        })?;
        Ok(Response::new(RerunChecksResponse { names }))
    }

    async fn report_check(
        &self,
        request: Request<ReportCheckRequest>,
    ) -> Result<Response<ReportCheckResponse>, Status> {
        let ReportCheckRequest { repository, commit, name, state, url, summary, log } = request.into_inner();
        let state = CheckState::from_word(&state).ok_or_else(|| {
            let words = CheckState::ALL.map(CheckState::word).join(", ");
            invalid(format!("{state:?} is no state of a check; say one of {words}"))
        })?;
        let log = Some(log.to_vec()).filter(|log| !log.is_empty());
        let report = Report { name, state, summary, url, log };
        let changed = self.forge.report(&repository, &commit, report).await.map_err(failed)?;
        Ok(Response::new(ReportCheckResponse { changed }))
    }
}

impl Api {
    /// The checks of a pull request's head, or of a commit, with the repository's name and the commit's id before them.
    async fn checks_of(
        &self,
        pull: &str,
        repository: &str,
        commit: &str,
    ) -> Result<(String, String, Vec<Check>), Status> {
        let forge = &self.forge;
        if !pull.is_empty() {
            let whole = forge.pull(&self.pull_id(pull).await?).await.map_err(failed)?;
            return Ok((whole.pull.repository.clone(), whole.pull.head().into(), whole.checks));
        }
        if repository.is_empty() || commit.is_empty() {
            return Err(invalid("say a pull request, or a repository and a commit"));
        }
        let commit = forge.commit(repository, commit).await.map_err(failed)?;
        let checks = forge.checks(repository, &commit).await.map_err(failed)?;
        Ok((repository.into(), commit, checks))
    }
}

// tonic's type of errors.
#[allow(clippy::result_large_err)]
fn choose<'a>(checks: &'a [Check], name: &str, commit: &str) -> Result<&'a Check, Status> {
    let names = || checks.iter().map(|check| check.name.as_str()).collect::<Vec<_>>().join(", ");
    let none = |text: String| status(Code::NotFound, "CHECK_NOT_FOUND", text);
    match checks {
        [] => Err(none(format!("no check of {commit} was reported"))),
        [only] if name.is_empty() => Ok(only),
        _ if name.is_empty() => Err(invalid(format!("which check? say one of {}", names()))),
        _ => {
            let found = checks.iter().find(|check| check.name == name);
            found.ok_or_else(|| none(format!("there is no check `{name}`; there are {}", names())))
        }
    }
}
