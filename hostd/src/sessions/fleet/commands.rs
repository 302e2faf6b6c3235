//! What people do with one session, and waiting for what comes of it.

use hostd_core::{
    Actor, Input, Lifecycle, Session,
    recipe::Egress,
    session::{Budget, Message as Sent},
    story::Event,
    text,
};
use pilothouse_proto::guest::v1::guest_client::GuestClient;
use tokio::sync::oneshot;
use tonic::transport::Channel;

use super::{Fleet, LINK_WAIT, begins, create};
use crate::{
    clock::now,
    environments::AllowedInRecipe,
    log,
    sessions::{
        error::FleetError,
        message::Command,
        registry::{Busy, Handle},
        view::SessionView,
    },
    store::ALL_EVENTS,
};

/// Keys in one message.
const KEYS_MAX: usize = 32;

/// What is to be typed to an agent.
#[derive(Clone, Debug, Default)]
pub struct SendOrder {
    /// Without a line end; may have several lines.
    pub text: String,
    /// Enter follows it.
    pub enter: bool,
    /// Names of keys, instead of a text.
    pub keys: Vec<String>,
}

impl From<&str> for SendOrder {
    fn from(line: &str) -> Self {
        Self { text: line.into(), enter: true, keys: vec![] }
    }
}

/// A fleet in somebody's hands: what is done by it is done on their behalf, and stands in the sessions' stories as theirs.
pub struct Hands<'a> {
    pub(super) fleet: &'a Fleet,
    pub(super) actor: Actor,
}

impl Fleet {
    /// What may be done to sessions, on this actor's behalf.
    #[must_use]
    pub fn by(&self, actor: Actor) -> Hands<'_> {
        Hands { fleet: self, actor }
    }
}

