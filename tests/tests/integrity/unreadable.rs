//! A store that does not hand out an object, or nothing at all.

use super::Copy;
use object_store::Error;
use outshine_coordinator::verify::{Kind, mend, verify};
use outshine_store::Store;
use outshine_tests::processes::files;
use outshine_tests::watched::{Request, watched};

/// A copy's store, that fails to read what has `part` in its path, with `words`.
fn refusing(copy: &Copy, part: &str, words: &'static str) -> Store {
    let part = part.to_owned();
    let watch = move |request: Request, path: &str| {
        if request == Request::Get && path.contains(&part) {
            return Err(Error::Generic { store: "refusing", source: words.into() });
        }
        Ok(())
    };
    watched(&copy.store, "refusing:", Box::new(watch))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_cannot_be_read_is_named_and_left_alone() -> anyhow::Result<()> {
    let copy = Copy::new().await?;
    let before = copy.objects()?;
    for (below, part) in
        [("data/fit", "samples"), ("commits/reduce", ""), ("plan", "train"), ("", "campaign.json")]
    {
        let path = if below.is_empty() { copy.layout.campaign() } else { copy.first(below, part)? };
        let store = refusing(&copy, &path, "Input/output error (os error 5)");
        let report = verify(&store, &copy.campaign, &mut |_| {}).await?;
        let damage: Vec<_> = report.damage().collect();
        let [finding] = &damage[..] else { panic!("{path}: {report:?}") };
        assert_eq!((finding.kind, &finding.path), (Kind::Unreadable, &path));
        assert!(finding.meaning.contains("Input/output error"), "{finding}");
        assert!(!finding.is_mended());
        assert_eq!(mend(&copy.store, &report).await?, 0, "{path}");
    }
    assert_eq!(files(copy.folder.path())?, before);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_gone_ends_the_walk_where_it_was() -> anyhow::Result<()> {
    let copy = Copy::new().await?;
    let path = copy.first("data/fit", "samples")?;
    let store = refusing(&copy, &path, "<Code>NoSuchBucket</Code>");
    let error = verify(&store, &copy.campaign, &mut |_| {}).await.unwrap_err().to_string();
    assert!(error.contains(&path) && error.contains("refusing:"), "{error}");
    Ok(())
}
