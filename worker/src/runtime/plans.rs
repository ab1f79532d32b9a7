//! Plans that a process has read: one copy for all of its tasks.

use crate::stages::StageError;
use outshine_schemas::outcome::StagePlan;
use outshine_store::{Store, parse_versioned};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Mutex;

/// Plans kept at a time: more than the tasks of one campaign need.
const MOST: usize = 8;

/// The last plans that were read, by path. Clones share them.
///
/// A plan does not change, but where a damaged one was removed and the stage cut
/// anew: who finds that something does not fit asks again after [`Plans::forget`].
#[derive(Clone, Debug, Default)]
pub struct Plans(Arc<Mutex<BTreeMap<String, Arc<StagePlan>>>>);

impl Plans {
    /// The plan at `path`, read from the store if it is not kept.
    ///
    /// # Errors
    /// When it cannot be read, or is no plan.
    pub async fn get(&self, store: &Store, path: &str) -> Result<Arc<StagePlan>, StageError> {
        // Held while it is read: tasks that need it first read it once.
        let mut kept = self.0.lock().await;
        if let Some(plan) = kept.get(path) {
            return Ok(plan.clone());
        }
        let bytes = store.get(path).await?;
        let plan = Arc::new(parse_versioned::<StagePlan>(path, &bytes)?);
        if kept.len() == MOST {
            kept.clear();
        }
        kept.insert(path.to_owned(), plan.clone());
        Ok(plan)
    }

    /// Forgets all.
    pub async fn forget(&self) {
        self.0.lock().await.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outshine_schemas::digest::Digest;
    use outshine_schemas::task::{Shard, Stage};

    #[tokio::test]
    async fn plans_are_kept_until_they_are_forgotten_and_only_so_many() {
        let store = outshine_store::open("memory:").await.unwrap();
        let plans = Plans::default();
        let (inputs, data) = (Digest::of(b""), Digest::of(b""));
        let plan = |end| StagePlan {
            version: 1,
            stage: Stage::Fit,
            inputs: inputs.clone(),
            data: data.clone(),
            sources: Vec::new(),
            shards: vec![Shard { start: 0, end }],
        };
        plans.get(&store, "0").await.unwrap_err();
        store.put("0", "{\"version\": 99}".into()).await.unwrap();
        let error = plans.get(&store, "0").await.unwrap_err().report();
        assert!(error.contains("format version 99"), "{error}");
        for end in 1..=2 {
            store.put_json("0", &plan(end)).await.unwrap();
            assert_eq!(*plans.get(&store, "0").await.unwrap(), plan(1));
        }
        plans.forget().await;
        assert_eq!(*plans.get(&store, "0").await.unwrap(), plan(2));
        for n in 1..100 {
            store.put_json(&n.to_string(), &plan(n)).await.unwrap();
            assert_eq!(*plans.get(&store, &n.to_string()).await.unwrap(), plan(n));
            assert!(plans.0.lock().await.len() <= MOST);
        }
    }
}
