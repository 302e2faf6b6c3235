//! Work on what a guest wrote, whose panics are caught: they end nothing, and the panic hook says nothing of them.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
};

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Does something that may panic on hostile bytes; None: it did. What it worked on may be half changed then.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    let before = GUARDED.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(before);
    done.ok()
}

/// Whether a panic on this thread is caught and expected. For panic hooks: they leave the terminal alone then.
#[must_use]
pub fn is_guarded() -> bool {
    GUARDED.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_inside_is_caught_and_known_as_expected() {
        assert_eq!((guarded(is_guarded), is_guarded()), (Some(true), false));
        // Also where one stands in another.
        assert_eq!(
            guarded(|| (guarded(|| -> u8 { panic!("as the test wants it") }), is_guarded())),
            Some((None, true))
        );
        assert!(!is_guarded());
    }
}
