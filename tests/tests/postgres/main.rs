//! Campaigns in a real PostgreSQL: loaded whole or not at all, again without
//! change, side by side.

mod migration;
mod readers;
mod rights;

use anyhow::{Context, ensure};
use arrow::array::{
    ArrayRef, Date32Array, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray, UInt32Array, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Schema};
use futures::{Stream, stream};
use outshine_database::{Campaign, DatabaseError, Loaded, Survey, Target, load};
use outshine_tests::servers::or_skip;
use outshine_tests::servers::postgres::Postgres;
use std::sync::Arc;

type Rows = Vec<(i64, Option<f64>)>;

fn campaign(name: &str, survey: &str) -> Campaign {
    Campaign {
        campaign: format!("{name}-0123"),
        name: name.to_owned(),
        survey: Survey::Named(survey.to_owned()),
        digest: "0123".to_owned(),
        model: Some("abcd".to_owned()),
        definition: serde_json::json!({"name": name}),
        provenance: [("outshine.prior", "it's \"odd\""), ("outshine.campaign", name)]
            .map(|(key, text)| (key.to_owned(), text.to_owned()))
            .into(),
    }
}

fn batch(columns: Vec<(&str, DataType, ArrayRef)>) -> RecordBatch {
    let fields: Vec<Field> =
        columns.iter().map(|(name, kind, _)| Field::new(*name, kind.clone(), true)).collect();
    let arrays = columns.into_iter().map(|column| column.2).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("columns of one length")
}

/// Galaxies with a mass, a count and a model each.
fn galaxies(rows: &Rows) -> RecordBatch {
    let ids = Int64Array::from_iter_values(rows.iter().map(|row| row.0));
    let masses: Float64Array = rows.iter().map(|row| row.1).collect();
    let counts = UInt32Array::from_iter_values(rows.iter().map(|_| u32::MAX));
    let models = StringArray::from_iter_values(rows.iter().map(|_| "abcd"));
    batch(vec![
        ("galaxy_id", DataType::Int64, Arc::new(ids)),
        ("mass", DataType::Float64, Arc::new(masses)),
        ("pixels_used", DataType::UInt32, Arc::new(counts)),
        ("model", DataType::Utf8, Arc::new(models)),
    ])
}

/// `count` pixels of a galaxy in a row, with one value each.
fn pixels(galaxy: i64, count: i32, value: f32) -> RecordBatch {
    let n = count as usize;
    batch(vec![
        ("galaxy_id", DataType::Int64, Arc::new(Int64Array::from(vec![galaxy; n]))),
        ("x", DataType::Int32, Arc::new(Int32Array::from_iter_values(0..count))),
        ("y", DataType::Int32, Arc::new(Int32Array::from(vec![0; n]))),
        ("a_v_p50", DataType::Float32, Arc::new(Float32Array::from(vec![value; n]))),
    ])
}

fn all(batches: Vec<RecordBatch>) -> impl Stream<Item = Result<RecordBatch, String>> {
    stream::iter(batches.into_iter().map(Ok))
}

async fn put(
    target: &Target,
    campaign: &Campaign,
    rows: &Rows,
    pixels: Vec<RecordBatch>,
) -> Result<Loaded, DatabaseError> {
    let galaxies = galaxies(rows);
    load(target, campaign, (&galaxies.schema(), &[galaxies]), all(pixels)).await
}

/// A new database of the server.
fn database(server: &Postgres, name: &str) -> anyhow::Result<Target> {
    server.create(name)?;
    Ok(Target::new(&server.url_with_password(name))?)
}

