//! `outshine gc` removes what can never count again, and nothing else.

use super::damage::publish_stray;
use super::{Copy, campaign_file, finished, task_of};
use outshine_coordinator::gc::{find, remove};
use outshine_coordinator::verify::{Kind, verify};
use outshine_schemas::digest::Digest;
use outshine_schemas::task::Stage;
use outshine_tests::campaigns::{differences, products, run_here, run_until, tiny};
use outshine_tests::processes::{files, outshine_ok};
use outshine_tests::servers::{S3, or_skip};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

const ANY_AGE: Duration = Duration::ZERO;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[tokio::test(flavor = "multi_thread")]
async fn orphans_go_and_everything_else_stays() -> anyhow::Result<()> {
    let copy = Copy::new().await?;
    let file = campaign_file(copy.folder.path())?;
    publish_stray(&copy).await?;
    let other = "campaigns/other-0123456789abcdef/data/fit/0/a/samples.parquet";
    copy.store.put(other, "of another campaign".into()).await?;
    let before = copy.objects()?;

    let root = copy.layout.root();
    let task = task_of(&copy.first("commits/fit", "")?).to_owned();
    let orphans = [
        format!("{root}/data/fit/{task}/dead-attempt/samples.parquet"),
        format!("{root}/data/fit/{}/dead-attempt/samples.parquet", "0".repeat(32)),
        format!("{root}/failures/fit/{task}.json"),
        // Those of the plan are among the objects that stay.
        copy.layout.index(Stage::Reduce, &Digest::of(b"another plan"), 0),
    ];
    for path in &orphans {
        copy.store.put(path, "rubbish".into()).await?;
    }
    let with_orphans = copy.objects()?;
    let gc = |more: &[&str]| {
        let url = copy.url();
        let mut arguments = vec!["gc", &file, "--store", &url];
        arguments.extend(more);
        outshine_ok(&arguments, &[])
    };
    let said = gc(&["--dry-run", "--older-than", "0s"])?;
    for path in &orphans {
        assert!(said.contains(&format!("would remove {path} (7 bytes)")), "{said}");
    }
    assert!(said.contains("would remove 4 objects, 28 bytes"), "{said}");
    assert_eq!(copy.objects()?, with_orphans);

    // By default, what is younger than a day stays.
    let old = std::fs::File::options().write(true).open(copy.at(&orphans[0]))?;
    old.set_modified(SystemTime::now() - 2 * DAY)?;
    let said = gc(&[])?;
    assert!(said.contains("removed 1 objects, 7 bytes"), "{said}");
    assert!(said.contains("3 objects are kept until they are older"), "{said}");
    let mut expected = with_orphans;
    expected.remove(&orphans[0]);
    assert_eq!(copy.objects()?, expected);

    let said = gc(&["--older-than", "0s"])?;
    assert!(said.contains("removed 3 objects, 21 bytes"), "{said}");
    assert_eq!(copy.objects()?, before);

    assert_eq!(copy.damage().await?, []);
    let graph = run_here(&copy.store, tiny(&[])?, 2).await?.graph()?;
    let again = products(&copy.store, &graph).await?;
    assert_eq!(differences(&finished().await?.products, &again), Vec::<String>::new());
    assert_eq!(copy.objects()?, before);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_tasks_that_may_still_be_committed_stay_at_any_age() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let store = outshine_store::open(&folder.path().display().to_string()).await?;
    let ran = run_until(&store, tiny(&[])?, 2, Stage::Simulate).await?;
    let campaign = ran.campaign.clone();
    let layout = outshine_store::layout::Layout::new(&campaign.id());
    let committed = ran.graph()?.commits(Stage::Simulate).to_vec();
    // Committed, then its record lost, damaged, or its file: all may come again.
    store.delete(&layout.commit(Stage::Simulate, committed[0].shard, &committed[0].task)).await?;
    store
        .put(&layout.commit(Stage::Simulate, committed[1].shard, &committed[1].task), "{".into())
        .await?;
    store.delete(&committed[2].files[0].path).await?;
    let beside = layout.attempt_file(Stage::Simulate, &committed[2].task, "a", "simulations");
    store.put(&beside, "rubbish".into()).await?;
    // Nobody has planned to fit, so nobody can say what is planned.
    let unknown = layout.attempt_file(Stage::Fit, &committed[0].task, "a", "samples.parquet");
    store.put(&unknown, "rubbish".into()).await?;
    store.put(&layout.index(Stage::Fit, &Digest::of(b""), 0), "rubbish".into()).await?;
    // Not where attempts write: not ours.
    store.put(&format!("{}/notes.txt", layout.stage_data(Stage::Simulate)), "".into()).await?;
    let before = files(folder.path())?;
    let rubbish = find(&store, &campaign, ANY_AGE).await?;
    assert_eq!(rubbish.removable, []);
    let uncommitted = committed[0].files.len() + committed[1].files.len();
    assert_eq!(rubbish.kept, uncommitted as u64 + 4);
    remove(&store, &rubbish, &mut |_| {}).await?;
    assert_eq!(files(folder.path())?, before);

    // Beside a committed task of the same stage, rubbish does go.
    let path = layout.attempt_file(Stage::Simulate, &committed[3].task, "a", "simulations");
    store.put(&path, "rubbish".into()).await?;
    let rubbish = find(&store, &campaign, ANY_AGE).await?;
    let paths: Vec<_> = rubbish.removable.iter().map(|entry| entry.path.as_str()).collect();
    assert_eq!(paths, [path.as_str()]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_mend_the_damaged_files_are_kept_until_their_task_is_done_again()
-> anyhow::Result<()> {
    let copy = Copy::new().await?;
    let damaged = copy.first("data/fit", "samples")?;
    copy.flip(&damaged)?;
    let report = copy.verify().await?;
    outshine_coordinator::verify::mend(&copy.store, &report).await?;
    assert_eq!(find(&copy.store, &copy.campaign, ANY_AGE).await?.removable, []);
    run_here(&copy.store, tiny(&[])?, 2).await?.graph()?;
    let rubbish = find(&copy.store, &copy.campaign, ANY_AGE).await?;
    assert!(rubbish.removable.iter().any(|entry| entry.path == damaged), "{rubbish:?}");
    remove(&copy.store, &rubbish, &mut |_| {}).await?;
    assert_eq!(copy.verify().await?.findings, []);
    // As many objects as ever, the same but for attempts' names and timings.
    let shapes = |objects: &BTreeMap<String, bytes::Bytes>| {
        let shape = |path: &String| {
            let parts: Vec<&str> = path.split('/').collect();
            let attempt = path.contains("/data/");
            let kept = parts.iter().enumerate().filter(|(i, _)| !(attempt && *i == 5));
            kept.map(|(_, part)| *part).collect::<Vec<_>>().join("/")
        };
        objects.keys().map(shape).collect::<Vec<_>>()
    };
    assert_eq!(shapes(&copy.objects()?), shapes(&finished().await?.objects));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_and_orphans_on_s3_are_found_as_in_a_folder() -> anyhow::Result<()> {
    let Some(server) = or_skip(S3::start()) else { return Ok(()) };
    let environment = server.environment().into_iter().map(|(k, v)| (k.to_owned(), v));
    let url = server.url("integrity");
    let store = outshine_store::open_with_environment(&url, environment).await?;
    let finished = finished().await?;
    for (path, bytes) in &finished.objects {
        store.put(path, bytes.clone()).await?;
    }
    let campaign = &finished.campaign;
    let look = async || anyhow::Ok(verify(&store, campaign, &mut |_| {}).await?.findings);
    assert_eq!(look().await?, []);

    let samples = |path: &&String| path.contains("/data/fit/") && path.ends_with("samples.parquet");
    let path = finished.objects.keys().find(samples).expect("samples of some pixels");
    let mut bytes = finished.objects[path].to_vec();
    bytes[100] ^= 4;
    store.put(path, bytes.into()).await?;
    let [finding] = &look().await?[..] else { panic!("{:?}", look().await?) };
    assert_eq!((finding.kind, &finding.path), (Kind::Damaged, path));
    store.put(path, finished.objects[path].clone()).await?;

    let orphan = path.replace("samples.parquet", "orphan.parquet");
    store.put(&orphan, "rubbish".into()).await?;
    let rubbish = find(&store, campaign, DAY).await?;
    assert_eq!((rubbish.removable.len(), rubbish.young), (0, 1));
    let rubbish = find(&store, campaign, ANY_AGE).await?;
    remove(&store, &rubbish, &mut |_| {}).await?;
    assert_eq!(look().await?, []);
    let left: Vec<_> = store.list("").await?.into_iter().map(|entry| entry.path).collect();
    assert_eq!(left, finished.objects.keys().cloned().collect::<Vec<_>>());
    Ok(())
}
