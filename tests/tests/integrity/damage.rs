//! Each kind of damage is found and named, and nothing else is.

use super::{Copy, STAGES, campaign_file, finished, task_of};
use anyhow::Context;
use outshine_coordinator::prepare::prepare;
use outshine_coordinator::verify::{Kind, verify};
use outshine_schemas::ids::TaskId;
use outshine_schemas::outcome::{CommitIndex, CommitRecord, Facts};
use outshine_schemas::task::{Shard, Stage, Task};
use outshine_store::commit::{Draft, NewFile, publish_attempt};
use outshine_store::layout::Layout;
use outshine_tests::campaigns::tiny;
use outshine_tests::processes::{outshine_error, outshine_ok};

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_campaign_is_clean() -> anyhow::Result<()> {
    let copy = Copy::new().await?;
    let mut steps = Vec::new();
    let report = verify(&copy.store, &copy.campaign, &mut |step| steps.push(step)).await?;
    assert_eq!(report.findings, []);
    assert_eq!(steps.len() as u64, report.files);
    for stage in STAGES {
        let last = steps.iter().rfind(|step| step.stage == stage).expect("every stage has files");
        assert_eq!((last.files, last.bytes), (last.of_files, last.of_bytes), "{stage}");
    }
    let count = |part: &str| {
        let folder = format!("{}/{part}/", copy.layout.root());
        anyhow::Ok(copy.objects()?.keys().filter(|path| path.starts_with(&folder)).count() as u64)
    };
    assert_eq!((report.files, report.commits), (count("data")?, count("commits")?));
    assert!(report.commits > STAGES.len() as u64 && report.waiting == 0, "{report:?}");
    let file = campaign_file(copy.folder.path())?;
    let said = outshine_ok(&["verify", &file, "--store", &copy.url()], &[])?;
    assert!(said.contains(&format!("{} commit records", report.commits)), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_any_kind_of_object_is_found() -> anyhow::Result<()> {
    let whole = Copy::new().await?;
    let mut paths = vec![whole.layout.campaign()];
    for stage in STAGES {
        paths.push(whole.first("plan", &format!("/plan/{stage}"))?);
        paths.push(whole.first(&format!("commits/{stage}"), "")?);
        paths.push(whole.first(&format!("data/{stage}"), "")?);
    }
    paths.push(whole.first("index/fit", "")?);
    for path in paths {
        // Records have timings that nobody reads: what is flipped is read.
        let flip = || match path.contains("/commits/") {
            true => whole.flip_after(&path, "\"data_digest\": \""),
            false => whole.flip(&path),
        };
        flip()?;
        let found = whole.damage().await?;
        assert_eq!(found, [(Kind::Damaged, path.clone())]);
        // Flipped twice is whole.
        flip()?;
        assert_eq!(whole.damage().await?, [], "{path}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_anywhere_in_a_record_is_found_or_changes_nothing_that_is_read()
-> anyhow::Result<()> {
    let copy = Copy::new().await?;
    let path = copy.first("commits/reduce", "")?;
    let bytes = std::fs::read(copy.at(&path))?;
    let read = |bytes: &[u8]| {
        let record: Option<CommitRecord> = serde_json::from_slice(bytes).ok();
        record.map(|mut record| {
            record.seconds = 0.0;
            record.worker.clear();
            record.code_version.clear();
            record.files.iter_mut().for_each(|file| file.rows = 0);
            record
        })
    };
    let (original, mut found) = (read(&bytes), 0);
    for at in (0..bytes.len()).step_by(5) {
        let mut broken = bytes.clone();
        broken[at] ^= 1 << (at % 7);
        if read(&broken) == original {
            continue;
        }
        std::fs::write(copy.at(&path), &broken)?;
        let text = String::from_utf8_lossy(&broken);
        assert_ne!(copy.damage().await?, [], "byte {at}: {text}");
        found += 1;
    }
    assert!(found > 100, "only {found} flips told");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_anywhere_in_an_index_is_found() -> anyhow::Result<()> {
    let copy = Copy::new().await?;
    let path = copy.first("index/reduce", "")?;
    let bytes = std::fs::read(copy.at(&path))?;
    let read = |bytes: &[u8]| serde_json::from_slice::<CommitIndex>(bytes).ok();
    let original = read(&bytes);
    let head = bytes.iter().position(|&byte| byte == b'[').context("its records")?;
    let mut found = 0;
    for at in (0..head).chain((head..bytes.len()).step_by(5)) {
        let mut broken = bytes.clone();
        broken[at] ^= 1 << (at % 7);
        if read(&broken) == original {
            continue;
        }
        std::fs::write(copy.at(&path), &broken)?;
        let text = String::from_utf8_lossy(&broken);
        assert_eq!(copy.damage().await?, [(Kind::Damaged, path.clone())], "byte {at}: {text}");
        found += 1;
    }
    assert!(found > 100, "only {found} flips told");
    Ok(())
}

/// An index may be older than the loss of a record that it has: this is told of the
/// record. But it has none that no plan has and the store neither.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_of_records_that_nobody_knows_is_found() -> anyhow::Result<()> {
    let copy = Copy::new().await?;
    let path = copy.first("index/reduce", "")?;
    let mut index: CommitIndex = serde_json::from_slice(&std::fs::read(copy.at(&path))?)?;
    let lost = &index.commits[0];
    let record = copy.layout.commit(Stage::Reduce, lost.shard, &lost.task);
    copy.remove(&record)?;
    assert_eq!(copy.damage().await?, [(Kind::Missing, record)]);

    // Whole in itself, and of another campaign's cut.
    let copy = Copy::new().await?;
    let strange = &mut index.commits[0];
    strange.shard = Shard { start: 0, end: 1_000_000 };
    let campaign = copy.campaign.digest();
    strange.task = TaskId::derive(&campaign, Stage::Reduce, strange.shard, &strange.inputs);
    strange.files.clear();
    strange.data_digest = CommitRecord::digest_of(&[], &strange.facts);
    copy.store.put_json(&path, &index).await?;
    assert_eq!(copy.damage().await?, [(Kind::Damaged, path)]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_an_input_is_found_and_named() -> anyhow::Result<()> {
    let model = tempfile::tempdir()?;
    for name in ["model.json", "model.safetensors"] {
        std::fs::write(
            model.path().join(name),
            &finished().await?.products[&format!("model/{name}")],
        )?;
    }
    let setting = format!("estimator={}", model.path().display());
    let folder = tempfile::tempdir()?;
    let store = outshine_store::open(&folder.path().display().to_string()).await?;
    let campaign = prepare(&store, tiny(&[&setting])?).await?;
    let report = verify(&store, &campaign, &mut |_| {}).await?;
    assert_eq!((report.findings.len(), report.files), (0, 2));
    let [_, weights] = campaign.estimator.as_ref().expect("an estimator by folder");
    let path = Layout::new(&campaign.id()).input(weights);
    super::flip(&folder.path().join(&path))?;
    let report = verify(&store, &campaign, &mut |_| {}).await?;
    let [finding] = &report.findings[..] else { panic!("{report:?}") };
    assert_eq!((finding.kind, &finding.path), (Kind::Damaged, &path));
    assert!(finding.meaning.contains("estimator"), "{finding}");

    std::fs::remove_file(folder.path().join(&path))?;
    let report = verify(&store, &campaign, &mut |_| {}).await?;
    let [finding] = &report.findings[..] else { panic!("{report:?}") };
    assert_eq!((finding.kind, &finding.path), (Kind::Missing, &path));
    // A run stores its inputs before anything else.
    prepare(&store, tiny(&[&setting])?).await?;
    assert_eq!(verify(&store, &campaign, &mut |_| {}).await?.findings, []);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_and_cut_objects_are_named_with_what_they_touch() -> anyhow::Result<()> {
    let copy = Copy::new().await?;
    let gone = copy.first("data/fit", "samples")?;
    let cut = copy.first("data/reduce", "")?;
    let commit = copy.first("commits/simulate", "")?;
    let plan = copy.first("plan", "/plan/calibrate")?;
    for path in [&gone, &commit, &plan] {
        copy.remove(path)?;
    }
    std::fs::write(copy.at(&cut), "")?;
    let file = campaign_file(copy.folder.path())?;
    let output =
        outshine_tests::processes::outshine(&["verify", &file, "--store", &copy.url()], &[])?;
    let said = String::from_utf8_lossy(&output.stdout);
    for (kind, path, what) in [
        ("MISSING", &gone, "samples.parquet of blocks of pixels "),
        ("DAMAGED", &cut, " of galaxies "),
        ("MISSING", &commit, "the commit record of simulations "),
        ("MISSING", &plan, "the plan of stage calibrate"),
    ] {
        let line = said.lines().find(|line| line.contains(path.as_str())).unwrap_or_default();
        assert!(line.contains(kind) && line.contains(what), "{path}: {said}");
    }
    let lost = task_of(&commit);
    assert!(said.contains("1 planned tasks wait"), "{lost}: {said}");
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr);
    for part in ["4 objects", "simulate, calibrate, fit, reduce", "--mend", "outshine run"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_of_another_plan_and_orphans_are_no_damage() -> anyhow::Result<()> {
    let copy = Copy::new().await?;
    let (stray, file) = publish_stray(&copy).await?;
    let commit = copy.first("commits/fit", "")?;
    let folder = format!("{}/data/fit/{}", copy.layout.root(), task_of(&commit));
    let orphan = format!("{folder}/dead-attempt/samples.parquet");
    copy.store.put(&orphan, "half".into()).await?;
    let failure = format!("{}/{}.json", copy.layout.failures(Stage::Fit), task_of(&commit));
    copy.store.put(&failure, "{}".into()).await?;
    let report = copy.verify().await?;
    let found: Vec<_> = report.findings.iter().map(|f| (f.kind, f.path.as_str())).collect();
    let expected = [
        (Kind::Stray, stray.as_str()),
        (Kind::Orphan, orphan.as_str()),
        (Kind::Failed, failure.as_str()),
    ];
    assert_eq!(found, expected);
    let toml = campaign_file(copy.folder.path())?;
    outshine_ok(&["verify", &toml, "--store", &copy.url()], &[])?;
    // Its files are checked like all others.
    copy.flip(&file)?;
    assert_eq!(copy.damage().await?, [(Kind::Damaged, file)]);
    Ok(())
}

/// A commit of a fit task that the plan does not have: its path and its file's.
pub async fn publish_stray(copy: &Copy) -> anyhow::Result<(String, String)> {
    let (campaign, stage) = (&copy.campaign, Stage::Fit);
    let shard = Shard { start: 0, end: 1_000_000 };
    let inputs = outshine_schemas::digest::Digest::of(b"other inputs");
    let task = Task::new(campaign.id(), campaign.digest(), stage, shard, inputs);
    let draft = Draft {
        task: task.id.clone(),
        stage,
        shard,
        inputs: task.inputs.clone(),
        facts: Facts::new(),
        code_version: "other".to_owned(),
        seconds: 1.0,
        worker: "other".to_owned(),
    };
    let bytes = "content".into();
    let files = vec![NewFile { name: "samples.parquet".to_owned(), bytes, rows: 1 }];
    publish_attempt(&copy.store, &copy.layout, "a1", draft, files).await?;
    let file = copy.layout.attempt_file(stage, &task.id, "a1", "samples.parquet");
    Ok((copy.layout.commit(stage, shard, &task.id), file))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_that_is_not_there_is_said() -> anyhow::Result<()> {
    let copy = Copy::new().await?;
    let file = campaign_file(copy.folder.path())?;
    let before = copy.objects()?;
    for command in ["verify", "gc"] {
        let arguments = [command, &file, "--set", "seed=8", "--store", &copy.url()];
        let error = outshine_error(&arguments, &[])?;
        assert!(error.contains("is not in the store") && error.contains("tiny-"), "{error}");
    }
    assert_eq!(copy.objects()?, before, "looking wrote something");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_list_is_cut_unless_all_of_it_is_asked_for() -> anyhow::Result<()> {
    let copy = Copy::new().await?;
    let folder = format!("{}/data/fit/{}", copy.layout.root(), "0".repeat(32));
    for i in 0..53 {
        copy.store.put(&format!("{folder}/attempt-{i}/samples.parquet"), "half".into()).await?;
    }
    let file = campaign_file(copy.folder.path())?;
    let lines = |said: &str| said.lines().filter(|line| line.contains("/attempt-")).count();
    let said = outshine_ok(&["verify", &file, "--store", &copy.url()], &[])?;
    assert!(lines(&said) == 50 && said.contains("orphan  and 3 more: --all"), "{said}");
    let said = outshine_ok(&["verify", &file, "--store", &copy.url(), "--all"], &[])?;
    assert!(lines(&said) == 53 && !said.contains("--all"), "{said}");
    Ok(())
}
