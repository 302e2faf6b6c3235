//! Who is told how far the work on an image has come, and may end it.

/// Who is told how it goes on, often.
pub trait Watch: Send + Sync {
    /// Takes how many bytes of the layers' files were read, of twice as many as there are; false: it is to end.
    fn goes_on(&self, read: u64) -> bool;

    /// Whether it is to end: asked where much is done and little is read.
    fn is_ended(&self) -> bool;
}
