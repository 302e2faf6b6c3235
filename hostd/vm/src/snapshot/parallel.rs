//! One piece of work after another, on all processors.

use std::{
    sync::mpsc::{Receiver, sync_channel},
    thread,
};

/// Most threads: each needs the memory that one piece takes.
const THREADS: usize = 8;
/// Results of each thread that may wait for those before them.
const AHEAD: usize = 2;

/// Does `work` for each number below `count`, with something that each thread has for itself, and `then` something with each
/// result, in order, on the calling thread.
///
/// # Errors
/// The first of `then`; what follows it is not waited for.
pub(super) fn in_order<S, T: Send, E>(
    count: usize,
    own: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, usize) -> T + Sync,
    mut then: impl FnMut(T) -> Result<(), E>,
) -> Result<(), E> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS).min(count);
    let here = |then: &mut dyn FnMut(T) -> Result<(), E>| {
        let mut own = own();
        (0..count).map(|number| work(&mut own, number)).try_for_each(then)
    };
    if threads < 2 {
        return here(&mut then);
    }
    let (own, work) = (&own, &work);
    thread::scope(|scope| {
        let begin = |first: usize| {
            let (results, received) = sync_channel(AHEAD);
            let numbers = (first..count).step_by(threads);
            // Nobody takes the result after an error.
            let run = move || {
                let mut own = own();
                numbers.map(|number| work(&mut own, number)).try_for_each(|result| results.send(result))
            };
            thread::Builder::new().spawn_scoped(scope, run).ok().map(|_| received)
        };
        let received: Option<Vec<Receiver<T>>> = (0..threads).map(begin).collect();
        match received {
            // A thread that ends before its last result has panicked, and so will the scope.
            Some(received) => {
                (0..count).map_while(|number| received[number % threads].recv().ok()).try_for_each(&mut then)
            }
            // A host with no thread to spare.
            None => here(&mut then),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn results_come_in_order_and_an_error_ends_it() {
        for count in [0, 1, 2, 1000] {
            let mut seen = Vec::new();
            let all = in_order(
                count,
                || 2,
                |two, number| number * *two,
                |result| {
                    seen.push(result);
                    Ok::<_, ()>(())
                },
            );
            assert!(all.is_ok());
            assert_eq!(seen, (0..count).map(|number| number * 2).collect::<Vec<_>>());
        }
        let begun = AtomicUsize::new(0);
        let work = |(): &mut (), number| {
            begun.fetch_add(1, Ordering::Relaxed);
            number
        };
        assert_eq!(in_order(1000, || (), work, |number| if number == 3 { Err("three") } else { Ok(()) }), Err("three"));
        assert!(begun.load(Ordering::Relaxed) < 100);
    }
}
