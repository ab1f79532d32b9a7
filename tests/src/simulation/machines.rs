//! The machines of a run: processes with their supervisors, and the director
//! who stages the large faults.

use super::Sabotage;
use super::broker::Broker;
use super::faults::Fault;
use super::invariants::Watcher;
use super::kernel::{Shape, SimKernel};
use super::process::{Life, Process, Wire};
use super::queue::SimQueue;
use super::store::SimStore;
use super::world::{Bad, Peer, World};
use super::{LIVENESS, POISONED, invariants};
use crate::locked;
use object_store::path::Path;
use outshine_broker::TaskQueue;
use outshine_coordinator::failures;
use outshine_coordinator::prepare::prepare;
use outshine_coordinator::run::{Pace, run};
use outshine_schemas::campaign::Campaign;
use outshine_schemas::task::{Class, Stage};
use outshine_store::Store;
use outshine_worker::runtime::{self, Consumers, Settings, WorkerError, board::Board};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Messages on a queue at a time: fewer than a stage has tasks.
pub const WINDOW: u64 = 5;
/// Seconds without a commit after which tasks are published again.
pub const STALL_SECONDS: u64 = 90;
/// A task that tells nothing for so long hangs.
const HANG: Duration = Duration::from_secs(120);
/// How long processes wait for store and broker.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks of a coordinator at the store.
const POLL: Duration = Duration::from_secs(2);
/// How often a task may be lost alone: here, most losses are no fault of its own.
const MAX_LOSSES: u32 = 12;
/// After this time nothing is on its way any more.
const LATE: Duration = Duration::from_secs(60);
/// From the order to stop to the kill.
const GRACE: Duration = Duration::from_secs(30);

/// What a process does.
#[derive(Clone, Copy, Debug)]
enum Role {
    Coordinator,
    Worker { class: Class, slots: usize },
}

/// The processes of a run and what they talk to.
#[derive(Debug)]
pub struct Machines {
    /// What all share.
    pub world: Arc<World>,
    /// The broker.
    pub broker: Arc<Broker>,
    /// All processes, coordinators first.
    pub processes: Vec<Process>,
    roles: Vec<Role>,
    own: Vec<Class>,
    shape: Shape,
    max_losses: u32,
    /// How many coordinators have completed the campaign.
    completed: watch::Sender<usize>,
    /// How many workers have ended for good.
    ended: watch::Sender<usize>,
    closing: watch::Sender<bool>,
}

impl Machines {
    /// The machines that a world's chance gives.
    pub fn new(world: Arc<World>, shape: Shape, max_losses: Option<u32>) -> Arc<Self> {
        let coordinators = if world.strikes(Fault::SecondCoordinator) { 2 } else { 1 };
        let mut roles = vec![Role::Coordinator; coordinators];
        let workers = 2 + world.random(|r| r.below(2));
        for _ in 0..workers {
            let slots = 1 + world.random(|r| r.below(2)) as usize;
            roles.push(Role::Worker { class: Class::Fit, slots });
        }
        let own = if world.random(|r| r.chance(0.3)) { vec![Class::Train] } else { Vec::new() };
        for &class in &own {
            roles.push(Role::Worker { class, slots: 1 });
        }
        for how in [Fault::BadTask, Fault::Poison] {
            if world.is_armed(how) {
                let (stage, members) = match world.random(|r| r.chance(0.6)) {
                    true => (Stage::Fit, shape.all_blocks()),
                    false => (Stage::Reduce, shape.galaxies()),
                };
                let member = world.random(|r| r.below(members));
                locked(&world.bad).push(Bad { stage, member, how });
            }
        }
        Arc::new(Self {
            broker: Broker::new(world.clone()),
            processes: roles.iter().map(|_| Process::default()).collect(),
            world,
            roles,
            own,
            shape,
            max_losses: max_losses.unwrap_or(MAX_LOSSES),
            completed: watch::Sender::new(0),
            ended: watch::Sender::new(0),
            closing: watch::Sender::new(false),
        })
    }

    /// How many coordinators there are.
    pub fn coordinators(&self) -> usize {
        self.roles.iter().filter(|role| matches!(role, Role::Coordinator)).count()
    }

