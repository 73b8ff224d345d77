//! How far a run is: a line that changes on a terminal, else a line now and then.

use std::{
    io::IsTerminal,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

const ON_TERMINAL: Duration = Duration::from_secs(1);
const ELSEWHERE: Duration = Duration::from_secs(10);

/// Counts what is done, and shows it until it is dropped.
pub struct Progress {
    counts: Arc<Counts>,
    bar: ProgressBar,
    quiet: bool,
    _shown: Option<AbortOnDropHandle<()>>,
}

#[derive(Default)]
struct Counts {
    messages: Arc<AtomicUsize>,
    tasks: Arc<AtomicUsize>,
    faults: AtomicUsize,
    /// Messages, tasks, faults.
    of: Mutex<[usize; 3]>,
    phase: Mutex<String>,
}

impl Progress {
    /// Shows nothing if it is to be quiet.
    pub fn new(quiet: bool) -> Self {
        let counts = Arc::new(Counts::default());
        let terminal = std::io::stderr().is_terminal() && !quiet;
        let bar = if terminal {
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
        } else {
            ProgressBar::hidden()
        };
        bar.set_style(ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar()));
        let shown = (!quiet).then(|| AbortOnDropHandle::new(tokio::spawn(show(counts.clone(), bar.clone(), terminal))));
        Self { counts, bar, quiet, _shown: shown }
    }

    /// A line that stays.
    pub fn print(&self, line: &str) {
        if !self.quiet {
            self.bar.suspend(|| eprintln!("{line}"));
        }
    }

    /// What there is to be done.
    pub fn expect(&self, messages: usize, tasks: usize, faults: usize) {
        *self.counts.of.lock().unwrap_or_else(PoisonError::into_inner) = [messages, tasks, faults];
    }

    /// What is being done now.
    pub fn phase(&self, what: impl Into<String>) {
        *self.counts.phase.lock().unwrap_or_else(PoisonError::into_inner) = what.into();
    }

    /// One more fault, in words.
    pub fn fault(&self, what: impl Into<String>) {
        self.counts.faults.fetch_add(1, Ordering::Relaxed);
        self.phase(what);
    }

    /// Where accepted messages are counted.
    pub fn messages(&self) -> Arc<AtomicUsize> {
        self.counts.messages.clone()
    }

    /// Where accepted tasks are counted.
    pub fn tasks(&self) -> Arc<AtomicUsize> {
        self.counts.tasks.clone()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

async fn show(counts: Arc<Counts>, bar: ProgressBar, terminal: bool) {
    let begin = Instant::now();
    let mut ticks = tokio::time::interval(if terminal { ON_TERMINAL } else { ELSEWHERE });
    loop {
        ticks.tick().await;
        let line = counts.line(begin.elapsed());
        if terminal {
            bar.set_message(line);
            bar.tick();
        } else {
            eprintln!("{line}");
        }
    }
}

impl Counts {
    fn line(&self, elapsed: Duration) -> String {
        let [messages, tasks, faults] = *self.of.lock().unwrap_or_else(PoisonError::into_inner);
        let done = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        format!(
            "{:5} s  {}/{messages} messages  {}/{tasks} tasks  {}/{faults} faults  {}",
            elapsed.as_secs(),
            done(&self.messages),
            done(&self.tasks),
            done(&self.faults),
            self.phase.lock().unwrap_or_else(PoisonError::into_inner),
        )
    }
}
