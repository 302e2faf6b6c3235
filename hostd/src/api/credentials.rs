use hostd_core::credentials::Credential;
use pilothouse_proto::hostd::v1::{
    self as wire, CheckCredentialRequest, CheckCredentialResponse, HostAnswer, ListCredentialsRequest,
    ListCredentialsResponse, credentials_server::Credentials,
};
use tonic::{Code, Request, Response, Status, async_trait};

use super::{Api, status::status};

#[async_trait]
impl Credentials for Api {
    async fn list(&self, _: Request<ListCredentialsRequest>) -> Result<Response<ListCredentialsResponse>, Status> {
        let mut credentials = vec![];
        for one in self.credentials.all() {
            credentials.push(self.described(&one).await);
        }
        let path = self.credentials.path().display().to_string();
        let problem = self.credentials.problem().unwrap_or_default();
        Ok(Response::new(ListCredentialsResponse { credentials, path, problem }))
    }

    async fn check(
        &self,
        request: Request<CheckCredentialRequest>,
    ) -> Result<Response<CheckCredentialResponse>, Status> {
        let name = request.into_inner().name;
        let Some(one) = self.credentials.all().into_iter().find(|one| one.name == name) else {
            let path = self.credentials.path().display();
            let text = format!("there is no credential {name:?} in {path}; `pilothouse credential ls` lists them");
            return Err(status(Code::NotFound, "CREDENTIAL_NOT_FOUND", text));
        };
        let credential = self.described(&one).await;
        let mut answers = vec![];
        if credential.readable {
            for (host, answer) in self.gateway.try_credential(&one).await {
                let (status, problem) = match answer {
                    Ok(status) => (status.into(), String::new()),
                    Err(problem) => (0, problem),
                };
                answers.push(HostAnswer { host, status, problem });
            }
        }
        Ok(Response::new(CheckCredentialResponse { credential: Some(credential), answers }))
    }
}

impl Api {
    async fn described(&self, one: &Credential) -> wire::Credential {
        let problem = self.credentials.secret(one).await.err().map(|error| error.to_string());
        let named = self.environments.list().into_iter().filter(|it| it.credentials.contains(&one.name));
        wire::Credential {
            name: one.name.clone(),
            hosts: one.hosts.iter().map(ToString::to_string).collect(),
            place: one.place_words(),
            source: one.source.words(),
            path: one.path.clone(),
            environments: named.map(|it| it.name).filter(|name| one.allows(name)).collect(),
            variables: one.variables.keys().cloned().collect(),
            readable: problem.is_none(),
            problem: problem.unwrap_or_default(),
        }
    }
}
