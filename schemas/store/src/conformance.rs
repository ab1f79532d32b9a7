//! The contract of [`Store`] as one suite, to be run on every kind of store.
//!
//! The functions panic where the contract is broken.

use std::collections::BTreeSet;
use std::future::Future;

use bytes::Bytes;
use outshine_schemas::digest::Digest;
use outshine_schemas::ids::{CampaignId, TaskId};
use outshine_schemas::outcome::{CommitRecord, Facts};
use outshine_schemas::task::{Shard, Stage};

use crate::commit::{
    Draft, NewFile, Published, list_commits, list_committed, publish_attempt, read_commit,
    read_file, read_records,
};
use crate::layout::Layout;
use crate::{ErrorClass, PutNew, Store, StoreError};

/// Racing writers of one object.
const RACERS: usize = 16;
/// More than one page of an S3 listing (1000).
const MANY: usize = 1100;

/// Runs every case; `make` gives an empty store each time it is called.
pub async fn run_all<F, Fut>(make: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Store>,
{
    let store = make().await;
    objects_come_back_whole(&store).await;
    missing_objects_are_told(&store).await;
    put_replaces_and_put_new_does_not(&store).await;
    one_of_many_creates(&store).await;
    verified_reads_find_damage(&store).await;
    ranges_are_read(&store).await;
    what_is_deleted_is_gone(&store).await;
    odd_paths(&store).await;
    bad_paths_are_errors(&store).await;
    json_round_trip(&store).await;
    listings_are_sorted_and_complete(&make().await).await;
    commits_follow_the_protocol(&make().await).await;
    one_attempt_wins(&make().await).await;
}

/// Runs the case that needs two handles on one place (two processes).
pub async fn run_shared(ours: &Store, theirs: &Store) {
    ours.put("shared/object", "from us".into()).await.unwrap();
    assert_eq!(theirs.get("shared/object").await.unwrap(), "from us");
    let outcome = theirs.put_new("shared/object", "from them".into()).await.unwrap();
    assert_eq!(outcome, PutNew::AlreadyExists);
    assert_eq!(theirs.list("shared").await.unwrap().len(), 1);
    theirs.delete("shared/object").await.unwrap();
    assert!(!ours.exists("shared/object").await.unwrap());
}

fn large() -> Bytes {
    Bytes::from(
        (0..3_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect::<Vec<_>>(),
    )
}

async fn objects_come_back_whole(store: &Store) {
    for (name, content) in [("empty", Bytes::new()), ("small", "abc".into()), ("large", large())] {
        let path = format!("whole/{name}");
        store.put(&path, content.clone()).await.unwrap();
        assert!(store.get(&path).await.unwrap() == content, "{name} changed");
        let measured = store.measure(&path).await.unwrap();
        assert_eq!(measured, (content.len() as u64, Digest::of(&content)), "{name}");
        assert!(store.exists(&path).await.unwrap());
    }
}

async fn missing_objects_are_told(store: &Store) {
    let error = store.get("missing/object").await.unwrap_err();
    assert!(
        matches!(&error, StoreError::NotFound { path, .. } if path == "missing/object"),
        "{error}"
    );
    assert_eq!(error.class(), ErrorClass::Permanent);
    assert_eq!(store.get_opt("missing/object").await.unwrap(), None);
    let error = store.measure("missing/object").await.unwrap_err();
    assert!(matches!(error, StoreError::NotFound { .. }), "{error}");
    assert!(!store.exists("missing/object").await.unwrap());
    assert_eq!(store.list("missing").await.unwrap(), []);
    store.delete("missing/object").await.unwrap();
    assert_eq!(store.get_json::<u32>("missing/object").await.unwrap(), None);
}

async fn put_replaces_and_put_new_does_not(store: &Store) {
    assert_eq!(store.put_new("new/a", "first".into()).await.unwrap(), PutNew::Created);
    assert_eq!(store.put_new("new/a", "second".into()).await.unwrap(), PutNew::AlreadyExists);
    assert_eq!(store.get("new/a").await.unwrap(), "first");
    store.put("new/a", "third and longer".into()).await.unwrap();
    store.put("new/a", "4th".into()).await.unwrap();
    assert_eq!(store.get("new/a").await.unwrap(), "4th");
    store.delete("new/a").await.unwrap();
    assert_eq!(store.put_new("new/a", "again".into()).await.unwrap(), PutNew::Created);
}

async fn one_of_many_creates(store: &Store) {
    for round in 0..5 {
        let path = format!("race/{round}");
        let racers = (0..RACERS).map(|racer| {
            let (store, path) = (store.clone(), path.clone());
            tokio::spawn(async move {
                let content = format!("written by {racer}");
                (content.clone(), store.put_new(&path, content.into()).await.unwrap())
            })
        });
        let racers: Vec<_> = racers.collect();
        let mut winners = Vec::new();
        for racer in racers {
            let (content, outcome) = racer.await.unwrap();
            if outcome == PutNew::Created {
                winners.push(content);
            }
        }
        assert_eq!(winners.len(), 1, "round {round}: {winners:?}");
        assert_eq!(store.get(&path).await.unwrap(), winners[0]);
    }
}

async fn verified_reads_find_damage(store: &Store) {
    let content = Bytes::from_static(b"the data");
    let digest = Digest::of(&content);
    store.put("verified/a", content.clone()).await.unwrap();
    assert_eq!(store.get_verified("verified/a", &digest, 8).await.unwrap(), content);
    for damaged in ["the dat", "the dath", ""] {
        store.put("verified/a", damaged.into()).await.unwrap();
        let error = store.get_verified("verified/a", &digest, 8).await.unwrap_err();
        assert!(
            matches!(&error, StoreError::Corrupt { path, .. } if path == "verified/a"),
            "{error}"
        );
    }
    let error = store.get_verified("verified/none", &digest, 8).await.unwrap_err();
    assert!(matches!(error, StoreError::NotFound { .. }), "{error}");
}

async fn ranges_are_read(store: &Store) {
    let content = large();
    store.put("ranges/a", content.clone()).await.unwrap();
    for range in [0..1, 7..4096, 1_000_000..1_500_001, 2_999_999..3_000_000] {
        let part = store.get_range("ranges/a", range.clone()).await.unwrap();
        let expected = content.slice(range.start as usize..range.end as usize);
        assert!(part == expected, "{range:?}");
    }
    assert!(matches!(store.get_range("ranges/none", 0..1).await, Err(StoreError::NotFound { .. })));
}

async fn what_is_deleted_is_gone(store: &Store) {
    store.put("deleted/a", "content".into()).await.unwrap();
    store.put("deleted/deep/er/b", "other".into()).await.unwrap();
    store.delete("deleted/a").await.unwrap();
    assert!(!store.exists("deleted/a").await.unwrap());
    assert_eq!(store.list("deleted").await.unwrap().len(), 1);
    assert_eq!(store.get("deleted/deep/er/b").await.unwrap(), "other");
}

async fn odd_paths(store: &Store) {
    let paths = ["odd/with space", "odd/ünïcödé-星系", "odd/a+b=c&d,e;f(g)'h", "odd/z.tar.gz"];
    for path in paths {
        store.put(path, path.to_owned().into()).await.unwrap();
    }
    for path in paths {
        assert_eq!(store.get(path).await.unwrap(), path);
    }
    let listed: BTreeSet<_> =
        store.list("odd").await.unwrap().into_iter().map(|entry| entry.path).collect();
    assert_eq!(listed, paths.into_iter().map(str::to_owned).collect());
}

async fn bad_paths_are_errors(store: &Store) {
    for path in ["", "a//b", "a/../b", "./a"] {
        let error = store.put(path, "x".into()).await.unwrap_err();
        assert!(matches!(error, StoreError::BadPath { .. }), "{path}: {error}");
    }
}

async fn json_round_trip(store: &Store) {
    let value = vec![(1_u64, "one".to_owned()), (u64::MAX, "ü".to_owned())];
    store.put_json("json/a", &value).await.unwrap();
    assert_eq!(store.get_json("json/a").await.unwrap(), Some(value));
    assert_eq!(store.put_json_new("json/a", &1).await.unwrap(), PutNew::AlreadyExists);
    store.put("json/a", "{\"cut".into()).await.unwrap();
    let error = store.get_json::<u32>("json/a").await.unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt { path, .. } if path == "json/a"), "{error}");
}

