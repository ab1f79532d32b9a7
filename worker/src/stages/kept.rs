//! What all tasks of a stage need of one earlier commit: read once by a process,
//! and again where the stage is made from another one.

use outshine_schemas::digest::Digest;
use outshine_schemas::outcome::CommitRecord;
use std::sync::Arc;
use tokio::sync::{Mutex, MutexGuard};

/// What was read last. Locked while it is read: tasks that need it first read it
/// once.
#[derive(Debug)]
pub struct Kept<T>(Mutex<Option<Of<T>>>);

#[derive(Debug)]
struct Of<T> {
    /// Inputs of the tasks that it is for.
    inputs: Digest,
    /// The commit's `data_digest`.
    data: Digest,
    value: Arc<T>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Kept<T> {
    /// Nobody else reads as long as it is held.
    pub async fn lock(&self) -> Held<'_, T> {
        Held(self.0.lock().await)
    }
}

/// A [`Kept`] that is held.
pub struct Held<'a, T>(MutexGuard<'a, Option<Of<T>>>);

impl<T> Held<'_, T> {
    /// What was read for tasks made from `inputs`.
    pub fn by_inputs(&self, inputs: &Digest) -> Option<Arc<T>> {
        let of = self.0.as_ref().filter(|of| of.inputs == *inputs)?;
        Some(of.value.clone())
    }

    /// What was read from `commit`, if for tasks of another stage: from now on for
    /// those made from `inputs`.
    pub fn by_commit(&mut self, inputs: &Digest, commit: &CommitRecord) -> Option<Arc<T>> {
        let of = self.0.as_mut().filter(|of| of.data == commit.data_digest)?;
        of.inputs = inputs.clone();
        Some(of.value.clone())
    }

    /// Keeps what was read from `commit` for tasks made from `inputs`.
    pub fn keep(&mut self, inputs: &Digest, commit: &CommitRecord, value: T) -> Arc<T> {
        let value = Arc::new(value);
        let (inputs, data) = (inputs.clone(), commit.data_digest.clone());
        *self.0 = Some(Of { inputs, data, value: value.clone() });
        value
    }
}

#[cfg(test)]
mod tests {
    use crate::stages::tests::{commit, job, plan, uncommit};
    use crate::stages::typical::{LIMITS, Limits};
    use crate::stages::{Job, Science, model, shipped, upstream};
    use outshine_schemas::digest::Digest;
    use outshine_schemas::task::{Shard, Stage, Task};
    use outshine_sps::SfhFamily;
    use outshine_store::commit::NewFile;
    use std::sync::Arc;

    const ONE: Shard = Shard { start: 0, end: 1 };

    /// The calibration of a campaign that is planned and committed anew with what
    /// the commit of training and its own are to hold.
    async fn make(job: &Job, family: SfhFamily, misfit: f64) {
        for stage in [Stage::Train, Stage::Calibrate] {
            uncommit(job, stage).await;
        }
        let [description, weights] = shipped::files(family).unwrap();
        let model = [(model::DESCRIPTION, description), (model::WEIGHTS, weights)];
        let model = model.map(|(name, bytes)| NewFile { name: name.to_owned(), bytes, rows: 0 });
        let limit = |misfit: f64| serde_json::json!({ "snr": [1.0], "misfit": [misfit], "simulations": 1, "flagged": 0.0 });
        let limits = serde_json::json!({ LIMITS: { "known": limit(misfit), "withheld": null } });
        let finished = serde_json::json!({ "finished": true });
        for (stage, files, facts) in
            [(Stage::Train, model.to_vec(), finished), (Stage::Calibrate, Vec::new(), limits)]
        {
            let inputs = Digest::of(format!("{stage} {family:?} {misfit}").as_bytes());
            plan(job, stage, &inputs, vec![ONE]).await;
            commit(job, (stage, ONE, &inputs), facts, files).await;
        }
    }

    /// A task of the same worker, made from other inputs.
    fn next(job: &Job, stage: Stage, inputs: &str) -> Job {
        let mut next = job.clone();
        let (campaign, digest) = (job.task.campaign.clone(), job.task.campaign_digest.clone());
        next.assignment.task =
            Task::new(campaign, digest, stage, ONE, Digest::of(inputs.as_bytes()));
        next
    }

    async fn loaded(job: &Job) -> (Arc<model::Trained>, Arc<Limits>) {
        (model::load(job).await.unwrap(), Limits::load(job).await.unwrap())
    }

    /// A worker outlives a training and a calibration that were mended and done anew.
    #[tokio::test]
    async fn what_is_made_anew_is_read_anew() {
        let text = "name = \"a\"\n[field]\npixels = \"p\"\n";
        let first = job(text, Stage::Fit, ONE).await;
        make(&first, SfhFamily::Tau, 1.0).await;
        let (tau, low) = loaded(&first).await;

        // Tasks of the same inputs ask for nothing, those of another stage for no file.
        let data = first.store.list(&upstream::layout(&first).stage_data(Stage::Train)).await;
        for entry in data.unwrap() {
            first.store.delete(&entry.path).await.unwrap();
        }
        let reduce = next(&first, Stage::Reduce, "first");
        for same in [&first, &reduce] {
            let (model, limits) = loaded(same).await;
            assert!(Arc::ptr_eq(&model, &tau) && Arc::ptr_eq(&limits, &low));
        }

        make(&first, SfhFamily::Dirichlet, 2.0).await;
        let second = next(&first, Stage::Fit, "second");
        let (dirichlet, high) = loaded(&second).await;
        assert_ne!(dirichlet.digest, tau.digest);
        assert_ne!(*high, *low);
        // As a worker reads them that has read nothing before.
        let campaign = &second.campaign.campaign;
        let fresh = Job { science: Arc::new(Science::new(campaign).unwrap()), ..second.clone() };
        let (model, limits) = loaded(&fresh).await;
        assert_eq!((&model.digest, &limits), (&dirichlet.digest, &high));
    }
}
