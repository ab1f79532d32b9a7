//! A loaded database on its way to a later version of the tables. Until there is
//! one, its steps are made up here.

use super::{campaign, database, pixels, put};
use outshine_database::{STEPS, check, migrate};
use outshine_tests::servers::or_skip;
use outshine_tests::servers::postgres::Postgres;

/// Moves a column of the campaign to a table of its own; views are in its way.
const NEXT: &str = "
drop view if exists outshine.pixel_newest, outshine.galaxy_newest;
create table outshine.survey (
    key integer generated always as identity primary key,
    survey text not null unique
);
insert into outshine.survey (survey) select distinct survey from outshine.campaign order by 1;
alter table outshine.campaign add column survey_key integer references outshine.survey (key);
update outshine.campaign c set survey_key = s.key
    from outshine.survey s where s.survey = c.survey;
alter table outshine.campaign alter column survey_key set not null, drop column survey;
";
/// What all tables say.
const ROWS: &str = "select string_agg(md5(row::text), ' ' order by row::text) from (
    select g::text as row from outshine.galaxy g union all select p::text from outshine.pixel p
    union all select m::text from outshine.model m) rows";
const SHAPE: &str = "select string_agg(table_name || '.' || column_name || ' ' || data_type, ', '
        order by table_name, ordinal_position)
    from information_schema.columns where table_schema = 'outshine'";
const VERSIONS: &str =
    "select string_agg(version::text, ' ' order by version) from outshine.version";

#[tokio::test(flavor = "multi_thread")]
async fn a_loaded_database_goes_to_the_next_version_whole_or_not_at_all() -> anyhow::Result<()> {
    let Some(mut server) = or_skip(Postgres::start()) else { return Ok(()) };
    let target = database(&server, "old")?;
    let rows = vec![(1, Some(9.0)), (2, None)];
    for (name, survey) in [("first", "s"), ("second", "s"), ("third", "t")] {
        put(&target, &campaign(name, survey), &rows, vec![pixels(1, 3, 0.1)]).await?;
    }
    let version = STEPS.len();
    let this = (1..=version).map(|v| v.to_string()).collect::<Vec<_>>().join(" ");
    let state = |server: &Postgres| -> anyhow::Result<[String; 3]> {
        Ok([
            server.query("old", ROWS)?,
            server.query("old", SHAPE)?,
            server.query("old", VERSIONS)?,
        ])
    };
    let before = state(&server)?;
    assert_eq!(before[2], this);

    // To the version that it has: nothing to do.
    migrate(&target, STEPS).await?;
    assert_eq!(state(&server)?, before);

    // A step that is wrong, or during which the connection or the server dies, after another one.
    let wrong = "alter table outshine.campaign drop column no_such_column";
    let dies = "select pg_terminate_backend(pg_backend_pid())";
    for (last, says) in [(wrong, "no_such_column"), (dies, "making its tables")] {
        let steps = [STEPS, &[NEXT, last]].concat();
        let error = migrate(&target, &steps).await.unwrap_err().to_string();
        assert!(error.contains(says) && error.contains("as it was before"), "{error}");
        assert_eq!(state(&server)?, before, "{last}");
    }
    let steps = [STEPS, &[NEXT, "select pg_sleep(600)"]].concat();
    let going = {
        let (target, steps) = (target.clone(), steps);
        tokio::spawn(async move { migrate(&target, &steps).await })
    };
    let asleep = "select count(*) from pg_stat_activity where query like '%pg_sleep(600)%'
         and state = 'active' and pid <> pg_backend_pid()";
    let mut seen = false;
    for _ in 0..600 {
        seen = server.query("old", asleep)? == "1";
        if seen {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    anyhow::ensure!(seen, "the step after the next version's was never reached");
    server.crash()?;
    let error = going.await?.unwrap_err().to_string();
    assert!(error.contains("loading again is safe"), "{error}");
    server.restart()?;
    assert_eq!(state(&server)?, before);
    // It is whole: this version goes on with it.
    let first = campaign("first", "s");
    assert_eq!(put(&target, &first, &rows, vec![pixels(1, 3, 0.1)]).await?.changed, 0);

    // The next version, with every row.
    let steps = [STEPS, &[NEXT]].concat();
    migrate(&target, &steps).await?;
    let after = state(&server)?;
    assert_eq!(after[0], before[0]);
    assert_ne!(after[1], before[1]);
    assert_eq!(after[2], format!("{this} {}", version + 1));
    let surveys = "select string_agg(c.name || ' ' || s.survey, ', ' order by c.key)
         from outshine.campaign c join outshine.survey s on s.key = c.survey_key";
    assert_eq!(server.query("old", surveys)?, "first s, second s, third t");
    migrate(&target, &steps).await?;
    assert_eq!(state(&server)?, after);

    // A program of before refuses it, and changes nothing.
    let said = format!("version {}, this program knows {version}: update", version + 1);
    for error in [
        check(&target).await.unwrap_err(),
        migrate(&target, STEPS).await.unwrap_err(),
        put(&target, &first, &rows, vec![]).await.unwrap_err(),
    ] {
        assert!(error.to_string().contains(&said), "{error}");
    }
    assert_eq!(state(&server)?, after);

    // An empty database takes all steps at once.
    let empty = database(&server, "empty")?;
    migrate(&empty, &steps).await?;
    assert_eq!(server.query("empty", VERSIONS)?, after[2]);
    Ok(())
}
