//! A rehearsal: an agent's own program, run once in a guest that no session has yet, until it has drawn its first screen.
//!
//! The guest runs it so that nothing of it stays (`session rehearse`). What stays is what makes the next start quick: the pages of its
//! files are in the guest's memory, and an emulated processor has translated what it executes.

use std::{collections::HashMap, pin::pin, time::Duration};

use futures::FutureExt as _;
use hostd_core::{Recipe, profile, recipe::ROOT, text};
use pilothouse_proto::guest::v1::{
    ExecRequest, ExecResponse, ExecStart, Exit, Size, exec_request::Request, exec_response::Response,
    guest_client::GuestClient,
};
use pilothouse_terminal::{Emulator, Event};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

use super::{command, handshake::WHY_MAX};

/// How long what may take. A test has less of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Times {
    /// Longest time that a rehearsal runs.
    whole: Duration,
    /// Silence after which what is on the screen counts as drawn.
    silence: Duration,
    /// Longest time for a guest to begin, and for all processes to end.
    end: Duration,
    /// The same for all processes to end while somebody waits.
    hurried: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            whole: Duration::from_secs(60),
            silence: Duration::from_millis(1500),
            end: Duration::from_secs(20),
            hurried: Duration::from_secs(2),
        }
    }
}

/// Least number of characters of a first screen, without blanks.
const SCREEN: usize = 40;
/// Size of its terminal: that of an agent's whom nobody has looked at.
const SIZE: (u16, u16) = (120, 40);
/// Signal that ends it.
const TERM: i32 = 15;
/// Messages on their way to it.
const QUEUE: usize = 8;

/// The guest's own program, by its path: an environment may have others of the name before it.
const SESSION: &str = "/run/pilothouse/bin/session";

/// What is run in a rehearsal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rehearsal {
    user: String,
    directory: String,
    command: Vec<String>,
    environment: HashMap<String, String>,
    times: Times,
}

/// A rehearsal that came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rehearsed {
    /// The program has drawn its first screen, after this time.
    Drawn(Duration),
    /// The program was ended before, since its VM is wanted.
    CutShort,
    /// The program has drawn nothing; why, for people. The guest is as it was.
    Failed(String),
}

impl Rehearsal {
    /// The rehearsal of this recipe's agent in the VM of this id. None: its profile has none.
    pub(crate) fn of(recipe: &Recipe, id: &str) -> Option<Self> {
        recipe.profile.as_ref().filter(|profile| profile.rehearse)?;
        let conversation = profile::session_id(id).unwrap_or_default();
        Some(Self {
            user: recipe.user.clone(),
            directory: recipe.directory().into(),
            command: profile::with_session_id(&recipe.agent.command, &conversation),
            environment: recipe.environment.clone().into_iter().collect(),
            times: Times::default(),
        })
    }

    fn start(&self) -> ExecStart {
        let own = [SESSION, "rehearse", "--user", &self.user, "--directory", &self.directory, "--"];
        ExecStart {
            command: own.into_iter().chain(self.command.iter().map(String::as_str)).map(Into::into).collect(),
            environment: self.environment.clone(),
            directory: "/".into(),
            terminal: Some(Size { columns: SIZE.0.into(), rows: SIZE.1.into() }),
            user: ROOT.into(),
            ..ExecStart::default()
        }
    }