#[tokio::test(flavor = "multi_thread")]
async fn campaigns_live_side_by_side() -> anyhow::Result<()> {
    let Some(server) = or_skip(Postgres::start()) else { return Ok(()) };
    let target = database(&server, "side")?;
    let ask = |sql: &str| server.query("side", sql);

    let survey = "field's \"1\"; drop table";
    let mut first = campaign("first", survey);
    let rows = vec![(1, Some(9.5)), (2, None), (3, Some(f64::NAN))];
    // Galaxy 3 has no pixels.
    let parts = || vec![pixels(1, 2, 0.5), pixels(2, 1, f32::NAN)];
    let loaded = put(&target, &first, &rows, parts()).await?;
    assert_eq!((loaded.galaxies, loaded.pixels, loaded.changed), (3, 3, 6));
    let masses = "select galaxy_id, coalesce(mass::text, 'null'), pixels_used
         from outshine.galaxy order by 1";
    assert_eq!(ask(masses)?, "1|9.5|4294967295\n2|null|4294967295\n3|NaN|4294967295");

    // Again: nothing changes, not even where a row lies.
    let places = "select string_agg(ctid::text, ',' order by galaxy_id) from outshine.galaxy";
    let before = ask(places)?;
    assert_eq!(put(&target, &first, &rows, parts()).await?.changed, 0);
    assert_eq!(ask(places)?, before);

    // Another campaign of the survey, and one of another survey.
    let newer = campaign("newer", survey);
    put(&target, &newer, &vec![(1, Some(10.0))], vec![pixels(1, 1, 0.7)]).await?;
    put(&target, &campaign("other", "elsewhere"), &vec![(1, Some(7.0))], vec![]).await?;
    let newest = "select campaign, galaxy_id, mass from outshine.galaxy_newest
         where survey like 'field%' order by galaxy_id";
    assert_eq!(ask(newest)?, "newer-0123|1|10\nfirst-0123|2|\nfirst-0123|3|NaN");
    let newest = "select campaign, count(*) from outshine.pixel_newest group by 1 order by 1";
    assert_eq!(ask(newest)?, "first-0123|1\nnewer-0123|1");
    assert_eq!(ask("select count(*) from outshine.galaxy")?, "5");
    // The first again is not the newest for it, and keeps its survey.
    first.survey = Survey::Made("made".to_owned());
    put(&target, &first, &rows, parts()).await?;
    let of_one = "select campaign from outshine.galaxy_newest where galaxy_id = 1
         and survey like 'field%'";
    assert_eq!(ask(of_one)?, "newer-0123");
    let told = "select c.survey, m.provenance ->> 'outshine.prior', c.galaxies, c.pixels
         from outshine.campaign c join outshine.model m using (model) order by key limit 1";
    assert_eq!(ask(told)?, "field's \"1\"; drop table|it's \"odd\"|3|3");
    // What is said of a model is of no campaign.
    let told = "select key from outshine.model, jsonb_object_keys(provenance) key";
    assert_eq!(ask(told)?, "outshine.prior");
    let told = "select string_agg(provenance ->> 'outshine.campaign', ' ' order by key)
         from outshine.campaign";
    assert_eq!(ask(told)?, "first newer other");

    // A campaign that has changed: one galaxy less, another mass.
    let loaded = put(&target, &first, &vec![(1, Some(9.6)), (2, None)], parts()).await?;
    assert_eq!((loaded.galaxies, loaded.changed), (2, 2));
    assert_eq!(
        ask("select count(*) from outshine.galaxy g join outshine.campaign c
             on c.key = campaign_key where campaign = 'first-0123'")?,
        "2"
    );
    // And one that has no pixels any more.
    let loaded = put(&target, &first, &vec![(1, Some(9.6)), (2, None)], vec![]).await?;
    assert_eq!((loaded.pixels, loaded.changed), (0, 3));
    let left = "select c.campaign, c.pixels, count(*) from outshine.pixel
         join outshine.campaign c on c.key = campaign_key group by 1, 2";
    assert_eq!(ask(left)?, "newer-0123|1|1");
    assert_eq!(put(&target, &first, &vec![(1, Some(9.6)), (2, None)], vec![]).await?.changed, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_dies_in_mid_load_keeps_the_old_version() -> anyhow::Result<()> {
    let Some(mut server) = or_skip(Postgres::start()) else { return Ok(()) };
    let target = database(&server, "crash")?;
    let it = campaign("crash", "s");
    put(&target, &it, &vec![(1, Some(9.0))], vec![pixels(1, 3, 0.1)]).await?;

    let galaxies = galaxies(&vec![(1, Some(10.0)), (2, Some(11.0))]);
    let mut crashed = false;
    let failed = {
        let parts = vec![pixels(1, 200_000, 0.2), pixels(2, 200_000, 0.3)];
        // The rows of the first part are on their way when the second is asked for.
        let parts = parts.into_iter().enumerate().map(|(part, rows)| {
            if part == 1 {
                server.crash().map_err(|error| error.to_string())?;
                crashed = true;
            }
            Ok::<_, String>(rows)
        });
        load(&target, &it, (&galaxies.schema(), &[galaxies]), stream::iter(parts)).await
    };
    let error = failed.err().context("it was loaded into a dead database")?.to_string();
    assert!(crashed, "{error}");
    assert!(error.contains("copying rows") && error.contains("loading again is safe"), "{error}");
    let error = put(&target, &it, &vec![(1, Some(9.0))], vec![]).await.unwrap_err().to_string();
    assert!(error.contains("127.0.0.1") && error.contains("cannot be reached"), "{error}");

    server.restart()?;
    let masses =
        "select string_agg(galaxy_id || ' ' || mass, ', ' order by 1) from outshine.galaxy";
    let sum = "select count(*), max(a_v_p50) from outshine.pixel";
    assert_eq!(server.query("crash", masses)?, "1 9");
    assert_eq!(server.query("crash", sum)?, "3|0.1");
    let rows = vec![(1, Some(10.0)), (2, Some(11.0))];
    put(&target, &it, &rows, vec![pixels(1, 5, 0.2), pixels(2, 4, 0.3)]).await?;
    assert_eq!(server.query("crash", masses)?, "1 10, 2 11");
    assert_eq!(server.query("crash", sum)?, "9|0.3");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_loaded_is_named_and_changes_nothing() -> anyhow::Result<()> {
    let Some(server) = or_skip(Postgres::start()) else { return Ok(()) };
    let target = database(&server, "bad")?;
    let it = campaign("bad", "s");
    let good = vec![(1, Some(9.0))];
    put(&target, &it, &good, vec![pixels(1, 2, 0.1)]).await?;
    let state = || {
        server.query("bad", "select sum(mass), count(*), max(loaded) from outshine.galaxy, outshine.pixel, outshine.campaign")
    };
    let before = state()?;

    let twice = vec![(7, Some(9.0)), (8, None), (7, Some(9.0))];
    let error = put(&target, &it, &twice, vec![]).await.unwrap_err().to_string();
    assert!(error.contains("outshine.galaxy") && error.contains("galaxy_id 7;"), "{error}");
    let both = vec![pixels(1, 2, 0.1), pixels(1, 1, 0.2)];
    let error = put(&target, &it, &good, both).await.unwrap_err().to_string();
    assert!(error.contains("outshine.pixel") && error.contains("galaxy_id 1 y 0 x 0"), "{error}");

    // A stream that ends in an error.
    let galaxy = galaxies(&good);
    let broken = stream::iter([Ok(pixels(1, 1, 9.0)), Err("the store is away".to_owned())]);
    let error = load(&target, &it, (&galaxy.schema(), std::slice::from_ref(&galaxy)), broken).await;
    assert!(error.unwrap_err().to_string().contains("the store is away"));
    let broken = stream::iter([Err::<RecordBatch, _>("gone at once".to_owned())]);
    let error = load(&target, &it, (&galaxy.schema(), std::slice::from_ref(&galaxy)), broken).await;
    assert!(error.unwrap_err().to_string().contains("gone at once"));

    // Pixels of a galaxy that the catalogue does not have.
    let error = put(&target, &it, &good, vec![pixels(5, 1, 0.1)]).await.unwrap_err().to_string();
    assert!(error.contains("merging rows") && error.contains("galaxy_id"), "{error}");

    let text = StringArray::from(vec!["9.0"]);
    let ids = Int64Array::from(vec![1]);
    let typed = batch(vec![
        ("galaxy_id", DataType::Int64, Arc::new(ids)),
        ("mass", DataType::Utf8, Arc::new(text)),
    ]);
    let error =
        load(&target, &it, (&typed.schema(), std::slice::from_ref(&typed)), all(vec![])).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("`mass`") && error.contains("double precision"), "{error}");
    // A number, and a type, that no column there can hold.
    let ids = || Arc::new(Int64Array::from(vec![1])) as ArrayRef;
    let large: ArrayRef = Arc::new(UInt64Array::from(vec![u64::MAX]));
    let large = batch(vec![("galaxy_id", DataType::Int64, ids()), ("n", DataType::UInt64, large)]);
    let times: ArrayRef = Arc::new(Date32Array::from(vec![1]));
    let times =
        batch(vec![("galaxy_id", DataType::Int64, ids()), ("day", DataType::Date32, times)]);
    for (rows, says) in [(large, "column \"n\": "), (times, "`day` of outshine.galaxy cannot be")] {
        let galaxies = (rows.schema_ref(), std::slice::from_ref(&rows));
        let error = load(&target, &it, galaxies, all(vec![])).await.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    assert_eq!(state()?, before);

    // Refused, and lost, at the very end.
    for (does, says) in [
        ("raise exception 'no more'", ["committing: no more", "as it was before"]),
        ("perform pg_terminate_backend(pg_backend_pid())", ["away while committing", "not known"]),
    ] {
        server.query(
            "bad",
            &format!(
                "create or replace function last() returns trigger language plpgsql
                     as $$ begin {does}; return null; end $$;
                 drop trigger if exists last on outshine.campaign;
                 create constraint trigger last after update on outshine.campaign
                     initially deferred for each row execute function last()"
            ),
        )?;
        let error = put(&target, &it, &good, vec![]).await.unwrap_err().to_string();
        assert!(says.iter().all(|said| error.contains(said)), "{error}");
        assert!(error.contains("loading again is safe"), "{error}");
        assert_eq!(state()?, before);
    }
    server.query("bad", "drop trigger last on outshine.campaign")?;

    server.query("bad", "insert into outshine.version values (99)")?;
    let error = put(&target, &it, &good, vec![]).await.unwrap_err().to_string();
    assert!(error.contains("version 99") && error.contains("update"), "{error}");
    let error = outshine_database::check(&target).await.unwrap_err().to_string();
    assert!(error.contains("version 99"), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn new_columns_are_added_and_places_on_the_sky_indexed() -> anyhow::Result<()> {
    let Some(server) = or_skip(Postgres::start()) else { return Ok(()) };
    let target = database(&server, "sky")?;
    let ask = |sql: &str| server.query("sky", sql);
    put(&target, &campaign("old", "s"), &vec![(1, Some(9.0))], vec![]).await?;

    let about = [("unit", "deg"), ("ucd", "pos.eq.ra"), ("description", "the galaxy's place")];
    let about = about.map(|(key, text)| (key.to_owned(), text.to_owned()));
    let about: std::collections::HashMap<_, _> = about.into_iter().collect();
    let fields = vec![
        Field::new("galaxy_id", DataType::Int64, false),
        Field::new("ra", DataType::Float64, true).with_metadata(about),
        Field::new("dec", DataType::Float64, true),
    ];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![1, 2])),
        Arc::new(Float64Array::from(vec![Some(53.1), None])),
        Arc::new(Float64Array::from(vec![Some(-27.8), None])),
    ];
    let placed = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
    let new = campaign("new", "s");
    let go =
        || load(&target, &new, (placed.schema_ref(), std::slice::from_ref(&placed)), all(vec![]));
    let hints = go().await?.hints;
    assert_eq!(
        ask("select galaxy_id, mass, ra, dec from outshine.galaxy_newest order by 1")?,
        "1||53.1|-27.8\n2|||"
    );
    let comment = "select col_description('outshine.galaxy'::regclass, attnum) from pg_attribute
         where attrelid = 'outshine.galaxy'::regclass and attname = 'ra'";
    assert_eq!(ask(comment)?, "the galaxy's place; unit: deg; ucd: pos.eq.ra");

    let there = "select string_agg(name, ' ' order by name) from pg_available_extensions
         where name in ('q3c', 'pg_sphere')";
    if ask(there)? != "pg_sphere q3c" {
        println!("SKIPPED: PostgreSQL has no q3c and pg_sphere: run tests/install-servers.sh");
        return Ok(());
    }
    assert_eq!(hints.len(), 2, "{hints:?}");
    ask("create schema \"odd one\"; create extension q3c schema \"odd one\"")?;
    ask("create extension pg_sphere")?;
    assert_eq!(go().await?.hints, Vec::<String>::new());
    let indexes = "select string_agg(indexname, ' ' order by 1) from pg_indexes
         where schemaname = 'outshine' and indexname ~ '_(q3c|sphere)$'";
    assert_eq!(ask(indexes)?, "galaxy_q3c galaxy_sphere");
    let cone = "set search_path to public, \"odd one\";
         select galaxy_id from outshine.galaxy where q3c_radial_query(ra, dec, 53.1, -27.8, 0.01)
             and spoint(radians(ra), radians(dec)) <@ scircle(spoint(radians(53.1), radians(-27.8)), 0.001)";
    assert_eq!(ask(cone)?, "1");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_loads_at_a_time_wait_for_each_other() -> anyhow::Result<()> {
    let Some(server) = or_skip(Postgres::start()) else { return Ok(()) };
    let target = database(&server, "two")?;
    let it = campaign("two", "s");
    let rows = vec![(1, Some(9.0))];
    let (one, two) = tokio::join!(
        put(&target, &it, &rows, vec![pixels(1, 5_000, 0.1)]),
        put(&target, &it, &rows, vec![pixels(1, 5_000, 0.1)]),
    );
    let (one, two) = (one?, two?);
    // The later one finds all of it there.
    assert_eq!(one.changed.min(two.changed), 0, "{one:?} {two:?}");
    assert_eq!(one.changed.max(two.changed), 5_001, "{one:?} {two:?}");
    assert_eq!(server.query("two", "select count(*) from outshine.pixel")?, "5000");
    Ok(())
}

/// A million pixels with as many columns as a campaign's summaries have. Ignored
/// for its time: `cargo test --release --test postgres -- --ignored --show-output`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute or more without optimisation"]
async fn a_million_pixels() -> anyhow::Result<()> {
    const GALAXIES: i64 = 500;
    const PIXELS: i64 = 2_000;
    let Some(server) = or_skip(Postgres::start()) else { return Ok(()) };
    let target = database(&server, "million")?;
    let it = campaign("million", "s");
    let rows: Rows = (0..GALAXIES).map(|id| (id, Some(9.0))).collect();
    let part = |id: i64| {
        let n = PIXELS as i32;
        let mut columns: Vec<(String, DataType, ArrayRef)> = vec![
            ("galaxy_id".into(), DataType::Int64, Arc::new(Int64Array::from(vec![id; n as usize]))),
            (
                "x".into(),
                DataType::Int32,
                Arc::new((0..n).map(|i| Some(i % 50)).collect::<Int32Array>()),
            ),
            (
                "y".into(),
                DataType::Int32,
                Arc::new((0..n).map(|i| Some(i / 50)).collect::<Int32Array>()),
            ),
            ("flags".into(), DataType::UInt32, Arc::new(UInt32Array::from(vec![0; n as usize]))),
        ];
        for column in 0..29 {
            let values = (0..n).map(|i| Some((i * 31 + column) as f32 * 0.01 + id as f32));
            let values: ArrayRef = Arc::new(values.collect::<Float32Array>());
            columns.push((format!("quantity_{column}"), DataType::Float32, values));
        }
        batch(columns.iter().map(|(n, k, v)| (n.as_str(), k.clone(), v.clone())).collect())
    };
    let galaxies = galaxies(&rows);
    for again in [false, true] {
        let started = std::time::Instant::now();
        let parts = stream::iter((0..GALAXIES).map(|id| Ok::<_, String>(part(id))));
        let loaded =
            load(&target, &it, (galaxies.schema_ref(), std::slice::from_ref(&galaxies)), parts)
                .await?;
        let seconds = started.elapsed().as_secs_f64();
        ensure!(loaded.pixels == (GALAXIES * PIXELS) as u64, "{loaded:?}");
        ensure!((loaded.changed == 0) == again, "{loaded:?}");
        println!("again: {again}: {seconds:.1} s, {:.0} rows/s", loaded.pixels as f64 / seconds);
    }
    assert_eq!(server.query("million", "select count(*) from outshine.pixel")?, "1000000");
    Ok(())
}
