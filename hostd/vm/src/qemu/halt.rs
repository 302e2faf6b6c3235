//! Standing still and going on. Before QEMU says that a VM stands, it brings its disk to rest: all that is on the way to it is
//! written and synced, which a slow or busy one takes its time for.

use std::{io::ErrorKind, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::sleep,
};

use super::{
    deadlines::DISK,
    errors::{refused, said},
    qmp::{Qmp, QmpError},
};
use crate::VmError;

/// Most commands that may be answered late before a VM is given up: one of them may still wait for the stop before it.
const TRIES: u32 = 3;
/// Pause between two looks whether QEMU has reset the machine.
const RESET: Duration = Duration::from_millis(20);
/// Most looks whether QEMU has reset the machine.
const RESETS: u32 = 250;

/// Stops the VM; an error where KVM has given up on it, which is not worth a snapshot. A VM whose answer is late may stand all
/// the same, or will: [`go_on`] is right for it either way.
pub(super) async fn stop<S: AsyncRead + AsyncWrite + Unpin>(qmp: &mut Qmp<S>) -> Result<(), VmError> {
    qmp.execute("stop", json!({}), DISK).await.map_err(refused)?;
    if broken(qmp).await.map_err(refused)? {
        return Err(said("KVM cannot run its guest any further (internal-error)"));
    }
    Ok(())
}

/// Whether KVM has given up on a VM that stands.
pub(super) async fn broken<S: AsyncRead + AsyncWrite + Unpin>(qmp: &mut Qmp<S>) -> Result<bool, QmpError> {
    let status = qmp.execute("query-status", json!({}), DISK).await?;
    Ok(status.get("status").and_then(Value::as_str) == Some("internal-error"))
}

/// Lets the VM run, and sees that it does.
pub(super) async fn go_on<S: AsyncRead + AsyncWrite + Unpin>(qmp: &mut Qmp<S>) -> Result<(), VmError> {
    let mut tries = 1;
    loop {
        match qmp.execute("cont", json!({}), DISK).await {
            Ok(_) => return Ok(()),
            // QEMU does one command after the other: whatever became of that one, this tells.
            Err(error) if late(&error) && tries < TRIES => {
                if runs(qmp).await {
                    return Ok(());
                }
            }
            Err(error) => return Err(refused(error)),
        }
        tries += 1;
    }
}

/// Boots a guest anew that has reset its machine, on which QEMU stands still: see the action `reboot` of its arguments, by
/// which it would take our own reset too for the end.
pub(super) async fn boot_again<S: AsyncRead + AsyncWrite + Unpin>(qmp: &mut Qmp<S>) -> Result<(), VmError> {
    let on_reset = |action| ("set-action", json!({"reboot": action}));
    for (command, arguments) in [on_reset("reset"), ("system_reset", json!({})), on_reset("shutdown")] {
        qmp.execute(command, arguments, DISK).await.map_err(refused)?;
    }
    // Asked for, but not done yet: until then it refuses to go on.
    let mut tries = 0;
    while let Err(error) = go_on(qmp).await {
        tries += 1;
        if tries == RESETS {
            return Err(error);
        }
        sleep(RESET).await;
    }
    Ok(())
}

async fn runs<S: AsyncRead + AsyncWrite + Unpin>(qmp: &mut Qmp<S>) -> bool {
    let status = qmp.execute("query-status", json!({}), DISK).await;
    status.is_ok_and(|status| status.get("running").and_then(Value::as_bool) == Some(true))
}

/// Whether QEMU may still do what it was told.
pub(super) fn late(error: &QmpError) -> bool {
    matches!(error, QmpError::Io(error) if error.kind() == ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use tokio::{task::JoinHandle, time::Instant};

    use super::{
        super::qmp::tests::{open, watched},
        *,
    };

    const DONE: &str = "{\"return\": {}, \"id\": ID}\n";

    fn status(running: bool) -> String {
        format!("{{\"return\": {{\"running\": {running}}}, \"id\": ID}}\n")
    }

    /// The commands that QEMU was asked for, after those that open the connection.
    async fn commands(asked: JoinHandle<Vec<Value>>) -> Vec<String> {
        let commands = asked.await.unwrap().into_iter().skip(1);
        commands.map(|question| question["execute"].as_str().unwrap().to_owned()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_vm_whose_stop_is_late_goes_on_all_the_same() {
        // The disk takes the time of the stop and of the first `cont`: the stop is answered while `cont` is waited for, and
        // `cont` not before its own time is over. By then the VM runs, and is not told again.
        let stopped = "{\"return\": {}, \"id\": 1}\n";
        let (mut qmp, asked) = watched(&["", stopped, &status(true)]).await;
        let began = Instant::now();
        let error = stop(&mut qmp).await.unwrap_err().to_string();
        assert!(error.contains("did not answer stop in time"), "{error}");
        assert_eq!(began.elapsed(), DISK);
        go_on(&mut qmp).await.unwrap();
        assert_eq!(began.elapsed(), 2 * DISK, "the late answer of the stop is none to `cont`");
        drop(qmp);
        assert_eq!(commands(asked).await, ["stop", "cont", "query-status"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_kvm_gave_up_on_is_no_snapshot() {
        for (status, good) in [("paused", true), ("internal-error", false)] {
            let status = format!("{{\"return\": {{\"running\": false, \"status\": \"{status}\"}}, \"id\": ID}}\n");
            let mut qmp = open(&[DONE, &status]).await.unwrap();
            assert_eq!(stop(&mut qmp).await.is_ok(), good, "{status}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_still_stands_is_told_again() {
        let (mut qmp, asked) = watched(&["", &status(false), DONE]).await;
        go_on(&mut qmp).await.unwrap();
        drop(qmp);
        assert_eq!(commands(asked).await, ["cont", "query-status", "cont"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_machine_is_reset_before_it_goes_on() {
        let refusal = "{\"error\": {\"desc\": \"Resetting the Virtual Machine is required\"}, \"id\": ID}\n";
        let (mut qmp, asked) = watched(&[DONE, DONE, DONE, refusal, refusal, DONE]).await;
        boot_again(&mut qmp).await.unwrap();
        drop(qmp);
        let told = ["set-action", "system_reset", "set-action", "cont", "cont", "cont"];
        assert_eq!(commands(asked).await, told);
        let mut qmp = open(&[DONE, refusal]).await.unwrap();
        assert!(boot_again(&mut qmp).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_given_up_in_the_end_and_at_once_where_qemu_refuses() {
        let mut qmp = open(&[""; 6]).await.unwrap();
        let error = go_on(&mut qmp).await.unwrap_err().to_string();
        assert!(error.contains("did not answer cont in time"), "{error}");
        let mut qmp = open(&["{\"error\": {\"desc\": \"no\"}, \"id\": ID}\n", DONE]).await.unwrap();
        let error = go_on(&mut qmp).await.unwrap_err().to_string();
        assert!(error.ends_with("failed: no"), "{error}");
    }
}
