mod board;
#[cfg(feature = "failpoints")]
mod faults;
mod guest;
mod lives;
mod restarts;
mod world;
