//! Readers beside a load: what they see, and that they need not wait for it.

use super::{all, batch, campaign, database, galaxies, pixels, put};
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::DataType;
use futures::stream;
use outshine_database::load;
use outshine_tests::servers::or_skip;
use outshine_tests::servers::postgres::Postgres;
use std::sync::Arc;

/// `rows` with one column more.
fn with_column(rows: &RecordBatch, name: &str) -> RecordBatch {
    let schema = rows.schema();
    let mut columns: Vec<(&str, DataType, ArrayRef)> = Vec::new();
    for (field, values) in schema.fields().iter().zip(rows.columns()) {
        columns.push((field.name(), field.data_type().clone(), values.clone()));
    }
    let new = Arc::new(Int64Array::from(vec![7; rows.num_rows()]));
    columns.push((name, DataType::Int64, new));
    batch(columns)
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_need_not_wait_while_rows_are_copied() -> anyhow::Result<()> {
    let Some(server) = or_skip(Postgres::start()) else { return Ok(()) };
    let target = database(&server, "readers")?;
    let it = campaign("it", "s");
    let rows = vec![(1, Some(9.0))];
    put(&target, &it, &rows, vec![pixels(1, 2, 0.1)]).await?;

    // A load that brings new columns to both tables, seen from its middle.
    let galaxies = with_column(&galaxies(&vec![(1, Some(10.0))]), "of_galaxy");
    let parts = [0, 1].map(|part| {
        let rows = pixels(1, 3, 0.1);
        with_column(&rows.slice(part, part + 1), "of_pixel")
    });
    let mut seen = Vec::new();
    let parts = parts.into_iter().map(|part| {
        // `nowait`: an error where a reader would have to wait.
        let look = "begin; lock table outshine.campaign, outshine.model, outshine.galaxy_newest,
                 outshine.pixel_newest in access share mode nowait;
             select mass, a_v_p50 from outshine.galaxy_newest join outshine.pixel_newest
                 using (galaxy_id) limit 1";
        seen.push(server.query("readers", look).map_err(|error| error.to_string())?);
        Ok::<_, String>(part)
    });
    load(
        &target,
        &it,
        (galaxies.schema_ref(), std::slice::from_ref(&galaxies)),
        stream::iter(parts),
    )
    .await?;
    assert_eq!(seen, ["9|0.1", "9|0.1"]);
    let after = "select mass, of_galaxy, of_pixel, count(*) from outshine.galaxy_newest
         join outshine.pixel_newest using (galaxy_id) group by 1, 2, 3";
    assert_eq!(server.query("readers", after)?, "10|7|7|3");

    // Without a new column the views stay as they are, also for who reads them.
    let made = "select string_agg(xmin::text, ' ' order by ev_class) from pg_rewrite
         where ev_class in ('outshine.galaxy_newest'::regclass, 'outshine.pixel_newest'::regclass)";
    let before = server.query("readers", made)?;
    put(&target, &campaign("next", "s"), &rows, vec![pixels(1, 2, 0.1)]).await?;
    assert_eq!(server.query("readers", made)?, before);
    // One that was dropped comes back.
    server.query("readers", "drop view outshine.pixel_newest")?;
    let none = galaxies.slice(0, 0);
    load(&target, &it, (&none.schema(), &[none]), all(vec![])).await?;
    assert_eq!(server.query("readers", "select count(*) from outshine.pixel_newest")?, "2");
    Ok(())
}
