//! Jobs on a few threads, results in order.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Runs `job` for 0..n on `threads` threads; results in order.
pub(crate) fn parallel<T: Send>(
    threads: usize,
    n: usize,
    job: impl Fn(usize) -> T + Sync,
) -> Vec<T> {
    if threads <= 1 || n <= 1 {
        return (0..n).map(job).collect();
    }
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<Option<T>>> = Mutex::new((0..n).map(|_| None).collect());
    let work = || {
        loop {
            let k = next.fetch_add(1, Ordering::Relaxed);
            if k >= n {
                return;
            }
            let result = job(k);
            done.lock().expect("no other worker panicked")[k] = Some(result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(n) {
            scope.spawn(work);
        }
        work();
    });
    let done = done.into_inner().expect("no worker panicked");
    done.into_iter().map(|slot| slot.expect("every job ran")).collect()
}

/// Runs `job` on every one of `tasks`, on `threads` threads.
pub(super) fn each<T: Send>(threads: usize, tasks: Vec<T>, job: impl Fn(T) + Sync) {
    let slots: Vec<Mutex<Option<T>>> = tasks.into_iter().map(|t| Mutex::new(Some(t))).collect();
    parallel(threads, slots.len(), |k| {
        let task = slots[k].lock().expect("no other worker panicked").take();
        job(task.expect("each task is taken once"));
    });
}