impl Hands<'_> {
    /// Boots it again from its disk; one whose memory is kept only where that may be given up.
    ///
    /// # Errors
    /// As [`Fleet::get`], and [`FleetError::Denied`].
    pub async fn restart(&self, asked: &str, give_up_memory: bool) -> Result<SessionView, FleetError> {
        self.fleet.takes_vms()?;
        self.command(&*self.fleet.handle(asked)?, Input::Restart { give_up_memory }).await
    }

    /// Has it go back to a checkpoint: what it did since is lost. Returns when it runs, or when it is known to wait for room.
    ///
    /// # Errors
    /// As [`Fleet::get`], [`FleetError::Denied`] where there is no such checkpoint or its state does not allow it, and
    /// [`FleetError::NotRestored`], which leaves it as it was.
    pub async fn restore(&self, asked: &str, number: u64) -> Result<SessionView, FleetError> {
        self.fleet.takes_vms()?;
        let handle = self.fleet.handle(asked)?;
        handle.settled(|session| session.forking).await?;
        let (answer, answered) = oneshot::channel();
        let command = Command::Restore { number, actor: self.actor.clone(), answer };
        handle.commands.send(command).await.map_err(|_| FleetError::Stopping)?;
        answered.await.map_err(|_| FleetError::Stopping)??;
        let session = handle.settled(Session::moves).await?;
        match session.lifecycle {
            Lifecycle::Suspended if !session.wanted => {
                Err(FleetError::NotRestored(hostd_core::attention(&session, now()).reason))
            }
            _ => Ok(handle.view()),
        }
    }

    /// Takes a checkpoint of it: a snapshot to which it can go back, while it runs on. Returns when it does.
    ///
    /// # Errors
    /// As [`Fleet::get`], [`FleetError::Denied`] where its state does not allow it, and [`FleetError::NotCheckpointed`]; it runs on.
    pub async fn checkpoint(&self, asked: &str) -> Result<SessionView, FleetError> {
        let handle = self.fleet.handle(asked)?;
        handle.settled(Session::moves).await?;
        let (answer, answered) = oneshot::channel();
        handle
            .commands
            .send(Command::Checkpoint { actor: self.actor.clone(), answer })
            .await
            .map_err(|_| FleetError::Stopping)?;
        answered.await.map_err(|_| FleetError::Stopping)??;
        handle.settled(|session| session.forking).await?;
        Ok(handle.view())
    }

    /// Puts it to disk; returns when it is there.
    ///
    /// # Errors
    /// As [`Fleet::get`], [`FleetError::Denied`] where its state does not allow it, and [`FleetError::NotSuspended`] where it
    /// went wrong, which leaves it as it was.
    pub async fn suspend(&self, asked: &str) -> Result<SessionView, FleetError> {
        let handle = self.fleet.handle(asked)?;
        // A checkpoint of the schedule is no reason to be refused.
        handle.settled(|session| session.forking).await?;
        self.command(&handle, Input::Suspend).await?;
        let session = handle.settled(|session| session.lifecycle == Lifecycle::Suspending).await?;
        match session.not_suspended() {
            None => Ok(handle.view()),
            Some(why) => Err(FleetError::NotSuspended(why)),
        }
    }

    /// Brings it back from disk; returns when it runs, or when it is known to wait for room, which its reason says.
    ///
    /// # Errors
    /// As [`Fleet::get`], and [`FleetError::Denied`] where it cannot be resumed, which leaves its snapshot as it was.
    pub async fn resume(&self, asked: &str) -> Result<SessionView, FleetError> {
        self.fleet.takes_vms()?;
        let handle = self.fleet.handle(asked)?;
        self.command(&handle, Input::Resume).await?;
        let session = handle.settled(Session::moves).await?;
        match session.lifecycle {
            Lifecycle::Suspended if !session.wanted => {
                Err(FleetError::Denied(hostd_core::attention(&session, now()).reason))
            }
            _ => Ok(handle.view()),
        }
    }

    /// Resumes it if it is suspended, without waiting for it: somebody wants to use it.
    ///
    /// # Errors
    /// As [`Fleet::get`].
    pub async fn wake(&self, asked: &str) -> Result<(), FleetError> {
        let handle = self.fleet.handle(asked)?;
        let asleep = matches!(handle.record.borrow().session.lifecycle, Lifecycle::Suspended | Lifecycle::Suspending);
        if asleep { self.command(&handle, Input::Resume).await.map(drop) } else { Ok(()) }
    }

    /// Changes what models may cost it; what waits for that goes on.
    ///
    /// # Errors
    /// As [`Fleet::get`], [`FleetError::Invalid`] for more than a million dollars, and [`FleetError::Denied`] where there is nothing
    /// to raise.
    pub async fn set_budget(&self, asked: &str, change: Budget) -> Result<SessionView, FleetError> {
        if let Budget::Set(amount) | Budget::Raise(amount) = change {
            create::check_budget(amount)?;
        }
        self.command(&*self.fleet.handle(asked)?, Input::Budget(change)).await
    }

    /// Lets it reach a destination beside those of its recipe, from now on.
    ///
    /// # Errors
    /// As [`Fleet::get`], [`FleetError::Denied`] where too many are allowed already, and [`FleetError::Invalid`] where it leads to the host
    /// or its networks, and that is not said.
    pub async fn allow(&self, asked: &str, egress: Egress) -> Result<SessionView, FleetError> {
        let handle = self.fleet.handle(asked)?;
        if !egress.private && self.fleet.ctx().gateway.is_private(&egress) {
            let (slug, to) = (&handle.slug, &egress.to);
            return Err(FleetError::Invalid(format!(
                "{to} is a service of this host or of its networks, which is to be said: pilothouse allow --private {slug} {to}"
            )));
        }
        self.command(&handle, Input::Allow(egress)).await
    }

    /// Takes that back. Connections that are open stay.
    ///
    /// # Errors
    /// As [`Fleet::get`], and [`FleetError::Denied`] where it was not allowed so.
    pub async fn disallow(&self, asked: &str, egress: Egress) -> Result<SessionView, FleetError> {
        self.command(&*self.fleet.handle(asked)?, Input::Disallow { to: egress.to }).await
    }

    /// Whether a recipe may be given this destination for a session that asked for it.
    ///
    /// # Errors
    /// [`FleetError::Denied`]: it is a private one, and the host does not name its services, so that the recipe alone would decide.
    pub fn may_be_in_recipe(&self, egress: &Egress) -> Result<(), FleetError> {
        if self.fleet.ctx().gateway.may_be_in_recipe(egress) {
            return Ok(());
        }
        Err(FleetError::Denied(format!(
            "a destination at a private address is not added to a recipe by this as long as the host has no {} in hostd's data folder; \
             name {} in `local` of that file, or write {egress} into egress of the recipe and build it",
            crate::local_services::FILE,
            egress.place()
        )))
    }

    /// Adds a destination to the recipe of its environment, for sessions to come.
    ///
    /// # Errors
    /// As [`Fleet::get`], [`FleetError::Environment`] where the recipe cannot have it, and [`FleetError::Store`] where its story does
    /// not get to know it.
    pub async fn allow_in_recipe(&self, asked: &str, egress: &Egress) -> Result<AllowedInRecipe, FleetError> {
        let handle = self.fleet.handle(asked)?;
        let environment = handle.record.borrow().session.environment.clone();
        let allowed = self.fleet.ctx().environments.allow(&environment, egress).await?;
        let text = format!("sessions of {environment} to come may reach {}", egress.to);
        // What changes all sessions to come is not to be unknown to anybody.
        let event = Event::new(&handle.id, now(), self.actor.clone(), "egress", &text);
        self.fleet.ctx().store.add_event(event).await?;
        Ok(allowed)
    }

    /// Types a message to its agent, now or when it runs: a text, or keys by their names.
    ///
    /// # Errors
    /// As [`Fleet::get`], [`FleetError::Denied`], and [`FleetError::Invalid`] for a message that is empty, too long, or has a key
    /// that does not exist.
    pub async fn send(&self, asked: &str, order: impl Into<SendOrder>) -> Result<(), FleetError> {
        let SendOrder { text, enter, keys } = order.into();
        if text.len() > Session::MESSAGE {
            let help = "put the rest into a file of the session";
            return Err(FleetError::Invalid(format!("the message is longer than {} bytes; {help}", Session::MESSAGE)));
        }
        if keys.len() > KEYS_MAX {
            return Err(FleetError::Invalid(format!("at most {KEYS_MAX} keys are pressed at a time")));
        }
        let keys = keys.iter().map(|key| key.parse()).collect::<Result<Vec<_>, _>>().map_err(FleetError::Invalid)?;
        // What is only begun may end with a blank that matters.
        let text = if enter { text.trim_end() } else { &text };
        let text = text::clean(text, Session::MESSAGE);
        match (text.is_empty(), keys.is_empty()) {
            (true, true) => return Err(FleetError::Invalid("the message is empty".into())),
            (false, false) => return Err(FleetError::Invalid("send a text or keys, not both at once".into())),
            _ => {}
        }
        let message = Sent { enter: enter && keys.is_empty(), text, keys, ..Sent::default() };
        self.command(&*self.fleet.handle(asked)?, Input::Send(message)).await.map(drop)
    }

    /// Presses the keys of its agent's profile that allow or refuse what its program asks a permission for, now or when it runs.
    ///
    /// # Errors
    /// As [`Fleet::get`], and [`FleetError::Denied`] where that permission is not asked for any more, was answered, or has no keys.
    pub async fn answer(&self, asked: &str, permission: String, allow: bool) -> Result<SessionView, FleetError> {
        self.command(&*self.fleet.handle(asked)?, Input::AnswerPermission { permission, allow }).await
    }

    /// Ends it and forgets it; returns its id when all of it is gone.
    ///
    /// # Errors
    /// As [`Fleet::get`], and [`FleetError::NotRemoved`].
    pub async fn delete(&self, asked: &str) -> Result<String, FleetError> {
        let handle = self.fleet.handle(asked)?;
        match self.command(&handle, Input::Delete).await {
            // Somebody else's deletion was quicker.
            Err(FleetError::Stopping) if !self.fleet.refresh.is_cancelled() => Ok(handle.id.clone()),
            result => result.map(|_| handle.id.clone()),
        }
    }

    /// A client of its guest, which is resumed for it; one that is being started is waited for. While [`Busy`] is held the session is not suspended for idleness.
    ///
    /// # Errors
    /// As [`Hands::resume`], and [`FleetError::NotRunning`].
    pub async fn guest(&self, asked: &str) -> Result<(GuestClient<Channel>, Busy), FleetError> {
        let handle = self.fleet.handle(asked)?;
        let busy = Busy::new(handle.clone());
        handle.settled(begins).await?;
        let asleep = handle.record.borrow().session.lifecycle == Lifecycle::Suspended;
        if asleep || handle.record.borrow().session.moves() {
            self.resume(&handle.id).await?;
        }
        let Some(live) = handle.live_within(LINK_WAIT).await else {
            let session = handle.record.borrow().session.clone();
            let word = session.lifecycle.word();
            let help = match word {
                "suspended" => &hostd_core::attention(&session, now()).reason,
                "stopped" | "crashed" => "restart it first",
                _ => "wait until it runs",
            };
            return Err(FleetError::NotRunning(format!("the session is {word}; {help}")));
        };
        let hello = live.link.client(LINK_WAIT).await.map_err(|error| FleetError::NotRunning(error.to_string()))?;
        Ok((hello.client.clone(), busy))
    }

    /// Writes into the session's story that a command was run in its guest.
    pub async fn ran(&self, asked: &str, command: &[String]) {
        self.tell(asked, "ran", &command.join(" ")).await;
    }

    /// Writes into the session's story that a port of its guest was connected to: once for connections that follow each other.
    pub async fn connected(&self, asked: &str, port: u32) {
        let text = format!("port {port}");
        let last = self.fleet.events(asked, ALL_EVENTS, 1).await.unwrap_or_default();
        let again = |event: &Event| event.actor == self.actor && event.what == "connected" && event.text == text;
        if !last.last().is_some_and(|last| again(&last.event)) {
            self.tell(asked, "connected", &text).await;
        }
    }

    async fn tell(&self, asked: &str, what: &str, text: &str) {
        let Ok(handle) = self.fleet.handle(asked) else { return };
        let event = Event::new(&handle.id, now(), self.actor.clone(), what, text);
        if let Err(error) = self.fleet.ctx().store.add_event(event).await {
            let _session = handle.span().entered();
            let _actor = log::on_behalf(&self.actor).entered();
            tracing::warn!(slug = handle.slug, what, %error, "something is not in the story");
        }
    }

    async fn command(&self, handle: &Handle, input: Input) -> Result<SessionView, FleetError> {
        handle.command(self.actor.clone(), input).await?;
        Ok(handle.view())
    }
}
