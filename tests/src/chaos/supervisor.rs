//! Keeps a campaign's processes running, as Kubernetes would, while the faults
//! of a schedule come about.

use super::lane::{self, Lane, Outage};
use super::schedule::{Event, Fault, Schedule, Victim};
use crate::processes::{Process, is_stopped};
use anyhow::{Context, bail, ensure};
use outshine_store::{Entry, Store};
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Far longer than any schedule takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(400);
/// Starts of one process: an outage costs a few.
const STARTS: u32 = 200;
const TICK: Duration = Duration::from_millis(30);
const LOOK: Duration = Duration::from_millis(150);
const SIGKILL: i32 = 9;
const SIGABRT: i32 = 6;

/// What came of a schedule whose campaign has ended well.
#[derive(Debug, Default)]
pub struct Report {
    /// Faults that came about, and how it shows.
    pub fired: Vec<(Event, String)>,
    /// Faults that did not, as the campaign had ended before or nobody was there.
    pub missed: Vec<Event>,
    /// Processes started, the first ones included.
    pub starts: u32,
    /// How long it took.
    pub seconds: f64,
}

/// A process of the campaign and its successors.
struct Member {
    who: Victim,
    process: Option<Process>,
    starts: u32,
    /// When a dead one is started again.
    next: Instant,
    /// When a stopped one is continued.
    resume: Option<Instant>,
    /// The event whose SIGKILL it was sent.
    killed_by: Option<usize>,
}

/// The commits of a campaign as the store shows them, held to what was shown before.
struct Commits {
    store: Store,
    folder: String,
    seen: BTreeMap<String, Entry>,
    looked: Instant,
}

impl Commits {
    /// Looks again. A commit record, once seen, stays as it is.
    fn look(&mut self, lane: &Lane) -> anyhow::Result<()> {
        self.looked = Instant::now();
        let listing = self.store.list(&self.folder);
        let within = async { tokio::time::timeout(Duration::from_secs(1), listing).await };
        // A store that is away has no news.
        let Ok(Ok(entries)) = lane.block(within) else { return Ok(()) };
        let now = entries.into_iter().map(|entry| (entry.path.clone(), entry)).collect();
        unchanged(&self.seen, &now)?;
        self.seen = now;
        Ok(())
    }
}

/// Holds what a listing shows to an earlier one.
fn unchanged(seen: &BTreeMap<String, Entry>, now: &BTreeMap<String, Entry>) -> anyhow::Result<()> {
    for (path, old) in seen {
        let new = now.get(path).with_context(|| format!("commit {path} vanished"))?;
        ensure!(new == old, "commit {path} was written twice: {old:?}, then {new:?}");
    }
    Ok(())
}

/// A campaign in the middle of its schedule.
pub struct Supervisor<'a> {
    lane: &'a Lane,
    schedule: &'a Schedule,
    campaign: &'a Path,
    /// Where logs go.
    folder: &'a Path,
    environment: Vec<(&'static str, String)>,
    queue: String,
    members: Vec<Member>,
    commits: Commits,
    pending: Vec<usize>,
    outages: Vec<(usize, Outage)>,
    evidence: BTreeMap<usize, String>,
}

impl<'a> Supervisor<'a> {
    /// Nothing runs yet. `root` is the campaign's folder in the store.
    ///
    /// # Errors
    /// When the servers do not answer.
    pub fn new(
        lane: &'a Lane,
        schedule: &'a Schedule,
        campaign: &'a Path,
        root: &str,
        folder: &'a Path,
    ) -> anyhow::Result<Self> {
        lane.clean()?;
        let workers = (0..schedule.workers).map(Victim::Worker);
        let now = Instant::now();
        let member = |who| Member {
            who,
            process: None,
            starts: 0,
            next: now,
            resume: None,
            killed_by: None,
        };
        let commits = Commits {
            store: lane.open(schedule)?,
            folder: format!("{root}/commits"),
            seen: BTreeMap::new(),
            looked: now,
        };
        Ok(Self {
            lane,
            schedule,
            campaign,
            folder,
            environment: lane.environment(schedule),
            queue: lane.queue_url(schedule),
            members: workers.chain([Victim::Coordinator]).map(member).collect(),
            commits,
            pending: (0..schedule.events.len()).collect(),
            outages: Vec::new(),
            evidence: BTreeMap::new(),
        })
    }

    /// Runs the campaign to its end.
    ///
    /// # Errors
    /// When it does not come to one, or a commit changed meanwhile.
    pub fn run(mut self) -> anyhow::Result<Report> {
        let started = Instant::now();
        while !self.tend()? {
            ensure!(started.elapsed() < PATIENCE, "the campaign has not ended after {PATIENCE:?}");
            if self.commits.looked.elapsed() >= LOOK {
                self.commits.look(self.lane)?;
            }
            self.begin_events()?;
            std::thread::sleep(TICK);
        }
        let seconds = started.elapsed().as_secs_f64();
        for (event, outage) in std::mem::take(&mut self.outages) {
            if let Some(evidence) = lane::ended(outage)? {
                self.evidence.insert(event, evidence);
            }
        }
        let starts = self.members.iter().map(|member| member.starts).sum();
        self.members.clear();
        self.commits.look(self.lane)?;
        let mut report = Report { starts, seconds, ..Report::default() };
        for (number, event) in self.schedule.events.iter().enumerate() {
            match self.evidence.remove(&number) {
                Some(evidence) => report.fired.push((*event, evidence)),
                None => report.missed.push(*event),
            }
        }
        Ok(report)
    }