    /// Slots of all workers.
    pub fn slots(&self) -> u64 {
        let slots = |role: &Role| match role {
            Role::Coordinator => 0,
            Role::Worker { slots, .. } => *slots as u64,
        };
        self.roles.iter().map(slots).sum()
    }

    /// Lives of all coordinators so far.
    pub fn coordinator_lives(&self) -> u64 {
        self.processes[..self.coordinators()].iter().map(Process::lives).sum()
    }

    /// Runs the campaign to its end, or to the first broken invariant.
    pub async fn run(self: &Arc<Self>) {
        tokio::select! {
            biased;
            () = self.world.broken.notified() => {}
            () = self.campaign() => {}
        }
    }

    async fn campaign(self: &Arc<Self>) {
        for process in 0..self.roles.len() {
            tokio::task::spawn_local(self.clone().supervise(process));
        }
        let director = tokio::task::spawn_local(self.clone().direct());
        let director = async move { director.await.unwrap_or_default() };
        if !self.complete(director).await {
            return;
        }
        if !locked(&self.world.bad).is_empty() && !self.mend().await {
            return;
        }
        self.wind_down().await;
    }

    /// All coordinators see the campaign complete, not too long after the last fault.
    async fn complete(&self, last_fault: impl Future<Output = ()>) -> bool {
        let mut completed = self.completed.subscribe();
        let all = self.coordinators();
        let complete = async {
            let _ = completed.wait_for(|done| *done == all).await;
        };
        let limit = self.liveness();
        let bounded = async {
            last_fault.await;
            tokio::time::sleep(limit).await;
        };
        tokio::select! {
            biased;
            () = complete => {
                self.world.completed();
                true
            }
            () = bounded => {
                let limit = limit.as_secs();
                self.world.violated(format!("not complete {limit} s after the last fault"));
                false
            }
        }
    }

    /// How long things may take once nothing goes wrong, but for tasks that
    /// cannot end well.
    fn liveness(&self) -> Duration {
        let poison = locked(&self.world.bad).iter().any(|bad| bad.how == Fault::Poison);
        if poison { LIVENESS + POISONED } else { LIVENESS }
    }

    /// The campaign has ended without what bad tasks would have made: they are
    /// mended and forgotten, and it is run once more.
    async fn mend(self: &Arc<Self>) -> bool {
        if !self.drained().await {
            return false;
        }
        // What is still on its way into the store arrives.
        tokio::time::sleep(LATE).await;
        if let Err(reason) = invariants::lacking(&self.world, self.shape) {
            self.world.violated(reason);
            return false;
        }
        locked(&self.world.bad).clear();
        if let Err(error) = self.retry().await {
            self.world.violated(format!("what failed cannot be put back to work: {error:#}"));
            return false;
        }
        self.completed.send_replace(0);
        for process in 0..self.coordinators() {
            tokio::task::spawn_local(self.clone().supervise(process));
        }
        self.complete(std::future::ready(())).await
    }

    /// As `outshine retry`.
    async fn retry(&self) -> anyhow::Result<()> {
        let life = Process::default().begin(self.roles.len(), "operator");
        let place = Arc::new(SimStore(Wire { world: self.world.clone(), life }));
        let store = Store::new(place, Path::default(), "simulated");
        let campaign = prepare(&store, self.read_campaign()?).await?;
        failures::forget(&store, &campaign.id()).await?;
        Ok(())
    }

