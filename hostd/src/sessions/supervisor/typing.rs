//! Messages on their way to the agent.

use std::{sync::Arc, time::Duration};

use hostd_core::{Effect, Input, session};
use pilothouse_proto::guest::v1::TypeRequest;
use tokio::{sync::mpsc, time::sleep};
use tonic::{Code, Status};

use super::Supervisor;
use crate::{guest::Link, sessions::message::Report, terminals::Terminal};

/// Before a guest that did not answer is asked again.
const PAUSE: Duration = Duration::from_millis(200);

/// One message on its way into one VM.
struct Typing {
    generation: u64,
    id: u64,
    reports: mpsc::Sender<Report>,
}

impl Supervisor {
    /// Has the guest type a message, `at_once` or behind those that are not read yet, and reports when the guest has it and when
    /// it is read. Where the VM ended this moment, that is reported instead.
    pub(super) fn type_message(&mut self, generation: u64, message: session::Message, at_once: bool) {
        // Once a VM that is being taken over is this hostd's, the core has what is typed typed again; keys are pressed again.
        let Some(running) = &self.running else { return };
        let typing = Typing { generation, id: message.id, reports: self.handle.reports.clone() };
        let (link, terminal) = (running.live.link.clone(), self.handle.terminal.clone());
        self.tasks.spawn(typing.run(link, terminal, message, at_once));
    }
}

impl Supervisor {
    /// Presses the keys that were to be pressed before the VM was this hostd's. The guest knows those that it has got already.
    pub(super) fn press_owed(&mut self) {
        let owed: Vec<_> = self.owed.iter().map(|entry| entry.effect.clone()).collect();
        for effect in owed {
            if let Effect::Press { generation, message } = effect {
                self.type_message(generation, message, true);
            }
        }
    }
}

impl Typing {
    async fn run(self, link: Arc<Link>, terminal: Terminal, message: session::Message, at_once: bool) {
        let pieces = message.pieces(terminal.modes());
        terminal.typed(&pieces.concat());
        let text = if message.is_line() { message.text } else { String::new() };
        let typed = pieces.iter().cloned().map(Into::into).collect();
        let request = TypeRequest { id: self.id, pieces: typed, text, at_once };
        while let Some(mut client) = link.up().await {
            let error = match client.r#type(request.clone()).await {
                Ok(told) => match self.follow(told.into_inner()).await {
                    Ok(()) => return,
                    Err(error) => error,
                },
                Err(error) => error,
            };
            match error.code() {
                // Of a guest of before that typed.
                Code::Unimplemented => return self.through(&terminal, pieces).await,
                Code::FailedPrecondition | Code::InvalidArgument => {
                    tracing::debug!(%error, "a message was not typed");
                    return self.report(Input::NotTyped { generation: self.generation, id: self.id }).await;
                }
                _ => {
                    tracing::debug!(%error, "the guest was not heard of a message");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Until it is read.
    async fn follow(
        &self,
        mut told: tonic::Streaming<pilothouse_proto::guest::v1::TypeResponse>,
    ) -> Result<(), Status> {
        let (generation, id) = (self.generation, self.id);
        while let Some(response) = told.message().await? {
            if response.read {
                self.report(Input::Read { generation, id }).await;
                return Ok(());
            }
            self.report(Input::Typed { generation, id }).await;
        }
        Err(Status::unavailable("it ended early"))
    }

    /// By the terminal's own stream, which says nothing of reading.
    async fn through(&self, terminal: &Terminal, pieces: Vec<Vec<u8>>) {
        let (generation, id) = (self.generation, self.id);
        let typed = terminal.type_pieces(pieces).await.is_ok();
        self.report(if typed { Input::Read { generation, id } } else { Input::NotTyped { generation, id } }).await;
    }

    async fn report(&self, input: Input) {
        // A supervisor that has ended needs no telling.
        let _ = self.reports.send(Report::Typed(input)).await;
    }
}
