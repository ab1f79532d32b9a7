//! Work on many items by several threads, with results in the items' order.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// `work(state, i)` for each i in 0..`n`, on up to `threads` threads that each
/// make a state of their own. The result does not depend on `threads`. The
/// first error in order of i is returned.
pub fn map<S, T: Send, E: Send>(
    n: usize,
    threads: usize,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, usize) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    const CHUNK: usize = 16;
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::<(usize, Result<Vec<T>, E>)>::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, n.div_ceil(CHUNK).max(1)) {
            scope.spawn(|| {
                let mut own = state();
                loop {
                    let start = next.fetch_add(CHUNK, Ordering::Relaxed);
                    if start >= n {
                        break;
                    }
                    let end = (start + CHUNK).min(n);
                    let chunk: Result<Vec<T>, E> =
                        (start..end).map(|i| work(&mut own, i)).collect();
                    let failed = chunk.is_err();
                    done.lock().expect("no thread panicked").push((start, chunk));
                    if failed {
                        break;
                    }
                }
            });
        }
    });
    let mut chunks = done.into_inner().expect("no thread panicked");
    chunks.sort_by_key(|(start, _)| *start);
    let mut all = Vec::with_capacity(n);
    for (_, chunk) in chunks {
        all.extend(chunk?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_that_of_the_items() {
        for threads in [1, 3] {
            let out: Result<Vec<usize>, ()> = map(100, threads, || (), |(), i| Ok(i * i));
            assert_eq!(out.unwrap(), (0..100).map(|i| i * i).collect::<Vec<_>>());
        }
        let none: Result<Vec<usize>, ()> = map(0, 2, || (), |(), i| Ok(i));
        assert!(none.unwrap().is_empty());
    }

    #[test]
    fn an_error_is_returned() {
        let out = map(100, 2, || (), |(), i| if i == 40 { Err(i) } else { Ok(i) });
        assert_eq!(out.unwrap_err(), 40);
    }
}
