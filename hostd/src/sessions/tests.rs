mod diffs;
mod elsewhere;
#[cfg(feature = "failpoints")]
mod faults;
mod feed;
mod forks;
pub(super) mod guest;
mod layers;
mod lives;
pub(super) mod made_up;
mod pool;
mod restarts;
mod room;
mod suspends;
mod waits;
pub(super) mod world;