    /// Runs it to its first screen, a minute at most, or until `wanted` is ready; when this returns its processes are gone.
    ///
    /// # Errors
    /// A text for people: the processes did not end, in seconds where the VM is wanted, or nobody knows. The guest is of no use to a session.
    pub(crate) async fn run(
        &self,
        mut client: GuestClient<Channel>,
        wanted: impl Future<Output = ()>,
    ) -> Result<Rehearsed, String> {
        let (requests, receiver) = mpsc::channel(QUEUE);
        let start = ExecRequest { request: Some(Request::Start(self.start())) };
        requests.send(start).await.map_err(|_| "the request went nowhere".to_owned())?;
        let mut wanted = pin!(wanted);
        let mut begins = pin!(timeout(self.times.end, client.exec(ReceiverStream::new(receiver))));
        // Nothing has begun where it is wanted already.
        if wanted.as_mut().now_or_never().is_some() {
            return Ok(Rehearsed::CutShort);
        }
        let started = tokio::select! {
            started = &mut begins => started,
            () = &mut wanted => return Err("the VM was wanted while its guest began".into()),
        };
        let started = started.map_err(|_| "the guest did not begin".to_owned())?;
        let responses = started.map_err(|status| said(&status))?.into_inner();
        let mut stage = Stage {
            responses,
            requests,
            emulator: Emulator::new(SIZE.0, SIZE.1, 0, 0),
            times: self.times,
            over: false,
        };
        let began = Instant::now();
        let came = tokio::select! {
            drawn = stage.until_drawn(began + self.times.whole) => match drawn {
                Ok(()) => Rehearsed::Drawn(began.elapsed()),
                Err(why) => Rehearsed::Failed(why),
            },
            () = wanted => Rehearsed::CutShort,
        };
        stage.end(if came == Rehearsed::CutShort { self.times.hurried } else { self.times.end }).await?;
        Ok(came)
    }
}

/// A program on its terminal.
struct Stage {
    responses: Streaming<ExecResponse>,
    requests: mpsc::Sender<ExecRequest>,
    emulator: Emulator,
    times: Times,
    /// Whether its exit code has come.
    over: bool,
}

impl Stage {
    /// Takes what the program shows, and answers what it asks, until it shows no more.
    async fn until_drawn(&mut self, deadline: Instant) -> Result<(), String> {
        let (pause, whole) = (self.times.silence, self.times.whole);
        let nothing = || format!("it has drawn nothing within {} s", whole.as_secs());
        loop {
            let has_drawn = self.has_drawn();
            let silence = async {
                sleep(pause).await;
                if !has_drawn {
                    std::future::pending::<()>().await;
                }
            };
            let response = tokio::select! {
                response = self.responses.message() => response,
                () = silence => return Ok(()),
                () = sleep_until(deadline) => return if has_drawn { Ok(()) } else { Err(nothing()) },
            };
            match response.map_err(|status| said(&status))?.and_then(|response| response.response) {
                Some(Response::Stdout(bytes) | Response::Stderr(bytes)) => self.show(&bytes),
                Some(Response::Exit(exit)) => {
                    self.over = true;
                    return Err(self.ended(exit));
                }
                None => return Err("its terminal was lost".into()),
            }
        }
    }

    /// Whether there is a screen. A program that only asks its terminal has drawn nothing yet.
    fn has_drawn(&self) -> bool {
        let text = self.emulator.screen().contents();
        text.chars().filter(|c| !c.is_whitespace()).nth(SCREEN - 1).is_some()
    }

    fn show(&mut self, bytes: &[u8]) {
        self.emulator.feed(bytes);
        for event in self.emulator.events() {
            if let Event::Answer(bytes) | Event::StatusAnswer(bytes) = event {
                // A program that reads no answers gets none: it is not waited for.
                let _ = self.requests.try_send(ExecRequest { request: Some(Request::Stdin(bytes.into())) });
            }
        }
    }

    fn ended(&self, exit: Exit) -> String {
        let shown = text::one_line(&text::clean(self.emulator.screen().contents().trim(), WHY_MAX));
        let how = command::bad_end(&exit).unwrap_or_else(|| "ended by itself".into());
        if shown.is_empty() { format!("it {how}") } else { format!("it {how}: {shown}") }
    }

    /// Ends what still runs of it, and waits so long for that: its exit code comes when no process of it is left.
    async fn end(mut self, within: Duration) -> Result<(), String> {
        if self.over {
            return Ok(());
        }
        let term = ExecRequest { request: Some(Request::Signal(TERM)) };
        let over = async {
            // A program that reads no answers may stand in the way of this too.
            self.requests.send(term).await.map_err(|_| "the link was lost".to_owned())?;
            loop {
                match self.responses.message().await.map_err(|status| said(&status))?.and_then(|it| it.response) {
                    Some(Response::Exit(_)) => return Ok(()),
                    Some(_) => {}
                    None => return Err("its end was not told".to_owned()),
                }
            }
        };
        timeout(within, over).await.unwrap_or_else(|_| Err("its processes did not end".into()))
    }
}

