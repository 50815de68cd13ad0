//! One thread reads, many work, one writes: in the order of the input.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::Builder;

use twinfer::{Result, err};

use crate::chunk::Chunk;
use crate::read::Chunks;
use crate::task::Done;

/// Chunks that are in memory for each thread: one that it works on, one that waits for it, and one that
/// is done and waits for its turn.
const CHUNKS_FOR_EACH: usize = 3;
/// What a prediction may take on the stack: as much as the main thread has on most systems.
const STACK: usize = 8 << 20;

type Numbered<T> = (u64, T);

/// Works on all chunks, and hands on what was done in their order. What fails ends it, after all before
/// it was handed on.
///
/// # Errors
/// Those of `chunks`, `work` and `write`; `internal` where the system gives no threads.
pub(crate) fn each(
    mut chunks: Box<dyn Chunks>,
    threads: usize,
    work: &(dyn Fn(&Chunk) -> Result<Done> + Sync),
    write: &mut dyn FnMut(Done) -> Result<()>,
) -> Result<()> {
    let (free, freed) = channel::<()>();
    for _ in 0..threads * CHUNKS_FOR_EACH {
        let _ = free.send(());
    }
    let (give, take) = channel::<Numbered<Chunk>>();
    let take = Mutex::new(take);
    let (finish, finished) = channel::<Numbered<Result<Done>>>();
    std::thread::scope(|scope| {
        // Whatever ends this function drops its ends of the channels, and so ends the threads.
        let (free, finished) = (free, finished);
        let take = &take;
        for _ in 0..threads {
            let finish = finish.clone();
            let thread = Builder::new().stack_size(STACK);
            let started = thread.spawn_scoped(scope, move || worker(take, &finish, work));
            started.map_err(|e| err!(Internal, "the system gives no thread: {e}"))?;
        }
        let started = Builder::new().spawn_scoped(scope, move || {
            reader(&mut *chunks, &freed, &give, &finish);
        });
        started.map_err(|e| err!(Internal, "the system gives no thread: {e}"))?;
        let mut waiting = BTreeMap::new();
        let mut next = 0;
        for (number, done) in finished.iter() {
            waiting.insert(number, done);
            while let Some(done) = waiting.remove(&next) {
                write(done?)?;
                next += 1;
                // The reader may have reached the end.
                let _ = free.send(());
            }
        }
        Ok(())
    })
}

fn reader(
    chunks: &mut dyn Chunks,
    freed: &Receiver<()>,
    give: &Sender<Numbered<Chunk>>,
    finish: &Sender<Numbered<Result<Done>>>,
) {
    for number in 0.. {
        if freed.recv().is_err() {
            return;
        }
        let sent = match chunks.next() {
            Ok(Some(chunk)) => give.send((number, chunk)).is_ok(),
            Ok(None) => false,
            Err(error) => {
                let _ = finish.send((number, Err(error)));
                false
            }
        };
        if !sent {
            return;
        }
    }
}

fn worker(
    take: &Mutex<Receiver<Numbered<Chunk>>>,
    finish: &Sender<Numbered<Result<Done>>>,
    work: &(dyn Fn(&Chunk) -> Result<Done> + Sync),
) {
    loop {
        let taken = take.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((number, chunk)) = taken else { return };
        if finish.send((number, work(&chunk))).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::{Place, Raw};
    use crate::encode::Encoded;
    use crate::task::Counted;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;
    use twinfer::ErrorCode;

    struct Counting(u64, u64, std::sync::Arc<AtomicU64>);

    impl Chunks for Counting {
        fn next(&mut self) -> Result<Option<Chunk>> {
            if self.0 == self.1 {
                twinfer::bail!(Storage, "the end");
            }
            self.0 += 1;
            self.2.fetch_add(1, Ordering::SeqCst);
            Ok(Some(Chunk {
                first: self.0 - 1,
                rows: Raw::Files(Vec::new()),
                file: None,
                next: Place {
                    row: self.0,
                    ..Place::default()
                },
            }))
        }
    }

    fn work(chunk: &Chunk) -> Result<Done> {
        // Those that come first take longest.
        std::thread::sleep(Duration::from_micros(300 - chunk.first % 300));
        Ok(Done {
            output: Encoded::Text(Vec::new()),
            counted: Counted {
                next: chunk.next.clone(),
                good: 0,
                bad: Vec::new(),
                bad_lines: Vec::new(),
            },
        })
    }

    #[test]
    fn in_order_bounded_and_up_to_the_error() {
        let read = std::sync::Arc::new(AtomicU64::new(0));
        let mut seen = Vec::new();
        let error = each(
            Box::new(Counting(0, 100, read.clone())),
            4,
            &work,
            &mut |done| {
                seen.push(done.counted.next.row);
                let ahead = read.load(Ordering::SeqCst) - (seen.len() as u64 - 1);
                assert!(ahead <= 4 * CHUNKS_FOR_EACH as u64, "{ahead}");
                Ok(())
            },
        );
        assert_eq!(error.unwrap_err().code(), ErrorCode::Storage);
        assert_eq!(seen, (1..=100).collect::<Vec<_>>());
    }

    #[test]
    fn a_writer_that_fails_ends_it() {
        let read = std::sync::Arc::new(AtomicU64::new(0));
        let mut count = 0;
        let error = each(Box::new(Counting(0, u64::MAX, read)), 2, &work, &mut |_| {
            count += 1;
            match count {
                3 => twinfer::bail!(OutOfSpace, "full"),
                _ => Ok(()),
            }
        });
        assert_eq!(error.unwrap_err().code(), ErrorCode::OutOfSpace);
    }
}
