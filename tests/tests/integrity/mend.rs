//! What `verify --mend` removes, the next run makes again, to the byte.

use super::{Copy, STAGES, campaign_file, finished};
use outshine_coordinator::failures;
use outshine_coordinator::verify::{Kind, mend};
use outshine_tests::campaigns::{differences, products, run_here, tiny};
use outshine_tests::processes::{outshine_error, outshine_ok};

/// Runs the campaign again and holds its products against the undisturbed ones.
async fn run_again(copy: &Copy) -> anyhow::Result<()> {
    let graph = run_here(&copy.store, tiny(&[])?, 2).await?.graph()?;
    let again = products(&copy.store, &graph).await?;
    assert_eq!(differences(&finished().await?.products, &again), Vec::<String>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_every_stage_is_mended_to_the_same_bytes() -> anyhow::Result<()> {
    let copy = Copy::new().await?;
    let before = copy.objects()?;
    for (i, stage) in STAGES.into_iter().enumerate() {
        let data = copy.first(&format!("data/{stage}"), "")?;
        if i % 2 == 0 { copy.flip(&data)? } else { copy.remove(&data)? }
    }
    let report = copy.verify().await?;
    assert_eq!(report.stages().len(), STAGES.len());
    assert_eq!(mend(&copy.store, &report).await?, STAGES.len());
    // Only the damaged tasks' records are gone.
    let after = copy.objects()?;
    let gone: Vec<_> = before.keys().filter(|path| !after.contains_key(*path)).collect();
    let records = gone.iter().filter(|path| path.contains("/commits/")).count();
    // Of each stage of several tasks.
    let indexes = gone.iter().filter(|path| path.contains("/index/")).count();
    assert_eq!((records, indexes), (STAGES.len(), 3));
    assert_eq!(gone.len() - records - indexes, STAGES.len() / 2);
    assert!(after.keys().all(|path| before.contains_key(path)));

    run_again(&copy).await?;
    let report = copy.verify().await?;
    assert!(report.findings.iter().all(|f| f.kind == Kind::Orphan), "{report:?}");
    // What was not damaged was not computed again.
    let now = copy.objects()?;
    let kept = before.keys().filter(|path| path.contains("/commits/") && !gone.contains(path));
    for path in kept {
        assert_eq!(now[path], before[path], "{path}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_records_and_plans_are_mended_by_the_command() -> anyhow::Result<()> {
    let copy = Copy::new().await?;
    let file = campaign_file(copy.folder.path())?;
    copy.flip(&copy.layout.campaign())?;
    for stage in ["train", "fit"] {
        copy.flip_after(&copy.first(&format!("commits/{stage}"), "")?, "\"inputs\": \"")?;
    }
    for stage in STAGES {
        copy.flip(&copy.first("plan", &format!("/plan/{stage}"))?)?;
    }
    let verify = ["verify", &file, "--store", &copy.url()];
    let error = outshine_error(&verify, &[])?;
    assert!(error.contains("10 objects"), "{error}");
    let said = outshine_ok(&["verify", &file, "--store", &copy.url(), "--mend"], &[])?;
    assert!(said.contains("10 objects removed"), "{said}");
    run_again(&copy).await?;
    outshine_ok(&verify, &[])?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_damage_caused_does_not_stop_the_mended_task() -> anyhow::Result<()> {
    let copy = Copy::new().await?;
    let commit = copy.first("commits/fit", "")?;
    let folder = copy.layout.failures(outshine_schemas::task::Stage::Fit);
    let failure = format!("{folder}/{}.json", super::task_of(&commit));
    copy.store.put(&failure, copy.store.get(&commit).await?).await?;
    copy.flip(&copy.first(&format!("data/fit/{}", super::task_of(&commit)), "")?)?;
    let report = copy.verify().await?;
    assert_eq!(mend(&copy.store, &report).await?, 2);
    assert!(!copy.store.exists(&failure).await?);
    run_again(&copy).await
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_that_failed_a_later_stage_is_mended_by_verify_and_retry() -> anyhow::Result<()> {
    let copy = Copy::new().await?;
    let later = ["/commits/reduce/", "/commits/catalogue/", "/plan/reduce", "/plan/catalogue"];
    for path in copy.objects()?.keys().filter(|path| later.iter().any(|l| path.contains(l))) {
        copy.remove(path)?;
    }
    let damaged = copy.first("data/fit", "blocks.parquet")?;
    copy.flip(&damaged)?;
    let ran = run_here(&copy.store, tiny(&[])?, 2).await?;
    let failed: Vec<String> = ran.graph()?.failures().map(failures::text).collect();
    assert!(!failed.is_empty() && failed.iter().all(|f| f.contains(&damaged)), "{failed:?}");

    let file = campaign_file(copy.folder.path())?;
    let said = outshine_ok(&["verify", &file, "--store", &copy.url(), "--mend"], &[])?;
    assert!(said.contains(&damaged) && said.contains("`outshine retry` comes first"), "{said}");
    assert!(failures::forget(&copy.store, &copy.campaign.id()).await? > 0);
    run_again(&copy).await
}