async fn listings_are_sorted_and_complete(store: &Store) {
    assert_eq!(store.list("").await.unwrap(), []);
    let mut writes = tokio::task::JoinSet::new();
    for chunk in 0..RACERS {
        let store = store.clone();
        writes.spawn(async move {
            for i in (chunk..MANY).step_by(RACERS) {
                let content = vec![b'x'; i % 7];
                store.put(&format!("many/{:02}/{i:05}", i % 13), content.into()).await.unwrap();
            }
        });
    }
    while let Some(outcome) = writes.join_next().await {
        outcome.unwrap();
    }
    // Not below the folder `many`, though the text starts the same.
    store.put("many-more/a", "x".into()).await.unwrap();
    let listed = store.list("many").await.unwrap();
    assert_eq!(listed.len(), MANY);
    assert!(listed.is_sorted(), "sorted by path");
    for entry in &listed {
        let i: usize = entry.path.rsplit('/').next().unwrap().parse().unwrap();
        assert_eq!(entry.path, format!("many/{:02}/{i:05}", i % 13));
        assert_eq!(entry.bytes, (i % 7) as u64);
    }
    let folders = store.folders("many").await.unwrap();
    assert_eq!(folders, (0..13).map(|i| format!("{i:02}")).collect());
    assert_eq!(store.folders("many/05").await.unwrap(), BTreeSet::new());
    assert_eq!(store.folders("none").await.unwrap(), BTreeSet::new());
    assert_eq!(store.list("many/05").await.unwrap().len(), (5..MANY).step_by(13).count());
    let all = store.list("").await.unwrap();
    assert_eq!(all.len(), MANY + 1);
    assert!(all.is_sorted());
}

