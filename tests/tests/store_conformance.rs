//! The store's contract on a real S3 server, and its tables under other programs.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use arrow::array::{
    ArrayRef, FixedSizeListArray, Float32Array, Float64Array, Int64Array, RecordBatch, StringArray,
};
use arrow::datatypes::{DataType, Field, Schema};
use outshine_store::{ErrorClass, StoreError, conformance, open_with_environment, parquet};
use outshine_tests::servers::{S3, or_skip, python};

fn environment(server: &S3) -> Vec<(String, String)> {
    server.environment().into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_keeps_the_contract() {
    let Some(mut server) = or_skip(S3::start()) else { return };
    let next = AtomicU32::new(0);
    conformance::run_all(|| async {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let url = server.url(&format!("run {number}/ü"));
        open_with_environment(&url, environment(&server)).await.unwrap()
    })
    .await;
    let url = server.url("shared");
    let ours = open_with_environment(&url, environment(&server)).await.unwrap();
    let theirs = open_with_environment(&url, environment(&server)).await.unwrap();
    conformance::run_shared(&ours, &theirs).await;

    let missing = url.replace("s3://outshine", "s3://no-such-bucket");
    let error = open_with_environment(&missing, environment(&server)).await.unwrap_err();
    assert!(matches!(error, StoreError::NoStore { .. }), "{error}");
    assert_eq!(error.class(), ErrorClass::Stop);

    let mut wrong = environment(&server);
    wrong.retain(|(name, _)| name != "AWS_SECRET_ACCESS_KEY");
    wrong.push(("AWS_SECRET_ACCESS_KEY".to_owned(), "wrong-secret".to_owned()));
    let error = open_with_environment(&url, wrong).await.unwrap_err();
    assert!(matches!(error, StoreError::AccessRefused { .. }), "{error}");
    assert!(!error.to_string().contains("wrong-secret"), "{error}");

    // What was written is there after a crash of the server, and requests bear the outage.
    ours.put("before/crash", "kept".into()).await.unwrap();
    let restarting = tokio::task::spawn_blocking(move || {
        server.restart().unwrap();
        server
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(ours.get("before/crash").await.unwrap(), "kept");
    drop(restarting.await.unwrap());
}

#[tokio::test]
async fn an_absent_server_is_named_in_time() {
    let environment = [
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let started = Instant::now();
    let error = open_with_environment("s3://bucket/prefix", environment).await.unwrap_err();
    // 30 s of repeats, and one last pause.
    assert!(started.elapsed() < Duration::from_secs(45), "{:?}", started.elapsed());
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error}");
    assert_eq!(error.class(), ErrorClass::Retry);
    for part in ["s3://bucket/prefix", "http://127.0.0.1:9", "AWS_ENDPOINT_URL"] {
        assert!(error.to_string().contains(part), "{part} in {error}");
    }
}

/// Three row groups with every kind of column that the project stores.
fn sample() -> (Schema, RecordBatch) {
    let rows = 250;
    let draws = 4;
    let member = Arc::new(Field::new("item", DataType::Float32, false));
    let lists = DataType::FixedSizeList(member.clone(), draws);
    let schema = Schema::new(vec![
        Field::new("galaxy_id", DataType::Int64, false),
        Field::new("redshift", DataType::Float64, true),
        Field::new("flag", DataType::Utf8, false),
        Field::new("log_mass", lists, false),
    ]);
    let members: Float32Array = (0..rows * draws).map(|i| Some(i as f32 * 0.5)).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values((0..i64::from(rows)).map(|i| i + (1 << 40)))),
        Arc::new(
            (0..rows).map(|i| (i % 3 != 0).then_some(f64::from(i) / 7.0)).collect::<Float64Array>(),
        ),
        Arc::new(StringArray::from_iter_values((0..rows).map(|i| ["", "ü"][i as usize % 2]))),
        Arc::new(FixedSizeListArray::new(member, draws, Arc::new(members), None)),
    ];
    let batch = RecordBatch::try_new(Arc::new(schema.clone()), columns).unwrap();
    (schema, batch)
}

/// Reads the table with both programs and prints what they see, one line each.
const READER: &str = r#"
import sys, duckdb, pyarrow as pa, pyarrow.parquet as pq
path = sys.argv[1]
table = pq.read_table(path)
assert pa.types.is_fixed_size_list(table.schema.field("log_mass").type), table.schema
assert pq.read_metadata(path).num_row_groups == 3
assert pq.read_metadata(path).metadata[b"unit"] == b"dex"
stats = pq.read_metadata(path).row_group(0).column(0).statistics
assert (stats.min, stats.max) == (1 << 40, (1 << 40) + 99), stats
rows = table.to_pylist()
print(len(rows), sum(r["galaxy_id"] for r in rows) - len(rows) * (1 << 40),
      sum(r["redshift"] is None for r in rows),
      "%.9f" % sum(r["redshift"] or 0 for r in rows),
      sum(r["flag"] == "ü" for r in rows), sum(sum(r["log_mass"]) for r in rows))
print(*duckdb.sql(f"""
    select count(*)::int, (sum(galaxy_id) - count(*) * (1::hugeint << 40))::int,
           count(*) filter (redshift is null)::int, printf('%.9f', sum(redshift)),
           count(*) filter (flag = 'ü')::int, sum(list_sum(log_mass))
    from read_parquet('{path}')""").fetchall()[0])
"#;

#[test]
fn other_programs_read_our_tables() {
    let Some(python) = or_skip(python()) else { return };
    let (schema, batch) = sample();
    let bytes = parquet::encode(&schema, &[batch], &[("unit", "dex")], 100).unwrap();
    let file = tempfile::NamedTempFile::with_suffix(".parquet").unwrap();
    std::fs::write(file.path(), &bytes).unwrap();
    let output = Command::new(python).arg("-c").arg(READER).arg(file.path()).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // By arithmetic: sums of 0..250, of those not divisible by 3 over 7, and of halves of 0..1000.
    let ids = 249 * 250 / 2;
    let redshifts: f64 = (0..250).filter(|i| i % 3 != 0).map(|i| f64::from(i) / 7.0).sum();
    let expected = format!("250 {ids} 84 {redshifts:.9} 125 {:.1}", 999.0 * 1000.0 / 4.0);
    assert_eq!(printed.lines().collect::<Vec<_>>(), [&expected, &expected]);
}
