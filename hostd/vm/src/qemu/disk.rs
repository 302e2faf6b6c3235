//! The disk of a running VM: a graph of nodes that is told on the command line ([`super::argv`]), grows a new top with each
//! pivot, and gets one layer for several where they were merged. Each layer is one node, with its file in it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    argv,
    deadlines::DISK,
    errors::{refused, said},
    halt::late,
    qmp::{Qmp, QmpError},
};
use crate::VmError;

/// Kind of a node of layers that were merged.
const MERGED: &str = "merged";

/// Nodes of a disk: where the guest's writes go, and what it reads below them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Disk {
    /// Name of the node of the layer that is written to.
    top: String,
    /// Names of the nodes of the layers below it, bottom first, and of some that may be in use no more: each comes after what
    /// it is on.
    frozen: Vec<String>,
    /// Whether the VM has no disk yet: `top` is nothing then.
    to_come: bool,
    /// Number of layers that were asked for in this life of the VM: one that came to nothing may be there all the same.
    asked: u32,
}

/// Why a disk has no new top.
#[derive(Debug)]
pub(super) enum NotPivoted {
    /// The disk is as it was before.
    AsItWas(VmError),
    /// It is not known which layer the guest would write to: the VM must not run on.
    Unknown(VmError),
}

impl Disk {
    /// The disk as it is told on the command line, with this number of layers below its top.
    pub(super) fn new(layers: usize) -> Self {
        Self { top: argv::TOP.into(), frozen: (0..layers).map(argv::layer_node).collect(), to_come: false, asked: 0 }
    }

    /// The disk of a QEMU that was started before it is known for whom: with this number of layers, and no top until it is
    /// given one.
    pub(super) fn to_come(layers: usize) -> Self {
        Self { to_come: true, ..Self::new(layers) }
    }

    /// Gives a QEMU that runs no guest the disk of one, if it has none: `layers` begin with those that it was started with,
    /// bottom first, and `top` is above them all.
    pub(super) async fn give<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        qmp: &mut Qmp<S>,
        layers: &[PathBuf],
        top: &Path,
    ) -> Result<(), VmError> {
        if !self.to_come {
            return Ok(());
        }
        let mut below = self.frozen.last().cloned();
        for layer in &layers[self.frozen.len()..] {
            let node = argv::layer_node(self.frozen.len());
            add(qmp, argv::frozen(&node, argv::utf8(layer)?, below.as_deref())).await?;
            self.frozen.push(node.clone());
            below = Some(node);
        }
        let node = self.name(argv::TOP);
        add(qmp, argv::top(&node, argv::utf8(top)?, below.as_deref())).await?;
        let drive = json!({"path": argv::DEVICE, "property": "drive", "value": node});
        qmp.execute("qom-set", drive, DISK).await.map_err(refused)?;
        self.top = node;
        self.to_come = false;
        Ok(())
    }

    /// Puts `top` above what is the top now, which QEMU opens anew for reading alone.
    pub(super) async fn pivot<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        qmp: &mut Qmp<S>,
        top: &Path,
    ) -> Result<(), NotPivoted> {
        let path = argv::utf8(top).map_err(NotPivoted::AsItWas)?;
        let above = self.name(argv::TOP);
        // Its header names no backing file, and `blockdev-snapshot` wants none opened: it gives the one it means.
        add(qmp, argv::top(&above, path, None)).await.map_err(NotPivoted::AsItWas)?;
        let pivot = json!({"node": self.top, "overlay": above});
        let Err(error) = qmp.execute("blockdev-snapshot", pivot, DISK).await else {
            self.grow(above);
            return Ok(());
        };
        let error = refused(error);
        // It may have been done, or be done yet, though nobody said so. QEMU answers in order: this one says what is.
        match written_to(qmp).await {
            Some(node) if node == above => {
                self.grow(above);
                Ok(())
            }
            Some(node) if node == self.top => {
                let _ = delete(qmp, &above).await;
                Err(NotPivoted::AsItWas(error))
            }
            _ => Err(NotPivoted::Unknown(error)),
        }
    }

    /// Puts `merged` below the top, above the lowest `below` layers, which it was started with, in place of all in between,
    /// and has those closed. On an error the top is on them or on `merged`.
    pub(super) async fn rebase<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        qmp: &mut Qmp<S>,
        below: usize,
        merged: &Path,
    ) -> Result<(), VmError> {
        let path = argv::utf8(merged)?;
        if self.frozen.len() <= below {
            return Err(said(&format!("its disk has {} layers, none above {below}", self.frozen.len())));
        }
        let node = self.name(MERGED);
        let under = below.checked_sub(1).map(argv::layer_node);
        add(qmp, argv::frozen(&node, path, under.as_deref())).await?;
        let reopen = json!({"options": [argv::top_again(&self.top, Some(&node))]});
        if let Err(error) = qmp.execute("blockdev-reopen", reopen, DISK).await {
            // It may have been done all the same: then QEMU does not delete what the top is on.
            if delete(qmp, &node).await.is_err() {
                self.frozen.push(node);
            }
            return Err(refused(error));
        }
        self.close(qmp, below).await;
        self.frozen.push(node);
        Ok(())
    }

    /// Finds out what became of a change that another was to make: a pivot, or else a rebase. Returns whether there is a new
    /// top.
    pub(super) async fn find_out<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        qmp: &mut Qmp<S>,
        pivots: Option<bool>,
    ) -> Result<bool, VmError> {
        const UNKNOWN: &str = "QEMU does not say which layer of its disk is the top";
        let unknown = || VmError::NotAdopted(UNKNOWN.into());
        // It may say so when it is asked again.
        let writes_to = written_to(qmp).await.ok_or_else(|| said(UNKNOWN))?;
        let same = writes_to == self.top;
        match pivots {
            None | Some(false) if !same => return Err(unknown()),
            None => {}
            Some(false) => {
                let node = self.name(MERGED);
                // QEMU does not delete what is in use. One that is not there is no harm: it is not found when it is closed.
                if delete(qmp, &node).await.is_err() {
                    self.frozen.push(node);
                }
            }
            Some(true) => {
                let above = self.name(argv::TOP);
                if writes_to == above {
                    self.grow(above);
                    return Ok(true);
                }
                if !same {
                    return Err(unknown());
                }
                let _ = delete(qmp, &above).await;
            }
        }
        Ok(false)
    }

    /// Has the layers from number `below` on deleted, which nobody uses any more. A QEMU that is late is left alone: the next
    /// rebase goes on with what is left.
    async fn close<S: AsyncRead + AsyncWrite + Unpin>(&mut self, qmp: &mut Qmp<S>, below: usize) {
        while self.frozen.len() > below
            && let Some(node) = self.frozen.last()
        {
            if let Err(error) = delete(qmp, node).await {
                tracing::warn!(node, %error, "a layer that was merged is not closed");
                if late(&error) {
                    return;
                }
            }
            self.frozen.pop();
        }
    }

    /// A name for the node of a new layer; no other ever had it.
    fn name(&mut self, kind: &str) -> String {
        self.asked += 1;
        format!("{kind}{}", self.asked)
    }

    fn grow(&mut self, above: String) {
        self.frozen.push(std::mem::replace(&mut self.top, above));
    }
}