    /// The queues run empty.
    async fn drained(&self) -> bool {
        let empty = async {
            while !self.broker.is_empty() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let drained = tokio::time::timeout(self.liveness(), empty).await.is_ok();
        if !drained {
            self.world.violated("messages stay in the broker".to_owned());
        }
        drained
    }

    /// The queues run empty, then the workers end.
    async fn wind_down(&self) {
        if !self.drained().await {
            return;
        }
        self.closing.send_replace(true);
        for process in &self.processes[self.coordinators()..] {
            if let Some(life) = process.now() {
                life.stop.send_replace(true);
            }
        }
        let workers = self.roles.len() - self.coordinators();
        let mut ended = self.ended.subscribe();
        let all = ended.wait_for(|ended| *ended == workers);
        if tokio::time::timeout(LIVENESS, all).await.is_err() {
            self.world.violated("a worker told to stop does not".to_owned());
        }
    }

    /// Ends whatever still lives, so that dropping it has no effect.
    pub fn power_off(&self) {
        for life in self.processes.iter().filter_map(Process::now) {
            life.kill();
        }
    }

    /// Starts a process, and again whenever it dies.
    async fn supervise(self: Arc<Self>, process: usize) {
        let role = self.roles[process];
        // The second coordinator, and workers, come whenever they come.
        tokio::time::sleep(self.world.random(|r| r.millis(0, 10_000))).await;
        loop {
            let name = match role {
                Role::Coordinator => format!("coordinator{process}"),
                Role::Worker { .. } => format!("worker{process}"),
            };
            let life = self.processes[process].begin(process, &name);
            let closing = *self.closing.borrow();
            life.stop.send_replace(closing);
            self.world.note(&life.name, "starts");
            let done = tokio::select! {
                biased;
                () = life.killed() => {
                    self.world.note(&life.name, "is dead");
                    self.broker.died(life.clone());
                    false
                }
                done = self.live(role, life.clone()) => {
                    life.kill();
                    self.broker.disconnect(&life);
                    done
                }
            };
            if done {
                return;
            }
            tokio::time::sleep(self.world.random(|r| r.millis(500, 20_000))).await;
        }
    }

    /// One life of a process; true where it is not to start again.
    async fn live(&self, role: Role, life: Arc<Life>) -> bool {
        let wire = Wire { world: self.world.clone(), life: life.clone() };
        let place = Arc::new(SimStore(wire.clone()));
        let store = Store::new(place, Path::default(), "simulated");
        let queue: Arc<dyn TaskQueue> =
            Arc::new(SimQueue { wire: wire.clone(), broker: self.broker.clone() });
        match role {
            Role::Coordinator => self.coordinate(store, queue, &life).await,
            Role::Worker { class, slots } => self.work(store, queue, wire, class, slots).await,
        }
    }

    async fn coordinate(&self, store: Store, queue: Arc<dyn TaskQueue>, life: &Life) -> bool {
        let ended = async {
            let campaign = prepare(&store, self.read_campaign()?).await?;
            let pace = Pace { poll: POLL, patience: PATIENCE, until: Stage::Catalogue };
            let mut view = Watcher::new(self.world.clone());
            anyhow::Ok(run(&store, queue, &self.own, &campaign, pace, &mut view).await?)
        };
        match ended.await {
            Ok(_) => {
                self.world.note(&life.name, "sees the campaign complete");
                self.completed.send_modify(|done| *done += 1);
                true
            }
            Err(error) => {
                self.world.note(&life.name, &format!("ends: {}", self.world.words(&error)));
                if !invariants::explained(&self.world, &error) {
                    self.world.violated(format!("a coordinator ended: {error}"));
                }
                false
            }
        }
    }

    fn read_campaign(&self) -> anyhow::Result<Campaign> {
        let mut campaign =
            Campaign::parse(&self.shape.text(), "simulated.toml", std::path::Path::new("."), &[])?;
        let execution = &mut campaign.execution;
        execution.simulations_per_task = 3;
        execution.epochs_per_task = 2;
        execution.blocks_per_task = 2;
        execution.galaxies_per_task = 2;
        if self.world.strikes(Fault::Recut) {
            let size = |most| self.world.random(|r| 1 + r.below(most));
            execution.simulations_per_task = size(9);
            execution.blocks_per_task = size(4);
            execution.galaxies_per_task = size(3);
        }
        execution.queue_window = WINDOW;
        execution.stall_seconds = STALL_SECONDS;
        execution.max_losses = self.max_losses;
        if self.world.sabotage == Some(Sabotage::DroppedRedelivery) {
            execution.stall_seconds = u64::from(u32::MAX);
        }
        Ok(campaign)
    }

    async fn work(
        &self,
        store: Store,
        queue: Arc<dyn TaskQueue>,
        wire: Wire,
        class: Class,
        slots: usize,
    ) -> bool {
        let world = self.world.clone();
        let settings = Settings {
            name: wire.life.name.clone(),
            slots,
            threads: 1,
            class,
            patience: PATIENCE,
            hang: HANG,
            board: Board::default(),
            consumers: Consumers::default(),
            kernel: Arc::new(SimKernel(wire.clone())),
            new_id: Arc::new(move || world.random(|r| format!("{:016x}", r.next()))),
        };
        let stop = wire.life.stop.subscribe();
        match runtime::run(queue, store, settings, stop).await {
            Ok(()) => {
                self.world.note(&wire.life.name, "has stopped");
                if !*wire.life.stop.borrow() {
                    self.world.violated("a worker stopped by itself".to_owned());
                }
            }
            Err(error) => {
                self.world.note(&wire.life.name, &format!("ends: {}", self.world.words(&error)));
                let faults: &[Fault] = match error {
                    WorkerError::Slot(_) => &[],
                    WorkerError::Hung { .. } => {
                        &[Fault::Hang, Fault::Slow, Fault::LongDelay, Fault::ClockJump]
                    }
                    WorkerError::Broker(_) | WorkerError::Store(_) => &Fault::ALL,
                };
                let fired = self.world.fired();
                if faults.iter().all(|fault| fired.get(fault).is_none_or(|times| *times == 0)) {
                    self.world.violated(format!("a worker ended: {error}"));
                }
            }
        }
        let closing = *self.closing.borrow();
        if closing {
            self.ended.send_modify(|ended| *ended += 1);
        }
        closing
    }

    /// Stages the large faults one after another; then all is calm.
    async fn direct(self: Arc<Self>) {
        for _ in 0..self.world.staged() {
            tokio::time::sleep(self.world.random(|r| r.millis(500, 25_000))).await;
            if self.world.is_calm() {
                return;
            }
            if let Some(fault) = self.world.next_staged() {
                self.stage(fault).await;
            }
        }
        tokio::time::sleep(self.world.random(|r| r.millis(0, 40_000))).await;
        self.world.note("director", "calm");
        self.world.calm();
    }

    async fn stage(self: &Arc<Self>, fault: Fault) {
        let world = &self.world;
        let workers = self.coordinators() as u64..self.roles.len() as u64;
        let any = world.random(|r| r.below(self.roles.len() as u64)) as usize;
        let worker =
            (workers.start + world.random(|r| r.below(workers.end - workers.start))) as usize;
        let long = world.random(|r| r.millis(1_000, 90_000));
        world.note("director", &format!("{fault} (process {any} or {worker})"));
        match fault {
            Fault::Kill => {
                if let Some(life) = self.processes[any].now() {
                    life.kill();
                }
            }
            Fault::Drain => {
                if let Some(life) = self.processes[worker].now() {
                    life.stop.send_replace(true);
                    tokio::spawn(async move {
                        tokio::time::sleep(GRACE).await;
                        life.kill();
                    });
                }
            }
            Fault::StoreOutage => {
                world.take_down(Peer::Store);
                self.later(long, |m| m.world.bring_up(Peer::Store));
            }
            Fault::StorePartition => {
                world.cut(any, Peer::Store);
                self.later(long, move |m| m.world.join(any, Peer::Store));
            }
            Fault::BrokerRestart | Fault::BrokerEmpty => {
                self.broker.go_down(fault == Fault::BrokerRestart);
                self.later(long, |m| {
                    m.world.bring_up(Peer::Broker);
                    m.broker.changed.notify_waiters();
                });
            }
            Fault::BrokerPartition => {
                world.cut(any, Peer::Broker);
                // Missed heartbeats count only while the network is still cut.
                let heartbeat = world.random(|r| r.millis(5_000, 60_000));
                if heartbeat < long {
                    self.later(heartbeat, move |m| m.broker.miss(any));
                }
                self.later(long, move |m| m.world.join(any, Peer::Broker));
            }
            Fault::ClockJump => {
                let hours = world.random(|r| r.millis(600_000, 20_000_000));
                world.jump(hours).await;
            }
            _ => {}
        }
    }

    fn later(self: &Arc<Self>, after: Duration, then: impl FnOnce(&Self) + 'static) {
        let machines = self.clone();
        tokio::task::spawn_local(async move {
            tokio::time::sleep(after).await;
            machines.world.note("director", "heals");
            then(&machines);
        });
    }
}
