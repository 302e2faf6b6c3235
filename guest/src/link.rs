//! The guest's end of a virtio-serial port: connections, one after another, each begun with a preamble.

mod port;
mod serve;

pub use port::{Connection, Port};
pub use serve::serve;
