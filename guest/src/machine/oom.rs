//! The kernel's log, read for processes that it killed for want of memory.

use std::{convert::Infallible, fs, io, os::unix::fs::OpenOptionsExt as _, path::Path};

use pilothouse_proto::guest::v1::event::Event;
use rustix::fs::SeekFrom;
use tokio::io::Interest;

use crate::{descriptor, events::Events};

/// Longest name of a process that is passed on; the kernel's are shorter.
const NAME_MAX: usize = 64;

/// Reports each kill as an event, for ever. Returns only when the log cannot be read.
///
/// # Errors
/// As of reading it.
pub async fn watch(log: &Path, events: Events) -> io::Result<Infallible> {
    let file = fs::File::options().read(true).custom_flags(libc::O_NONBLOCK).open(log)?;
    rustix::fs::seek(&file, SeekFrom::End(0))?;
    let log = descriptor::watch(file.into(), Interest::READABLE)?;
    let mut record = vec![0; 8192];
    loop {
        let mut ready = log.readable().await?;
        match ready.try_io(|file| Ok(rustix::io::read(file, &mut record)?)) {
            Ok(Ok(length)) => {
                if let Some(name) = killed(&String::from_utf8_lossy(&record[..length])) {
                    events.push(Event::OomKilled(name));
                }
            }
            // Records were overwritten before they were read.
            Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Ok(Err(error)) => return Err(error),
            Err(_would_block) => {}
        }
    }
}

/// The name of the process that this record of /dev/kmsg says was killed.
#[doc(hidden)]
#[must_use]
pub fn killed(record: &str) -> Option<String> {
    let (prefix, message) = record.split_once(';')?;
    let priority: u32 = prefix.split(',').next()?.parse().ok()?;
    // Facility 0 is the kernel itself: programs may write here too.
    if priority >> 3 != 0 {
        return None;
    }
    let (_, rest) = message.split_once(": Killed process ")?;
    let (_, name) = rest.split_once('(')?;
    let (name, _) = name.split_once(") total-vm:").or_else(|| name.split_once(')'))?;
    Some(name.chars().filter(|c| !c.is_control()).take(NAME_MAX).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_kills_of_the_kernel_alone() {
        let line = "Out of memory: Killed process 412 (node (x)) total-vm:1000kB, anon-rss:900kB";
        assert_eq!(killed(&format!("3,1000,5000000,-;{line}\n")).as_deref(), Some("node (x)"));
        assert_eq!(
            killed("3,1,2,-;Memory cgroup out of memory: Killed process 7 (a) total-vm:1").as_deref(),
            Some("a")
        );
        assert_eq!(killed(&format!("12,1000,5000000,-;{line}\n")), None);
        assert_eq!(killed("6,1,2,-;virtio_blk virtio0: [vda] 100"), None);
        assert_eq!(killed(""), None);
    }
}
