//! The local forge for guests: git's smart HTTP protocol, by the real `git http-backend`.

use std::path::Path;

use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap},
};
use tokio::process::Command;

use super::{
    Caller, Gateway,
    cgi::{self, AfterExit},
    response::{self, Body},
};
use crate::forge::{self, PREFIX_VARIABLE, SLUG_VARIABLE};

/// One of the four requests of the smart protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Operation {
    push: bool,
    /// The listing of refs that comes first, and not the transfer.
    advertise: bool,
}

impl Operation {
    fn of(method: &Method, rest: &str, query: Option<&str>) -> Option<Self> {
        let (push, advertise) = match (method, rest, query) {
            (&Method::GET, "info/refs", Some("service=git-upload-pack")) => (false, true),
            (&Method::GET, "info/refs", Some("service=git-receive-pack")) => (true, true),
            (&Method::POST, "git-upload-pack", None) => (false, false),
            (&Method::POST, "git-receive-pack", None) => (true, false),
            _ => return None,
        };
        Some(Self { push, advertise })
    }

    fn service(self) -> &'static str {
        if self.push { "git-receive-pack" } else { "git-upload-pack" }
    }
}

pub(super) async fn answer(gateway: &Gateway, caller: &Caller, request: Request<Incoming>) -> Response<Body> {
    match prepare(gateway, caller, &request).await {
        Ok(command) => {
            let Some(permit) = gateway.git_permit(&caller.session_id).await else {
                let text = "pilothouse: git is busy with other transfers of this host; try again in a minute";
                return response::text(StatusCode::SERVICE_UNAVAILABLE, text);
            };
            let (then, too_long) = match is_push(&request) {
                true => (gateway.after_push(caller).await, Some(too_long(gateway))),
                false => (AfterExit::nothing(), None),
            };
            cgi::run(&command, request.into_body(), &caller.slug, then, permit, too_long).await
        }
        Err((status, text)) => {
            tracing::info!(caller = caller.slug, "refused: {text}");
            response::text(status, &format!("pilothouse: {text}"))
        }
    }
}

fn is_push(request: &Request<Incoming>) -> bool {
    request.method() == Method::POST && request.uri().path().ends_with("/git-receive-pack")
}

fn too_long(gateway: &Gateway) -> String {
    let most = longest_push(gateway).unwrap_or(0) >> 20;
    format!("pilothouse: a push may be {most} MiB long; push fewer commits at a time, and keep large files out of git")
}

/// The git command that answers the request, or why there is none.
async fn prepare(
    gateway: &Gateway,
    caller: &Caller,
    request: &Request<Incoming>,
) -> Result<Command, (StatusCode, String)> {
    let path = request.uri().path().strip_prefix("/git/").unwrap_or_default();
    let Some((name, rest)) = path.split_once(".git/") else {
        return Err((StatusCode::NOT_FOUND, "repositories are at /git/NAME.git".into()));
    };
    let own = caller.repository.as_deref() == Some(name);
    if !own && !caller.also_read.iter().any(|also| also == name) {
        return Err((StatusCode::FORBIDDEN, may_not_read(caller, name)));
    }
    let Some(operation) = Operation::of(request.method(), rest, request.uri().query()) else {
        return Err((StatusCode::NOT_FOUND, "only git's smart HTTP protocol is spoken here; update your git".into()));
    };
    let Some(repository) = gateway.mirror.repository(name) else {
        return Err((StatusCode::NOT_FOUND, format!("the repository `{name}` is not on this host any more")));
    };
    if operation.push && !own {
        return Err((StatusCode::FORBIDDEN, format!("{} may read `{name}`, and not push to it", caller.slug)));
    }
    let mut command = http_backend(gateway, &repository, name, operation);
    pass_headers(&mut command, request.headers(), operation)?;
    command.env("REMOTE_USER", &caller.slug).env("REMOTE_ADDR", &caller.slug);
    if operation.push {
        allow_push(gateway, caller, &mut command, &repository).await?;
    } else {
        let settings = [
            ("uploadpack.allowFilter", "true"),
            ("uploadpack.allowReachableSHA1InWant", "true"),
            ("http.receivepack", "false"),
        ];
        forge::trust(&mut command, &repository, &[&settings[..], &forge::BOUNDS[..]].concat());
    }
    Ok(command)
}

fn may_not_read(caller: &Caller, name: &str) -> String {
    let (slug, name): (_, String) = (&caller.slug, name.chars().take(64).collect());
    match &caller.repository {
        None => format!("{slug} may read no repository; {name:?} was refused"),
        Some(own) => format!(
            "{slug} may read the repository `{own}` only; {name:?} was refused; to allow it, add `read = [{name:?}]` to \
             `repository` in the recipe of environment `{}` and build it again",
            caller.environment
        ),
    }
}

