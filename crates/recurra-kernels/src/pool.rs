//! A team of threads that shares one piece of work at a time.
//!
//! A recurrent layer meets at a barrier after every time step, so handing out work and meeting must cost well under a
//! microsecond; on a busy machine nobody may burn a core that another process needs. So waiting is in three stages: spin,
//! then yield to whoever wants the core, and between pieces of work sleep. Where another process holds a core, a member may
//! come late to every barrier by a whole slice of the scheduler's time, thousands of steps: then the calling thread
//! [retreats](Retreat) and works alone for a while. Work in which nobody meets is [offered](Pool::offer): who comes late finds
//! it done, and nobody has waited for him. No result depends on the number of members.

use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::retreat::Retreat;

/// Turns of the spin loop before a thread that waits for work yields its core: some microseconds.
const SPINS: usize = 200;
/// The same for a member that waits for another in the middle of work, some 100 µs: who yields his core to a process that is
/// always ready gets it back milliseconds later.
const SPINS_AT_WORK: usize = 2000;
/// Turns from which waiting is worth measuring.
const MEASURED: usize = 50;
/// Yields before a waiting thread between two pieces of work goes to sleep.
const YIELDS: usize = 50;

/// A fixed team of threads; the calling thread is its first member.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// One piece of work at a time.
    turn: Mutex<Retreat>,
}

/// What the members of the team share.
#[derive(Debug)]
struct Shared {
    count: usize,
    /// Counts pieces of work; a member that sees it change runs the next one.
    generation: AtomicUsize,
    /// Members other than the caller that have finished the current piece.
    finished: AtomicUsize,
    job: Mutex<Job>,
    wake: Condvar,
    /// Members that have arrived at the barrier, and how often it has opened.
    arrived: AtomicUsize,
    opened: AtomicUsize,
    panicked: AtomicBool,
    /// Nanoseconds that members waited for each other during the current piece of work.
    waited: AtomicU64,
}

#[derive(Default)]
struct Job {
    /// None when it is over: who comes now comes too late.
    work: Option<Work>,
    /// Members other than the caller that have begun it.
    begun: usize,
    quit: bool,
    panic: Option<Box<dyn Any + Send>>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("quit", &self.quit).finish_non_exhaustive()
    }
}

/// A borrowed closure whose lifetime `Pool::with_team` guards.
#[derive(Clone, Copy)]
struct Work {
    call: *const (dyn Fn(&Worker<'_>) + Sync),
    /// Whether all members do it, so that they can meet.
    meets: bool,
}

// SAFETY: the closure behind the pointer is `Sync`, and `Pool::with_team` does not return before every member has left it.
unsafe impl Send for Work {}

/// One member of the team while it works.
#[derive(Debug)]
pub struct Worker<'a> {
    /// Which member this is: 0 is the calling thread.
    pub index: usize,
    /// How many work on this piece.
    count: usize,
    /// Whether all of them do, so that they can meet.
    meets: bool,
    shared: &'a Shared,
}

impl Pool {
    /// A team of `threads` members (at least one), of which `threads - 1` are new threads.
    pub fn new(threads: usize) -> Self {
        let count = threads.max(1);
        let shared = Arc::new(Shared::new(count));
        let threads = (1..count)
            .map(|index| {
                let shared = Arc::clone(&shared);
                std::thread::Builder::new()
                    .name(format!("recurra-{index}"))
                    .spawn(move || shared.serve(index))
                    .expect("the operating system refused a thread")
            })
            .collect();
        Self { shared, threads, turn: Mutex::new(Retreat::default()) }
    }

    /// How many members the team has.
    pub fn threads(&self) -> usize {
        self.shared.count
    }