fn said(status: &Status) -> String {
    text::clean(status.message(), WHY_MAX)
}

#[cfg(test)]
mod tests {
    use std::{future::pending, sync::Arc};

    use super::*;
    use crate::{
        forge::BareRepositories,
        gateway::{Caller, Gateway},
        guest::Identity,
        guest_vm::{GuestVm, tests::spec},
        testing::FakeVmm,
    };

    /// Rehearses a program whose last word says what it does.
    async fn rehearse(word: &str, wanted: impl Future<Output = ()>) -> Result<Rehearsed, String> {
        let (vmm, folder) = (FakeVmm::scripted(), tempfile::tempdir().unwrap());
        let spec = spec(folder.path());
        std::fs::write(&spec.disk, "disk").unwrap();
        let guest = GuestVm::start(&vmm, spec).await.unwrap();
        let gateway = Arc::new(Gateway::new(BareRepositories::at("/nonexistent".into())));
        let identity = Identity::lasting("01A", "one".into(), 1);
        let met = guest.meet(identity, &gateway, Caller::nowhere("01A", "one", "demo")).await.unwrap();
        let rehearsal = Rehearsal {
            user: "agent".into(),
            directory: "/work".into(),
            command: vec!["agent".into(), word.into()],
            environment: HashMap::new(),
            times: Times {
                whole: Duration::from_secs(2),
                silence: Duration::from_millis(50),
                end: Duration::from_millis(500),
                hurried: Duration::from_millis(50),
            },
        };
        let came = rehearsal.run(met.hello.client.clone(), wanted).await;
        guest.end().await;
        came
    }

    #[tokio::test]
    async fn a_program_that_is_answered_draws_its_screen_and_is_ended() {
        let came = rehearse("draw", pending()).await.unwrap();
        assert!(matches!(came, Rehearsed::Drawn(after) if after < Duration::from_secs(2)), "{came:?}");
    }

    #[tokio::test]
    async fn what_draws_nothing_fails_and_what_is_wanted_is_cut_short() {
        let failed = |why: &str| Ok(Rehearsed::Failed(why.to_owned()));
        assert_eq!(rehearse("draw-nothing", pending()).await, failed("it has drawn nothing within 2 s"));
        assert_eq!(
            rehearse("x fail", pending()).await,
            failed(
                "it ended with exit code 3: ran /run/pilothouse/bin/session rehearse --user agent \
                    --directory /work -- agent x fail"
            )
        );
        assert_eq!(rehearse("draw-nothing", async {}).await, Ok(Rehearsed::CutShort));
    }

    #[tokio::test]
    async fn a_vm_in_which_something_may_still_run_is_of_no_use() {
        assert_eq!(rehearse("draw-on", pending()).await, Err("its processes did not end".into()));
        assert_eq!(rehearse("hang", pending()).await, Err("the guest did not begin".into()));
    }

    #[tokio::test]
    async fn a_program_that_asks_without_end_and_reads_no_answer_holds_nobody_up() {
        let came = timeout(Duration::from_secs(20), rehearse("deaf", pending())).await;
        assert_eq!(came, Ok(Err("its processes did not end".into())));
    }

    #[tokio::test]
    async fn who_waits_for_the_vm_waits_for_no_program() {
        let began = Instant::now();
        let wanted = || sleep(Duration::from_millis(100));
        assert_eq!(rehearse("draw-on", wanted()).await, Err("its processes did not end".into()));
        assert_eq!(rehearse("hang", wanted()).await, Err("the VM was wanted while its guest began".into()));
        assert_eq!(rehearse("hang", async {}).await, Ok(Rehearsed::CutShort), "nothing has begun");
        assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
    }
}