    /// Starts what is dead, continues what has stopped for long enough; true
    /// once the coordinator has ended well.
    fn tend(&mut self) -> anyhow::Result<bool> {
        for number in 0..self.members.len() {
            let member = &mut self.members[number];
            let Some(process) = &mut member.process else {
                if Instant::now() >= member.next {
                    self.start(number)?;
                }
                continue;
            };
            if let Some(status) = process.ended()? {
                let who = member.who;
                member.process = None;
                member.resume = None;
                // Soon, and less soon each time.
                let pause = Duration::from_millis(200) * member.starts.min(10);
                member.next = Instant::now() + pause;
                if let Some(event) = member.killed_by.take()
                    && status.signal() == Some(SIGKILL)
                {
                    self.evidence.insert(event, "died of SIGKILL".to_owned());
                }
                if status.signal() == Some(SIGABRT) {
                    self.note_point(who)?;
                }
                if who == Victim::Coordinator && status.success() {
                    return Ok(true);
                }
                continue;
            }
            if member.resume.is_some_and(|at| Instant::now() >= at) {
                process.signal("CONT")?;
                member.resume = None;
            }
        }
        Ok(false)
    }

    fn start(&mut self, number: usize) -> anyhow::Result<()> {
        let who = self.members[number].who;
        let mut environment = self.environment.clone();
        if let Some((event, name, occurrence)) = self.point_of(who)
            && !self.evidence.contains_key(&event)
        {
            let log = self.point_log(event).display().to_string();
            environment.push((outshine_fault::POINT, format!("{name}:{occurrence}")));
            environment.push((outshine_fault::LOG, log));
        }
        let store = Lane::store_url(self.schedule);
        let process = match who {
            Victim::Worker(n) => {
                environment.push(("OUTSHINE_WORKER_NAME", format!("worker-{n}")));
                let log = self.folder.join(format!("worker-{n}.log"));
                Process::worker(&self.queue, &store, &environment, &log)?
            }
            Victim::Coordinator => {
                let campaign = self.campaign.to_str().context("a path that is no text")?;
                let arguments = ["run", campaign, "--store", &store, "--queue", &self.queue];
                Process::outshine(&arguments, &environment, &self.folder.join("coordinator.log"))?
            }
        };
        let member = &mut self.members[number];
        member.process = Some(process);
        member.starts += 1;
        if member.starts > STARTS {
            bail!("{who} was started {STARTS} times and never stays");
        }
        Ok(())
    }

    /// The named point at which `who` is to die, and its event.
    fn point_of(&self, who: Victim) -> Option<(usize, &'static str, u64)> {
        let mut events = self.schedule.events.iter().enumerate();
        events.find_map(|(number, event)| match event.fault {
            Fault::Point(victim, name, occurrence) if victim == who => {
                Some((number, name, occurrence))
            }
            _ => None,
        })
    }

    fn point_log(&self, event: usize) -> PathBuf {
        self.folder.join(format!("point-{event}"))
    }

    /// A process was aborted: at its point, if it told so before.
    fn note_point(&mut self, who: Victim) -> anyhow::Result<()> {
        let Some((event, ..)) = self.point_of(who) else { bail!("{who} aborted by itself") };
        let told = std::fs::read_to_string(self.point_log(event)).unwrap_or_default();
        ensure!(told.lines().count() == 1, "{who} aborted, and of its point it told: {told:?}");
        self.evidence.insert(event, told.trim().to_owned());
        Ok(())
    }

    fn begin_events(&mut self) -> anyhow::Result<()> {
        let commits = self.commits.seen.len() as u64;
        for number in std::mem::take(&mut self.pending) {
            let event = self.schedule.events[number];
            if event.commits > commits || !self.begin(number, event.fault)? {
                self.pending.push(number);
            }
        }
        Ok(())
    }

    /// Begins an event; false where its victim is dead or stopped at the moment.
    fn begin(&mut self, number: usize, fault: Fault) -> anyhow::Result<bool> {
        if let Some(outage) = self.lane.begin(fault) {
            self.outages.push((number, outage));
            return Ok(true);
        }
        let who = match fault {
            Fault::Kill(who) | Fault::Stop(who, _) => who,
            // The environment of its process says so from the start.
            _ => return Ok(true),
        };
        let Some(member) = self.members.iter_mut().find(|member| member.who == who) else {
            bail!("there is no {who}");
        };
        let Some(process) = &mut member.process else { return Ok(false) };
        if process.ended()?.is_some() || member.resume.is_some() {
            return Ok(false);
        }
        if let Fault::Stop(_, lasts) = fault {
            process.signal("STOP")?;
            member.resume = Some(Instant::now() + lasts);
            if is_stopped(process.id()) {
                self.evidence.insert(number, "stopped by SIGSTOP".to_owned());
            }
        } else {
            process.signal("KILL")?;
            member.killed_by = Some(number);
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn a_commit_that_changes_or_vanishes_is_noticed() {
        let entry = |path: &str, second: u64| {
            let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
            (path.to_owned(), Entry { path: path.to_owned(), bytes: 3, modified })
        };
        let one = BTreeMap::from([entry("a", 1)]);
        unchanged(&one, &BTreeMap::from([entry("a", 1), entry("b", 2)])).unwrap();
        let error = unchanged(&one, &BTreeMap::from([entry("b", 2)])).unwrap_err();
        assert!(error.to_string().contains("vanished"), "{error}");
        let error = unchanged(&one, &BTreeMap::from([entry("a", 2)])).unwrap_err();
        assert!(error.to_string().contains("written twice"), "{error}");
    }
}