fn layout() -> Layout {
    Layout::new(&CampaignId::new("conformance", &Digest::of(b"campaign")))
}

fn draft(start: u64, seconds: f64) -> Draft {
    let digest = Digest::of(b"inputs");
    let shard = Shard { start, end: start + 10 };
    Draft {
        task: TaskId::derive(&digest, Stage::Fit, shard, &digest),
        stage: Stage::Fit,
        shard,
        inputs: digest,
        facts: Facts::from_iter([("rows".to_owned(), 5.into())]),
        code_version: "1.2.3".to_owned(),
        seconds,
        worker: "w".to_owned(),
    }
}

fn file(name: &str, content: &str) -> NewFile {
    NewFile { name: name.to_owned(), bytes: content.to_owned().into(), rows: 3 }
}

async fn commits_follow_the_protocol(store: &Store) {
    let layout = layout();
    let Draft { task, shard, .. } = draft(20, 1.0);
    assert_eq!(read_commit(store, &layout, Stage::Fit, shard, &task).await.unwrap(), None);
    assert_eq!(list_commits(store, &layout, Stage::Fit).await.unwrap(), []);

    let files = vec![file("b.parquet", "bbb"), file("a.parquet", "a")];
    let published = publish_attempt(store, &layout, "one", draft(20, 1.0), files.clone()).await;
    let Published::Won(won) = published.unwrap() else { panic!("nobody else is there") };
    assert_eq!(
        won.files.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(),
        ["a.parquet", "b.parquet"]
    );
    assert_eq!(
        read_commit(store, &layout, Stage::Fit, shard, &task).await.unwrap().as_ref(),
        Some(&won)
    );
    assert_eq!(read_file(store, &won.files[1]).await.unwrap(), "bbb");

    // A later attempt loses, learns of the winner, and leaves nothing behind.
    let late = publish_attempt(store, &layout, "two", draft(20, 2.0), files.clone()).await.unwrap();
    assert_eq!(late, Published::Lost(won.clone()));
    let data = store.list(&layout.data(Stage::Fit, &task)).await.unwrap();
    assert_eq!(data.len(), 2);
    assert!(data.iter().all(|entry| entry.path.contains("/one/")), "{data:?}");

    // The winner repeated, as after a lost answer, stays the winner and keeps its files.
    let again = publish_attempt(store, &layout, "one", draft(20, 3.0), files).await.unwrap();
    assert_eq!(again, Published::Won(won.clone()));
    assert_eq!(read_file(store, &won.files[0]).await.unwrap(), "a");

    let twice = vec![file("a", "1"), file("a", "2")];
    publish_attempt(store, &layout, "three", draft(30, 1.0), twice).await.unwrap_err();
    for start in [100, 9, 30] {
        let _ = publish_attempt(store, &layout, "x", draft(start, 1.0), Vec::new()).await.unwrap();
    }
    let all = list_commits(store, &layout, Stage::Fit).await.unwrap();
    assert_eq!(all.iter().map(|c| c.shard.start).collect::<Vec<_>>(), [9, 20, 30, 100]);
    // So many that it is asked first which there are.
    let all_groups: BTreeSet<u64> = (0..100).collect();
    let found = list_committed(store, &layout, Stage::Fit, &all_groups).await.unwrap();
    let path = |c: &CommitRecord| layout.commit(Stage::Fit, c.shard, &c.task);
    let expected: BTreeSet<_> = all.iter().map(path).collect();
    let found: Vec<String> = found.into_iter().map(|entry| entry.path).collect();
    assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
    let far = draft(5_000_000, 1.0).shard;
    let _ = publish_attempt(store, &layout, "x", draft(far.start, 1.0), Vec::new()).await.unwrap();
    let groups = BTreeSet::from([far.group(), far.group() + 1]);
    let found = list_committed(store, &layout, Stage::Fit, &groups).await.unwrap();
    assert_eq!(found.len(), 1);
    let gone = layout.commit(
        Stage::Fit,
        shard,
        &TaskId::derive(&Digest::of(b""), Stage::Fit, shard, &Digest::of(b"")),
    );
    let read = read_records(store, vec![found[0].path.clone(), gone]).await.unwrap();
    assert_eq!(read.iter().map(|c| c.shard).collect::<Vec<_>>(), [far]);

    store.put(&layout.commit(Stage::Fit, shard, &task), "{\"version\": 99}".into()).await.unwrap();
    let error = read_commit(store, &layout, Stage::Fit, shard, &task).await.unwrap_err();
    assert!(matches!(error, StoreError::Version { found: 99, .. }), "{error}");
    store.put(&layout.commit(Stage::Fit, shard, &task), "{\"vers".into()).await.unwrap();
    let error = read_commit(store, &layout, Stage::Fit, shard, &task).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
}

