//! Times in parts, and how they are printed.

use std::time::Duration;

/// The parts of one thing, in order.
pub(crate) type Parts = Vec<(&'static str, Duration)>;

/// The median of each part over several rounds.
pub(crate) struct Medians(Vec<(&'static str, Duration)>);

/// Gathers the rounds of one thing.
pub(crate) fn parts<'a>(rounds: impl Iterator<Item = &'a Parts>) -> Medians {
    let rounds: Vec<&Parts> = rounds.collect();
    let names = rounds.first().map(|first| first.iter().map(|(name, _)| *name).collect::<Vec<_>>()).unwrap_or_default();
    let of = |number: usize| median(rounds.iter().map(|round| round[number].1).collect());
    Medians(names.into_iter().enumerate().map(|(number, name)| (name, of(number))).collect())
}

impl Medians {
    /// From the beginning to the end of this part.
    pub(crate) fn until(&self, last: &str) -> Duration {
        let end = self.0.iter().position(|(name, _)| *name == last).expect("a part of it");
        self.0[..=end].iter().map(|(_, time)| *time).sum()
    }

    pub(crate) fn print(&self) {
        for (name, time) in &self.0 {
            println!("    {name:38} {:>10.2?}", time);
        }
        println!();
    }
}

/// The middle one.
pub(crate) fn median<T: Ord + Copy>(mut values: Vec<T>) -> T {
    values.sort_unstable();
    values[values.len() / 2]
}

/// Prints how many times faster than its peer something is.
pub(crate) fn compare(what: &str, ours: Duration, peer: &str, theirs: Duration, wanted: &str) {
    let ratio = theirs.as_secs_f64() / ours.as_secs_f64();
    let wanted = if wanted.is_empty() { String::new() } else { format!("   (wanted: {wanted})") };
    println!("{what:42} {ours:>10.2?}   {ratio:6.1} x faster than {peer}, {theirs:.2?}{wanted}");
}

/// Prints what part of its peer's time something takes.
pub(crate) fn at_most(what: &str, ours: Duration, peer: &str, theirs: Duration, wanted: &str) {
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    println!("{what:42} {ours:>10.2?}   {ratio:6.2} x {peer}, {theirs:.2?}   (wanted: {wanted})");
}

/// Prints how many times smaller than its peer something is.
pub(crate) fn compare_bytes(what: &str, ours: u64, peer: &str, theirs: u64, wanted: &str) {
    #[allow(clippy::cast_precision_loss)] // a ratio
    let ratio = theirs as f64 / ours.max(1) as f64;
    let kib = |bytes: u64| format!("{} KiB", bytes >> 10);
    println!("{what:42} {:>10}   {ratio:6.1} x smaller than {peer}, {}   (wanted: {wanted})\n", kib(ours), kib(theirs));
}