    /// Runs `work` once on every member and returns when all have finished; in a [retreat](Retreat) on the caller alone.
    ///
    /// Members may meet inside with [`Worker::barrier`]. `work` must not call the same pool.
    ///
    /// # Panics
    /// When a member panicked, with its panic.
    pub fn run(&self, work: impl Fn(&Worker<'_>) + Sync) {
        let mut retreat = locked(&self.turn);
        let started = Instant::now();
        if self.threads() == 1 || retreat.lasts(started) {
            return self.alone(work);
        }
        let waited = self.with_team(true, &work);
        let now = Instant::now();
        retreat.observe(now, now - started, waited / (self.threads() as u32 - 1));
    }

    /// Runs `work` on the caller and on each member that comes before the caller has finished: for work in which everybody
    /// takes tasks that nobody has begun, until there are none. Members cannot meet. `work` must not call the same pool.
    ///
    /// # Panics
    /// When a member panicked, with its panic.
    pub fn offer(&self, work: impl Fn(&Worker<'_>) + Sync) {
        if self.threads() == 1 {
            return self.alone(work);
        }
        let _turn = locked(&self.turn);
        self.with_team(false, &work);
    }

    /// Runs `work` on the caller and on all of the team if it `meets`, else on those that come in time; says how long members
    /// waited for each other.
    fn with_team(&self, meets: bool, work: &(dyn Fn(&Worker<'_>) + Sync)) -> Duration {
        let shared = &*self.shared;
        let caller = Worker { index: 0, count: shared.count, meets, shared };
        // SAFETY: only the lifetime changes; `wait_while` below returns after the last use of the pointer: nobody begins any
        // more then. It runs even when `work` panics on this thread.
        let call = unsafe {
            std::mem::transmute::<
                *const (dyn Fn(&Worker<'_>) + Sync + '_),
                *const (dyn Fn(&Worker<'_>) + Sync + 'static),
            >(work)
        };
        shared.finished.store(0, Ordering::Relaxed);
        {
            // Under the lock, or a member that is just falling asleep would miss it.
            let mut job = locked(&shared.job);
            job.work = Some(Work { call, meets });
            job.begun = 0;
            shared.generation.fetch_add(1, Ordering::Release);
        }
        shared.wake.notify_all();
        let mine = catch_unwind(AssertUnwindSafe(|| work(&caller)));
        if mine.is_err() {
            shared.panicked.store(true, Ordering::Release);
        }
        let awaited = if meets {
            shared.count - 1
        } else {
            let mut job = locked(&shared.job);
            job.work = None;
            job.begun
        };
        shared.wait_while(|| shared.finished.load(Ordering::Acquire) != awaited);
        let waited = Duration::from_nanos(shared.waited.swap(0, Ordering::Relaxed));
        if shared.panicked.swap(false, Ordering::AcqRel) {
            shared.arrived.store(0, Ordering::Relaxed);
            let theirs = locked(&shared.job).panic.take();
            resume_unwind(match (mine, theirs) {
                (_, Some(panic)) | (Err(panic), None) => panic,
                (Ok(()), None) => Box::new("a member of the team panicked"),
            });
        }
        waited
    }

    /// Runs `work` on the calling thread alone: for work that is shorter than waking the team.
    pub fn alone(&self, work: impl Fn(&Worker<'_>)) {
        work(&Worker { index: 0, count: 1, meets: true, shared: &self.shared });
    }

    /// Runs `task(0)` … `task(n_tasks - 1)`, each once, on whichever member is free: for tasks that share nothing.
    pub fn for_each(&self, n_tasks: usize, task: impl Fn(usize) + Sync) {
        if n_tasks <= 1 || self.threads() == 1 {
            return (0..n_tasks).for_each(task);
        }
        let next = AtomicUsize::new(0);
        self.offer(|_| {
            loop {
                let idx = next.fetch_add(1, Ordering::Relaxed);
                if idx >= n_tasks {
                    break;
                }
                task(idx);
            }
        });
    }

    /// The same, `alone` on the calling thread: for work that is shorter than waking the team.
    pub fn for_each_or_alone(&self, alone: bool, n_tasks: usize, task: impl Fn(usize) + Sync) {
        if alone {
            (0..n_tasks).for_each(task);
        } else {
            self.for_each(n_tasks, task);
        }
    }

    /// Runs `block` for `size` of `len` places after the other, the last of them for what is left.
    pub fn for_each_block(&self, len: usize, size: usize, block: impl Fn(Range<usize>) + Sync) {
        self.for_each(len.div_ceil(size), |idx| block(idx * size..len.min((idx + 1) * size)));
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        {
            let mut job = locked(&self.shared.job);
            job.quit = true;
            self.shared.generation.fetch_add(1, Ordering::Release);
        }
        self.shared.wake.notify_all();
        for thread in self.threads.drain(..) {
            // A member that panicked has reported it through `run`.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn new(count: usize) -> Self {
        Self {
            count,
            generation: AtomicUsize::new(0),
            finished: AtomicUsize::new(0),
            job: Mutex::default(),
            wake: Condvar::new(),
            arrived: AtomicUsize::new(0),
            opened: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            waited: AtomicU64::new(0),
        }
    }

    /// The life of a member: wait for work, do it, say so.
    fn serve(&self, index: usize) {
        let mut seen = 0;
        loop {
            let Some(work) = self.next_work(&mut seen) else { return };
            let Work { call, meets } = work;
            let worker = Worker { index, count: self.count, meets, shared: self };
            // SAFETY: `Pool::with_team` keeps the closure alive until whoever has begun is counted as finished, below.
            let outcome = catch_unwind(AssertUnwindSafe(|| unsafe { (*call)(&worker) }));
            if let Err(panic) = outcome {
                locked(&self.job).panic = Some(panic);
                self.panicked.store(true, Ordering::Release);
            }
            self.finished.fetch_add(1, Ordering::Release);
        }
    }

    fn next_work(&self, seen: &mut usize) -> Option<Work> {
        loop {
            for turn in 0..SPINS + YIELDS {
                if self.generation.load(Ordering::Acquire) != *seen {
                    break;
                }
                pause(turn, SPINS);
            }
            let mut job = locked(&self.job);
            while self.generation.load(Ordering::Acquire) == *seen {
                job = self.wake.wait(job).unwrap_or_else(PoisonError::into_inner);
            }
            *seen = self.generation.load(Ordering::Acquire);
            if job.quit {
                return None;
            }
            if job.work.is_some() {
                job.begun += 1;
                return job.work;
            }
        }
    }

    /// Waits in the middle of work, and counts the time.
    fn wait_while(&self, not_yet: impl Fn() -> bool) {
        let (mut turn, mut since) = (0, None);
        while not_yet() {
            if turn == MEASURED {
                since = Some(Instant::now());
            }
            pause(turn, SPINS_AT_WORK);
            turn += 1;
        }
        if let Some(since) = since {
            self.waited.fetch_add(since.elapsed().as_nanos() as u64, Ordering::Relaxed);
        }
    }
}

impl Worker<'_> {
    /// How many members work on this piece: all of the team, or the caller alone.
    pub fn count(&self) -> usize {
        self.count
    }

    /// This member's contiguous share of `n` equal pieces.
    pub fn share(&self, n: usize) -> Range<usize> {
        n * self.index / self.count()..n * (self.index + 1) / self.count()
    }

    /// Waits until every member has called it; what each wrote before is visible to all after.
    ///
    /// # Panics
    /// When another member panicked, so that nobody waits for it for ever.
    pub fn barrier(&self) {
        let shared = self.shared;
        if self.count == 1 {
            return;
        }
        assert!(self.meets, "a meeting of whoever came");
        let opened = shared.opened.load(Ordering::Acquire);
        if shared.arrived.fetch_add(1, Ordering::AcqRel) + 1 == shared.count {
            shared.arrived.store(0, Ordering::Relaxed);
            shared.opened.store(opened.wrapping_add(1), Ordering::Release);
            return;
        }
        shared.wait_while(|| {
            assert!(
                !shared.panicked.load(Ordering::Acquire),
                "another member of the team panicked"
            );
            shared.opened.load(Ordering::Acquire) == opened
        });
    }
}

fn pause(turn: usize, spins: usize) {
    if turn < spins { std::hint::spin_loop() } else { std::thread::yield_now() }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SharedSlice;

    #[test]
    fn every_member_runs_and_barriers_order_their_writes() {
        for threads in [1, 2, 3, 5] {
            let pool = Pool::new(threads);
            let mut values = vec![0_usize; threads];
            for round in 0..200 {
                let shared = SharedSlice::new(&mut values);
                pool.run(|worker| {
                    for step in 0..5 {
                        // SAFETY: each member writes its own place only; the barrier ends the writing.
                        unsafe {
                            shared.slice(worker.index..worker.index + 1)[0] = round * 10 + step
                        };
                        worker.barrier();
                        // SAFETY: nobody writes between the two barriers.
                        let seen = unsafe { shared.slice(0..worker.count()) };
                        assert!(seen.iter().all(|&value| value == round * 10 + step));
                        worker.barrier();
                    }
                });
            }
        }
    }

    #[test]
    fn tasks_run_once_each() {
        let pool = Pool::new(3);
        let counts: Vec<AtomicUsize> = (0..1000).map(|_| AtomicUsize::new(0)).collect();
        pool.for_each(counts.len(), |idx| {
            counts[idx].fetch_add(1, Ordering::Relaxed);
        });
        assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
    }

    #[test]
    fn nobody_waits_for_who_never_comes() {
        // A team of two whose second member has no thread.
        let (shared, turn) = (Arc::new(Shared::new(2)), Mutex::default());
        let pool = Pool { shared, threads: Vec::new(), turn };
        let (told, hears) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let done = AtomicUsize::new(0);
            pool.for_each(10, |_| {
                done.fetch_add(1, Ordering::Relaxed);
            });
            told.send(done.into_inner()).unwrap();
        });
        assert_eq!(
            hears.recv_timeout(Duration::from_secs(60)),
            Ok(10),
            "who waits, waits for ever"
        );
    }

    #[test]
    fn who_has_begun_is_waited_for() {
        let pool = Pool::new(2);
        let (begun, ended) = (AtomicBool::new(false), AtomicBool::new(false));
        for round in 0..1000 {
            begun.store(false, Ordering::Relaxed);
            let members = AtomicUsize::new(0);
            pool.offer(|worker| {
                members.fetch_add(1, Ordering::Relaxed);
                if worker.index == 1 {
                    begun.store(true, Ordering::Relaxed);
                    std::thread::yield_now();
                    ended.store(true, Ordering::Relaxed);
                }
            });
            let begun = begun.load(Ordering::Relaxed);
            assert_eq!(begun, ended.swap(false, Ordering::Relaxed), "round {round}");
            assert_eq!(members.into_inner(), 1 + usize::from(begun), "round {round}");
        }
    }

    #[test]
    #[should_panic(expected = "a meeting of whoever came")]
    fn whoever_comes_cannot_meet() {
        Pool::new(2).offer(|worker| worker.barrier());
    }

    #[test]
    fn shares_cover_everything_once() {
        let pool = Pool::new(3);
        let mut covered = vec![0_u8; 100];
        let shared = SharedSlice::new(&mut covered);
        pool.run(|worker| {
            for idx in worker.share(100) {
                // SAFETY: shares are disjoint.
                unsafe { shared.slice(idx..idx + 1)[0] += 1 };
            }
        });
        assert!(covered.iter().all(|&count| count == 1));
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let pool = Pool::new(3);
        // On a busy machine the caller would soon work alone.
        let end_retreat = || *locked(&pool.turn) = Retreat::default();
        for panicking in 0..3 {
            end_retreat();
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                pool.run(|worker| {
                    assert!(worker.index != panicking, "member {panicking} fell");
                    worker.barrier();
                });
            }));
            assert!(outcome.is_err());
            let sum = AtomicUsize::new(0);
            end_retreat();
            pool.run(|worker| {
                worker.barrier();
                sum.fetch_add(worker.index, Ordering::Relaxed);
            });
            assert_eq!(sum.load(Ordering::Relaxed), 3);
        }
    }
}
