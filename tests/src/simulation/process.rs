//! Processes that die and come back, and the wire that each talks through.

use super::faults::Fault;
use super::world::{Ending, Peer, World};
use crate::locked;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// One life of a process, from start to death.
#[derive(Debug)]
pub struct Life {
    /// Which process.
    pub process: usize,
    /// Its name and the number of this life.
    pub name: String,
    /// Told to finish what it has in hand and end.
    pub stop: watch::Sender<bool>,
    alive: AtomicBool,
    killed: Notify,
}

impl Life {
    /// Whether it still is.
    pub fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Relaxed)
    }

    /// Kills it, at once and for good.
    pub fn kill(&self) {
        self.alive.store(false, Ordering::Relaxed);
        self.killed.notify_one();
    }

    /// Resolves when it is killed.
    pub async fn killed(&self) {
        self.killed.notified().await;
    }
}

/// A process as its supervisor sees it.
#[derive(Debug, Default)]
pub struct Process {
    /// Its present life.
    pub life: Mutex<Option<Arc<Life>>>,
    lives: AtomicU64,
}

impl Process {
    /// Begins a new life.
    pub fn begin(&self, process: usize, name: &str) -> Arc<Life> {
        let number = self.lives.fetch_add(1, Ordering::Relaxed);
        let life = Arc::new(Life {
            process,
            name: format!("{name}.{number}"),
            stop: watch::Sender::new(false),
            alive: AtomicBool::new(true),
            killed: Notify::new(),
        });
        *locked(&self.life) = Some(life.clone());
        life
    }

    /// The number of lives so far.
    pub fn lives(&self) -> u64 {
        self.lives.load(Ordering::Relaxed)
    }

    /// The present life.
    pub fn now(&self) -> Option<Arc<Life>> {
        locked(&self.life).clone()
    }
}

/// What a process talks through to store and broker. Every operation passes it,
/// so that it can fail, wait, or be the last one.
#[derive(Clone, Debug)]
pub struct Wire {
    pub world: Arc<World>,
    pub life: Arc<Life>,
}

impl Wire {
    /// One operation: a wait, the effect, a wait, the answer.
    pub async fn pass<T: Send, E: Send>(
        &self,
        peer: Peer,
        what: &str,
        effect: impl FnOnce() -> Result<T, E> + Send,
        failed: impl FnOnce(&'static str) -> E + Send,
    ) -> Result<T, E> {
        let fate = self.world.fate(peer);
        let who = &self.life.name;
        tokio::time::sleep(fate.before).await;
        if fate.ending == Ending::DiesBefore {
            self.world.note(who, &format!("{what}: dies before"));
            return self.die().await;
        }
        self.still_alive().await;
        if !self.world.reaches(self.life.process, peer) {
            self.world.note(who, &format!("{what}: no way"));
            tokio::time::sleep(self.world.random(|r| r.millis(500, 8_000))).await;
            return Err(failed("no connection"));
        }
        if fate.ending == Ending::FailsBefore {
            self.world.note(who, &format!("{what}: fails"));
            tokio::time::sleep(fate.after).await;
            return Err(failed("injected failure"));
        }
        let outcome = effect();
        let word = if outcome.is_ok() { "" } else { ": refused" };
        if fate.ending == Ending::DiesAfter {
            self.world.note(who, &format!("{what}{word}: dies after"));
            return self.die().await;
        }
        self.world.note(who, &format!("{what}{word}"));
        tokio::time::sleep(fate.after).await;
        if fate.ending == Ending::FailsAfter || !self.world.reaches(self.life.process, peer) {
            self.world.note(who, &format!("{what}: answer lost"));
            return Err(failed("answer lost"));
        }
        outcome
    }

    /// Time that a task takes; the process may die in it.
    pub async fn work(&self, time: Duration) {
        let dies = self.world.strikes(Fault::CrashInTask);
        tokio::time::sleep(time).await;
        if dies {
            self.world.note(&self.life.name, "dies in a task");
            self.die::<()>().await;
        }
        self.still_alive().await;
    }

    /// Ends the process.
    pub async fn die<T>(&self) -> T {
        self.life.kill();
        std::future::pending().await
    }

    /// Goes no further in a process that was killed at this very moment.
    async fn still_alive(&self) {
        if !self.life.is_alive() {
            std::future::pending::<()>().await;
        }
    }
}
