mod admission;
mod adoption;
mod costs;
mod diffs;
mod elsewhere;
#[cfg(feature = "failpoints")]
mod faults;
mod feed;
mod figures;
mod forks;
mod layers;
mod limits;
mod lives;
mod pool;
mod reports;
mod restarts;
mod suspends;
mod waits;
pub(super) mod world;