async fn one_attempt_wins(store: &Store) {
    let attempts = (0..RACERS).map(|attempt| {
        let store = store.clone();
        tokio::spawn(async move {
            let files = vec![file("a.parquet", &format!("by {attempt}"))];
            let draft = draft(0, attempt as f64);
            publish_attempt(&store, &layout(), &format!("{attempt}"), draft, files).await.unwrap()
        })
    });
    let attempts: Vec<_> = attempts.collect();
    let mut outcomes = Vec::new();
    for attempt in attempts {
        outcomes.push(attempt.await.unwrap());
    }
    let winners = outcomes.iter().filter(|o| matches!(o, Published::Won(_))).count();
    assert_eq!(winners, 1);
    let Draft { task, shard, .. } = draft(0, 0.0);
    let record = read_commit(store, &layout(), Stage::Fit, shard, &task).await.unwrap().unwrap();
    assert!(outcomes.iter().all(|outcome| *outcome.record() == record));
    read_file(store, &record.files[0]).await.unwrap();
    assert_eq!(store.list(&layout().data(Stage::Fit, &task)).await.unwrap().len(), 1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::open;

    #[tokio::test]
    async fn memory() {
        run_all(|| async { open("memory:").await.unwrap() }).await;
        let (ours, theirs) = (open("memory:two").await.unwrap(), open("memory:two").await.unwrap());
        run_shared(&ours, &theirs).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn folder() {
        let folder = tempfile::tempdir().unwrap();
        let next = std::sync::atomic::AtomicU32::new(0);
        run_all(|| async {
            let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            open(folder.path().join(number.to_string()).to_str().unwrap()).await.unwrap()
        })
        .await;
        let url = folder.path().join("shared");
        let url = url.to_str().unwrap();
        run_shared(&open(url).await.unwrap(), &open(url).await.unwrap()).await;
    }
}