/// Adds a layer. On an error it is not there, or not for longer than the VM.
async fn add<S: AsyncRead + AsyncWrite + Unpin>(qmp: &mut Qmp<S>, layer: Value) -> Result<(), VmError> {
    let name = layer["node-name"].clone();
    let Err(error) = qmp.execute("blockdev-add", layer, DISK).await else { return Ok(()) };
    if late(&error) {
        let _ = qmp.execute("blockdev-del", json!({"node-name": name}), DISK).await;
    }
    Err(refused(error))
}

/// Deletes a layer, which closes its file. QEMU refuses one that is in use, or not there.
async fn delete<S: AsyncRead + AsyncWrite + Unpin>(qmp: &mut Qmp<S>, layer: &str) -> Result<(), QmpError> {
    qmp.execute("blockdev-del", json!({"node-name": layer}), DISK).await.map(drop)
}

/// The node that the guest's device writes to; None where QEMU does not say.
async fn written_to<S: AsyncRead + AsyncWrite + Unpin>(qmp: &mut Qmp<S>) -> Option<String> {
    let drive = json!({"path": argv::DEVICE, "property": "drive"});
    qmp.execute("qom-get", drive, DISK).await.ok()?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{
        super::qmp::tests::{open, watched},
        *,
    };

    const DONE: &str = "{\"return\": {}, \"id\": ID}\n";
    const NO: &str = "{\"error\": {\"desc\": \"no\"}, \"id\": ID}\n";
    const LATE: &str = "";

    fn writes_to(node: &str) -> String {
        format!("{{\"return\": \"{node}\", \"id\": ID}}\n")
    }

    async fn pivot(disk: &mut Disk, answers: &[&str]) -> Result<(), NotPivoted> {
        let mut qmp = open(answers).await.unwrap();
        disk.pivot(&mut qmp, Path::new("/top.qcow2")).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_pivot_is_what_qemu_made_of_it() {
        let mut disk = Disk::new(1);
        pivot(&mut disk, &[DONE, DONE]).await.unwrap();
        assert_eq!(disk.top, "disk1");
        pivot(&mut disk, &[DONE, LATE, &writes_to("disk2")]).await.unwrap();
        assert_eq!(disk.top, "disk2");
        for why in [LATE, NO] {
            let not = pivot(&mut disk, &[DONE, why, &writes_to("disk2"), DONE]).await;
            assert!(matches!(not, Err(NotPivoted::AsItWas(_))), "{not:?}");
        }
        assert_eq!((disk.top.as_str(), disk.asked), ("disk2", 4));
        assert_eq!(disk.frozen, ["layer0", "disk", "disk1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_knows_is_said_to_be_unknown() {
        let unknown: [&[&str]; 3] = [&[DONE, LATE, LATE], &[DONE], &[DONE, LATE, &writes_to("other")]];
        for answers in unknown {
            let not = pivot(&mut Disk::new(1), answers).await;
            assert!(matches!(not, Err(NotPivoted::Unknown(_))), "{not:?}");
        }
    }

    async fn find_out(disk: &mut Disk, pivots: Option<bool>, answers: &[&str]) -> Result<bool, VmError> {
        let mut qmp = open(answers).await.unwrap();
        disk.find_out(&mut qmp, pivots).await
    }

    #[tokio::test(start_paused = true)]
    async fn what_became_of_a_change_that_another_hostd_made_is_found_out() {
        let (old, new) = (writes_to("disk"), writes_to("disk1"));
        let mut disk = Disk::new(3);
        assert!(!find_out(&mut disk, None, &[&old]).await.unwrap());
        assert_eq!(disk, Disk::new(3));
        // It was not made: the name is not used again.
        assert!(!find_out(&mut disk, Some(true), &[&old, DONE]).await.unwrap());
        assert_eq!((disk.top.as_str(), disk.asked, disk.frozen.len()), ("disk", 1, 3));
        // It was.
        let mut disk = Disk::new(3);
        assert!(find_out(&mut disk, Some(true), &[&new]).await.unwrap());
        assert_eq!((disk.top.as_str(), disk.frozen.len()), ("disk1", 4));
        for (why, frozen) in [(DONE, 3), (NO, 4)] {
            let mut disk = Disk::new(3);
            assert!(!find_out(&mut disk, Some(false), &[&old, why]).await.unwrap());
            assert_eq!((disk.frozen.len(), disk.asked), (frozen, 1));
        }
        for (pivots, answer) in [(None, &*new), (Some(false), &*new), (Some(true), &*writes_to("other")), (None, NO)] {
            assert!(find_out(&mut Disk::new(3), pivots, &[answer]).await.is_err(), "{pivots:?} {answer}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_layer_that_cannot_be_opened_changes_nothing() {
        for answers in [&[LATE, DONE][..], &[NO]] {
            let mut disk = Disk::new(1);
            let not = pivot(&mut disk, answers).await;
            assert!(matches!(not, Err(NotPivoted::AsItWas(_))), "{not:?}");
            assert_eq!((disk.top.as_str(), disk.frozen.as_slice()), (argv::TOP, &["layer0".to_owned()][..]));
        }
    }

    /// On base, build and a layer of its own; the first is what was asked, in a few words.
    async fn rebase(disk: &mut Disk, answers: &[&str]) -> (Vec<String>, Result<(), VmError>) {
        let (mut qmp, asked) = watched(answers).await;
        let rebased = disk.rebase(&mut qmp, 2, Path::new("/merged.qcow2")).await;
        drop(qmp);
        let asked = asked.await.unwrap();
        // The first is how a connection begins.
        (asked.iter().skip(1).map(in_words).collect(), rebased)
    }

    fn in_words(question: &Value) -> String {
        let arguments = &question["arguments"];
        let node = arguments.pointer("/options/0").unwrap_or(arguments);
        let what = question["execute"].as_str().unwrap().trim_start_matches("blockdev-");
        if let Some(drive) = node["value"].as_str() {
            return format!("{what} {drive}");
        }
        if let Some(overlay) = node["overlay"].as_str() {
            return format!("{what} {} under {overlay}", node["node"].as_str().unwrap());
        }
        let name = node["node-name"].as_str().unwrap_or_default();
        let below = node["backing"].as_str().map(|below| format!(" on {below}"));
        format!("{what} {name}{}", below.unwrap_or_default())
    }

    #[tokio::test(start_paused = true)]
    async fn layers_that_were_merged_are_closed() {
        let mut disk = Disk::new(3);
        pivot(&mut disk, &[DONE; 2]).await.unwrap();
        let (asked, rebased) = rebase(&mut disk, &[DONE; 4]).await;
        rebased.unwrap();
        let wanted = ["add merged2 on layer1", "reopen disk1 on merged2", "del disk", "del layer2"];
        assert_eq!(asked, wanted);
        pivot(&mut disk, &[DONE; 2]).await.unwrap();
        let (asked, rebased) = rebase(&mut disk, &[DONE; 4]).await;
        rebased.unwrap();
        assert_eq!(asked[1..], ["reopen disk3 on merged4", "del disk1", "del merged2"]);
        assert_eq!((disk.top.as_str(), disk.frozen), ("disk3", ["layer0", "layer1", "merged4"].map(Into::into).into()));
    }

    /// To one that was started on base and build.
    async fn give(disk: &mut Disk, own: &[&str], answers: &[&str]) -> (Vec<String>, Result<(), VmError>) {
        let (mut qmp, asked) = watched(answers).await;
        let layers: Vec<_> = ["/base.ext4", "/build.qcow2"].iter().chain(own).map(PathBuf::from).collect();
        let given = disk.give(&mut qmp, &layers, Path::new("/top.qcow2")).await;
        drop(qmp);
        (asked.await.unwrap().iter().skip(1).map(in_words).collect(), given)
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_was_given_is_as_one_that_was_started_with() {
        let mut disk = Disk::to_come(2);
        let (asked, given) = give(&mut disk, &["/a.qcow2", "/b.qcow2"], &[DONE; 4]).await;
        given.unwrap();
        let wanted = ["add layer2 on layer1", "add layer3 on layer2", "add disk1 on layer3", "qom-set disk1"];
        assert_eq!(asked, wanted);
        assert_eq!((disk.top.as_str(), &disk.frozen), ("disk1", &(0..4).map(argv::layer_node).collect()));
        for mut disk in [disk, Disk::new(3)] {
            let (asked, given) = give(&mut disk, &["/a.qcow2"], &[]).await;
            assert!(asked.is_empty() && given.is_ok(), "it has one");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_is_given_whole_or_with_an_error() {
        for failing in 0..3 {
            let mut answers = [DONE; 3];
            answers[failing] = NO;
            let mut disk = Disk::to_come(2);
            let (_, given) = give(&mut disk, &["/a.qcow2"], &answers).await;
            assert!(given.is_err() && disk.to_come && disk.top == argv::TOP, "{failing}: {disk:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_rebase_leaves_what_may_be_in_use() {
        for why in [LATE, NO] {
            // It was not done: what nobody is on can be deleted.
            let mut disk = Disk::new(3);
            let (_, not) = rebase(&mut disk, &[DONE, why, DONE]).await;
            assert!(not.is_err());
            assert_eq!(disk.frozen, ["layer0", "layer1", "layer2"]);
            // It may have been done: the next one finds out.
            let (_, not) = rebase(&mut disk, &[DONE, why, NO]).await;
            assert!(not.is_err());
            assert_eq!(disk.frozen, ["layer0", "layer1", "layer2", "merged2"]);
            let (asked, rebased) = rebase(&mut disk, &[DONE, DONE, NO, DONE]).await;
            rebased.unwrap();
            assert_eq!(asked[2..], ["del merged2", "del layer2"]);
            assert_eq!(disk.frozen, ["layer0", "layer1", "merged3"]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_closed_in_time_is_closed_the_next_time() {
        let mut disk = Disk::new(4);
        rebase(&mut disk, &[DONE, DONE, DONE, LATE, DONE]).await.1.unwrap();
        assert_eq!(disk.frozen, ["layer0", "layer1", "layer2", "merged1"]);
        let (asked, rebased) = rebase(&mut disk, &[DONE, DONE, DONE, NO]).await;
        rebased.unwrap();
        assert_eq!(asked[2..], ["del merged1", "del layer2"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_merged_layer_that_cannot_be_opened_changes_nothing() {
        for answers in [&[LATE, DONE][..], &[NO]] {
            let mut disk = Disk::new(3);
            assert!(rebase(&mut disk, answers).await.1.is_err());
            assert_eq!(disk.frozen, ["layer0", "layer1", "layer2"]);
        }
        // Nor is one put on the layers of its environment alone.
        let (asked, not) = rebase(&mut Disk::new(2), &[]).await;
        assert!(asked.is_empty() && not.is_err());
    }
}
