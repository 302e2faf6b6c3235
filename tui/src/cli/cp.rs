//! `cp`: files and folders into a session's VM and out of it.

mod channel;
mod ended;

use std::{
    io::{BufReader, BufWriter},
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use pilothouse_copy::{Options, Place, Tally, receive, send};
use pilothouse_proto::hostd::v1::{
    ExecRequest, ExecResponse, ExecStart, Session, exec_request::Request, exec_response::Response,
};
use serde::Serialize;
use tokio::{
    sync::mpsc,
    time::{interval, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::{Status, Streaming};

use self::{
    channel::{Incoming, Outgoing},
    ended::{Ended, failed},
};
use super::{
    args::{Cp, Side},
    failure::{Failure, Outcome},
    fleet::{Fleet, On},
    format::{bytes, plain},
    output,
    terminal::{Signals, exit_code_of},
    waiting,
};

/// The guest's end, which every VM has.
const PROGRAM: &str = "/run/pilothouse/bin/session";
/// Most parts that may be under way, of at most [`BUFFER`] bytes each.
const UNDER_WAY: usize = 4;
/// Bytes that are gathered before they are passed on.
const BUFFER: usize = 64 << 10;
/// Longest wait after a signal for a file that is half there to be removed.
const TIDYING: Duration = Duration::from_secs(2);
/// Longest wait for the guest's end to end once it has sent all, or nobody takes the rest.
const ENDING: Duration = Duration::from_secs(10);

/// A file or folder that was copied, as `--json` prints it.
#[derive(Serialize)]
struct Copied {
    from: String,
    to: String,
    files: u64,
    folders: u64,
    links: u64,
    bytes: u64,
    /// Whether everything could be read; what could not was left out.
    whole: bool,
}

/// Runs `cp`; its exit code is 1 where something could not be read.
pub(crate) async fn run(fleet: &Fleet, options: Cp) -> Outcome {
    let (to, from) = options.paths.split_last().ok_or_else(|| Failure::usage("say what to copy, and where to"))?;
    let mut signals = Signals::catch().map_err(|error| Failure::failed(format!("cannot catch signals: {error}")))?;
    let copying = Copying { fleet, options: &options, threads: TaskTracker::new() };
    let mut copied = Vec::with_capacity(from.len());
    for from in from {
        let one = tokio::select! {
            one = copying.one(from, to, options.paths.len() > 2) => one?,
            signal = signals.next() => {
                copying.threads.close();
                // What cannot be tidied up in time stays.
                let _ = timeout(TIDYING, copying.threads.wait()).await;
                return Ok(exit_code_of(signal));
            }
        };
        if !options.json && output::is_terminal() {
            let Copied { from, to, files, folders, bytes: count, .. } = &one;
            output::note(&format!("{from} -> {to}: {files} files in {folders} folders, {}", bytes(*count)));
        }
        copied.push(one);
    }
    if options.json {
        output::print_json(&copied)?;
    }
    Ok(u8::from(!copied.iter().all(|one| one.whole)))
}

struct Copying<'a> {
    fleet: &'a Fleet,
    options: &'a Cp,
    /// Read and write files.
    threads: TaskTracker,
}

impl Copying<'_> {
    async fn one(&self, from: &Side, to: &Side, into_folder: bool) -> Result<Copied, Failure> {
        match (from, to) {
            (Side::There { id, path }, Side::Here(to)) => {
                let place = place_here(path, to, into_folder)?;
                self.fetch(self.fleet.session(id).await?, path, place).await
            }
            (Side::Here(from), Side::There { id, path }) => {
                let path = if into_folder && !path.ends_with('/') { format!("{path}/") } else { path.clone() };
                self.put(from, self.fleet.session(id).await?, &path).await
            }
            (Side::There { .. }, _) => {
                Err(Failure::usage("both sides are in sessions").hint("copy to this machine first, and on from here"))
            }
            (Side::Here(_), _) => {
                let failure = Failure::usage("neither side is in a session");
                Err(failure.hint("say SESSION:PATH for the one that is"))
            }
        }
    }

    async fn fetch(&self, found: On<'_, Session>, path: &str, place: Place) -> Result<Copied, Failure> {
        let (from, to) = (format!("{}:{path}", plain(&found.it.slug)), plain(&place.path().to_string_lossy()));
        let (requests, answers) = self.start(&found, &["send", "--", path]).await?;
        // There is room: nothing but the start was sent.
        let _ = requests.try_send(request(Request::StdinEnd(true)));
        let (stdout, parts) = mpsc::channel(UNDER_WAY);
        let tally = Arc::new(Tally::default());
        let options = Options { replace: self.options.force, bytes_max: self.options.limit };
        let receiving = self.threads.spawn_blocking({
            let tally = tally.clone();
            move || receive(&mut BufReader::with_capacity(BUFFER, Incoming::new(parts)), &place, options, &tally)
        });
        let (here, there) = {
            let (mut there, mut receiving) = (pin!(follow(answers, Some(stdout), &tally, &from)), receiving);
            tokio::select! {
                there = &mut there => (receiving.await, there),
                // The end there has no more to do then than to end.
                here = &mut receiving => (here, timeout(ENDING, there).await.unwrap_or_else(|_| Ok(Ended::default()))),
            }
        };
        let here = here.map_err(|error| Failure::failed(format!("broke: {error}")))?;
        drop(requests);
        let whole = ended::judge(here, there.map_err(|status| found.host.failure(&status))?)?;
        Ok(copied(from, to, &tally, whole))
    }

    async fn put(&self, local: &Path, found: On<'_, Session>, path: &str) -> Result<Copied, Failure> {
        let name = name_of(local)?;
        let (from, to) = (plain(&local.to_string_lossy()), format!("{}:{path}", plain(&found.it.slug)));
        // A wrong path does not wake a session.
        std::fs::metadata(local).map_err(|error| Failure::failed(format!("{from}: {error}")))?;
        let mut arguments = vec!["receive", "--name", &name];
        arguments.extend(self.options.force.then_some("--replace"));
        arguments.extend(["--", path]);
        let (requests, answers) = self.start(&found, &arguments).await?;
        let tally = Arc::new(Tally::default());
        let sending = self.threads.spawn_blocking({
            let (tally, local) = (tally.clone(), PathBuf::from(local));
            move || {
                let mut to = BufWriter::with_capacity(BUFFER, Outgoing(requests.clone()));
                let mut tell = |path: &Path, what: &str| output::note(&plain(&format!("{}: {what}", path.display())));
                let sent = send(&local, &mut to, &tally, &mut tell);
                // A copy that broke off has no last frame; the other end sees that it is not whole.
                drop(to);
                let _ = requests.blocking_send(request(Request::StdinEnd(true)));
                // Held, for their end would be a hang-up before the answer.
                (sent, requests)
            }
        });
        let there = follow(answers, None, &tally, &to).await;
        let (here, _requests) = sending.await.map_err(|error| Failure::failed(format!("broke: {error}")))?;
        let whole = ended::judge(here, there.map_err(|status| found.host.failure(&status))?)?;
        Ok(copied(from, to, &tally, whole))
    }

    async fn start(
        &self,
        found: &On<'_, Session>,
        arguments: &[&str],
    ) -> Result<(mpsc::Sender<ExecRequest>, Streaming<ExecResponse>), Failure> {
        let command = [PROGRAM, "copy"].iter().chain(arguments).map(ToString::to_string).collect();
        let start =
            ExecStart { id: found.it.id.clone(), command, user: self.options.user.clone(), ..Default::default() };
        let (requests, receiver) = mpsc::channel(UNDER_WAY);
        // The channel is empty: there is room.
        let _ = requests.try_send(request(Request::Start(start)));
        let mut sessions = found.host.sessions();
        let asked = waiting::shown("waiting for the session", sessions.exec(ReceiverStream::new(receiver))).await;
        Ok((requests, asked.map_err(|status| found.host.failure(&status))?.into_inner()))
    }
}

/// Passes on what the guest's end writes until it has ended, and shows how far the copy is.
async fn follow(
    mut answers: Streaming<ExecResponse>,
    mut stdout: Option<mpsc::Sender<Bytes>>,
    tally: &Tally,
    what: &str,
) -> Result<Ended, Status> {
    let (began, mut ticks, mut ended) = (Instant::now(), interval(waiting::TICK), Ended::default());
    let is_seen = waiting::is_seen();
    loop {
        let answer = tokio::select! {
            answer = answers.message() => answer?,
            _ = ticks.tick(), if is_seen => {
                if began.elapsed() >= waiting::PATIENCE {
                    let far = format!("{what}: {} files, {}", tally.files(), bytes(tally.bytes()));
                    output::draw_line(&waiting::sign(began.elapsed(), &far));
                }
                continue;
            }
        };
        match answer.map(|answer| answer.response) {
            Some(Some(Response::Stdout(part))) => {
                // Where the end here has failed, nobody takes the rest.
                let taken = match &stdout {
                    Some(stdout) => stdout.send(part).await.is_ok(),
                    None => true,
                };
                if !taken {
                    break;
                }
            }
            Some(Some(Response::Stderr(part))) => ended.say(&part),
            Some(Some(Response::Exit(exit))) => {
                ended.code = Some(exit.code);
                break;
            }
            Some(None) => {}
            None => break,
        }
    }
    stdout.take();
    output::clear_line();
    Ok(ended)
}

/// Where a copy out of a session goes.
fn place_here(from: &str, to: &Path, into_folder: bool) -> Result<Place, Failure> {
    let is_folder = to.is_dir();
    if into_folder && !is_folder {
        let to = plain(&to.to_string_lossy());
        return Err(
            Failure::usage(format!("{to} is no folder, and several are copied to it")).hint(format!("mkdir {to}"))
        );
    }
    let name = Path::new(from).file_name().filter(|name| *name != "~");
    if is_folder && name.is_none() {
        let failure = Failure::usage(format!("{} has no name of its own", plain(from)));
        return Err(failure.hint(format!("say what it is to be called: {}/NAME", plain(&to.to_string_lossy()))));
    }
    Place::of(to, name.unwrap_or_default()).map_err(|error| failed(&error))
}

/// The name of a file or folder here.
fn name_of(local: &Path) -> Result<String, Failure> {
    let whole = local.canonicalize().ok();
    let name = local.file_name().or_else(|| whole.as_ref()?.file_name());
    let shown = plain(&local.to_string_lossy());
    let name = name.ok_or_else(|| Failure::usage(format!("{shown} has no name of its own")))?;
    let name = name.to_str().ok_or_else(|| Failure::usage(format!("the name of {shown} is not UTF-8")));
    Ok(name.map_err(|failure| failure.hint("copy the folder that it is in, or rename it"))?.to_owned())
}

fn copied(from: String, to: String, tally: &Tally, whole: bool) -> Copied {
    let (files, folders, links, bytes) = (tally.files(), tally.folders(), tally.links(), tally.bytes());
    Copied { from, to, files, folders, links, bytes, whole }
}

fn request(request: Request) -> ExecRequest {
    ExecRequest { request: Some(request) }
}