fn http_backend(gateway: &Gateway, repository: &Path, name: &str, operation: Operation) -> Command {
    let mut command = forge::git(repository);
    command
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", gateway.mirror.root())
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GATEWAY_INTERFACE", "CGI/1.1")
        .env("SERVER_PROTOCOL", "HTTP/1.1");
    let service = operation.service();
    if operation.advertise {
        command.env("REQUEST_METHOD", "GET").env("PATH_INFO", format!("/{name}.git/info/refs"));
        command.env("QUERY_STRING", format!("service={service}"));
    } else {
        command.env("REQUEST_METHOD", "POST").env("PATH_INFO", format!("/{name}.git/{service}"));
        command.env("QUERY_STRING", "").env("CONTENT_TYPE", format!("application/x-{service}-request"));
    }
    command
}

/// Gives git the few headers of the guest's that it needs, and only if they are what they should be.
fn pass_headers(command: &mut Command, headers: &HeaderMap, operation: Operation) -> Result<(), (StatusCode, String)> {
    if let Some(protocol) = headers.get("git-protocol") {
        let known = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"=:.".contains(b);
        let value = protocol.to_str().ok().filter(|value| value.len() <= 64 && value.as_bytes().iter().all(known));
        if let Some(value) = value {
            command.env("GIT_PROTOCOL", value);
        }
    }
    if operation.advertise {
        return Ok(());
    }
    let expected = format!("application/x-{}-request", operation.service());
    if headers.get(CONTENT_TYPE).is_none_or(|value| value.as_bytes() != expected.as_bytes()) {
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("the content type must be {expected}")));
    }
    match headers.get(CONTENT_ENCODING).map(|value| value.as_bytes()) {
        None | Some(b"identity") => {}
        Some(b"gzip" | b"x-gzip") => {
            command.env("HTTP_CONTENT_ENCODING", "gzip");
        }
        Some(_) => {
            return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "the content encoding must be gzip or none".into()));
        }
    }
    // hyper has checked it; without one (chunked) git reads to the end.
    if let Some(length) = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()) {
        command.env("CONTENT_LENGTH", length);
    }
    Ok(())
}

/// A push is judged by the pre-receive hook, ref by ref.
async fn allow_push(
    gateway: &Gateway,
    caller: &Caller,
    command: &mut Command,
    repository: &Path,
) -> Result<(), (StatusCode, String)> {
    let Some(prefix) = caller.branch_prefix.as_deref().filter(|prefix| !prefix.is_empty()) else {
        return Err((StatusCode::FORBIDDEN, format!("{} may not push", caller.slug)));
    };
    let hooks = gateway.hooks().await.map_err(|error| {
        tracing::error!(%error, "the hook that guards branches does not run; pushes are refused");
        (StatusCode::INTERNAL_SERVER_ERROR, "the hook that guards branches does not run on the host".into())
    })?;
    let Some(hooks) = hooks.to_str() else {
        return Err((StatusCode::INTERNAL_SERVER_ERROR, "the host's data folder has a name that is not UTF-8".into()));
    };
    let most = longest_push(gateway)?.to_string();
    command.env(PREFIX_VARIABLE, prefix).env(SLUG_VARIABLE, &caller.slug);
    let settings = [
        ("core.hooksPath", hooks),
        ("http.receivepack", "true"),
        ("receive.maxInputSize", most.as_str()),
        // Pull requests read from it what was pushed, and what a force-push replaced.
        ("core.logAllRefUpdates", "always"),
        // In the background it would outlive the process that we watch.
        ("gc.autoDetach", "false"),
        ("maintenance.autoDetach", "false"),
    ];
    forge::trust(command, repository, &[&settings[..], &forge::FSCK[..], &forge::BOUNDS[..]].concat());
    Ok(())
}

/// Longest pack that may be pushed now, in bytes: as the limit allows and the disk has room for, beside what it keeps free.
fn longest_push(gateway: &Gateway) -> Result<u64, (StatusCode, String)> {
    // A disk that cannot be measured does not stand in the way.
    let Some(disk) = (gateway.disk)(gateway.mirror.root()) else { return Ok(gateway.push_bytes) };
    match disk.below_reserve() {
        Some(why) => Err((StatusCode::INSUFFICIENT_STORAGE, format!("the push was refused: {why}"))),
        None => Ok(gateway.push_bytes.min(disk.free())),
    }
}
