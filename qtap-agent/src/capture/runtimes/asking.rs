//! The thread that asks the runtimes: ids in, one answer for each out. It delays nobody else: both channels are bounded, and the callers never
//! wait for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::runtime::{self, Runtime, RuntimeStatus};
use super::{Facts, Settings, Told};

/// Most containers whose question waits or is in progress: several times what a node runs.
const QUESTIONS: usize = 1024;
/// Most requests in progress at once: a runtime has other clients to answer.
const AT_ONCE: usize = 8;
/// Pauses before the attempts for one container: one that is not known yet may be on its way into the runtime's table.
const PAUSES: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_millis(1000),
];
/// How long one question may take, all attempts included: shorter than records wait.
const QUESTION_TIME: Duration = Duration::from_secs(3);

/// The runtimes, as their user sees them.
#[derive(Debug)]
pub struct Runtimes {
    questions: mpsc::Sender<String>,
    answers: mpsc::Receiver<Told>,
    all: Arc<[Runtime]>,
}

impl Runtimes {
    /// Starts the thread; `None` if there is no runtime to ask. The thread ends when this is dropped.
    ///
    /// # Errors
    /// If the thread can't be started.
    pub fn start(settings: &Settings) -> std::io::Result<Option<Runtimes>> {
        let all: Arc<[Runtime]> = runtime::all(settings).into();
        if all.is_empty() {
            return Ok(None);
        }
        let (questions, asked) = mpsc::channel(QUESTIONS);
        let (tell, answers) = mpsc::channel(QUESTIONS);
        let executor = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let asked_of = Arc::clone(&all);
        std::thread::Builder::new().name("runtimes".to_owned()).spawn(move || {
            executor.block_on(answer_all(asked, &tell, &asked_of));
        })?;
        Ok(Some(Runtimes { questions, answers, all }))
    }

    /// Asks about a container. False if too many questions wait; then no answer will come.
    #[must_use]
    pub fn ask(&self, id: &str) -> bool {
        self.questions.try_send(id.to_owned()).is_ok()
    }

    /// The next answer, if one has arrived.
    pub fn answer(&mut self) -> Option<Told> {
        self.answers.try_recv().ok()
    }

    /// How requests to each runtime went.
    #[must_use]
    pub fn fared(&self) -> Fared {
        Fared(Arc::clone(&self.all))
    }
}

/// How requests to the runtimes went, readable at any time. The default has no runtimes.
#[derive(Debug, Clone, Default)]
pub struct Fared(Arc<[Runtime]>);

impl Fared {
    /// Each of them, in the order in which they are asked.
    #[must_use]
    pub fn statuses(&self) -> Vec<RuntimeStatus> {
        self.0.iter().map(Runtime::status).collect()
    }
}

/// Answers questions until nobody can ask any more.
async fn answer_all(mut asked: mpsc::Receiver<String>, tell: &mpsc::Sender<Told>, all: &Arc<[Runtime]>) {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut under_way = JoinSet::new();
    loop {
        let has_room = under_way.len() < QUESTIONS;
        tokio::select! {
            id = asked.recv(), if has_room => {
                let Some(id) = id else { return };
                let (all, turns) = (Arc::clone(all), Arc::clone(&turns));
                under_way.spawn(async move {
                    let facts = tokio::time::timeout(QUESTION_TIME, answer(&all, &turns, &id)).await;
                    Told { facts: facts.unwrap_or_default(), id }
                });
            }
            Some(told) = under_way.join_next() => {
                let Ok(told) = told else { continue };
                if tell.send(told).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn answer(all: &[Runtime], turns: &Semaphore, id: &str) -> Option<Facts> {
    for pause in PAUSES {
        tokio::time::sleep(pause).await;
        let _turn = turns.acquire().await.ok()?;
        for runtime in all {
            if let Some(facts) = runtime.ask(id).await {
                return Some(facts);
            }
        }
    }
    None
}
