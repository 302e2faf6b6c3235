mod board;
#[cfg(feature = "failpoints")]
mod faults;
mod forks;
mod guest;
mod layers;
mod lives;
mod restarts;
mod room;
mod waits;
mod world;
