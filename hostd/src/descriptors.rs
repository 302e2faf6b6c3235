//! File descriptors: how many hostd may have, and has.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Most file descriptors that hostd asks for, where a system allows any number.
const MOST: u64 = 1 << 20;

/// Raises this process's limit to what it may be raised to; returns the limit as it is then.
pub(crate) fn raise() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(MOST, |most| most.min(MOST)).max(limit.current.unwrap_or(0));
    let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => wanted,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files stays as it is");
            most()
        }
    }
}

/// Number of files that this process could still open; where that cannot be read, the largest number.
pub(crate) fn left() -> u64 {
    // One of them is what is read here.
    let open = std::fs::read_dir("/proc/self/fd").map(|all| all.count() as u64);
    open.map_or(u64::MAX, |open| most().saturating_sub(open))
}

fn most() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_counts() {
        let most = raise();
        assert_eq!(Some(most), getrlimit(Resource::Nofile).current);
        let files: Vec<_> = (0..100).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        // Other tests open and close some meanwhile.
        assert!(left() <= most - 100, "{} of {most}", left());
        drop(files);
    }
}
