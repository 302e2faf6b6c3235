mod diffs;
mod elsewhere;
#[cfg(feature = "failpoints")]
mod faults;
mod feed;
mod forks;
mod guest;
mod layers;
mod lives;
mod pool;
mod restarts;
mod room;
mod suspends;
mod waits;
mod world;
