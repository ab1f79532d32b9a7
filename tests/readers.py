"""Opens the products of a campaign with pyarrow and DuckDB and checks that
both read the same values. Usage: readers.py FOLDER"""

import glob
import json
import sys

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

folder = sys.argv[1]
files = sorted(glob.glob(folder + "/samples/*.parquet"))
tables = [pq.read_table(name) for name in files]
samples = pa.concat_tables(tables)
draws = samples.column("log_mass_stellar").combine_chunks()
assert pa.types.is_fixed_size_list(draws.type), draws.type
n = draws.type.list_size
values = draws.flatten().to_numpy().reshape(-1, n)
assert values.shape[0] == samples.num_rows > 0
assert np.isfinite(values).all()

about = {k.decode(): v.decode() for k, v in pq.read_metadata(files[0]).metadata.items()}
for key in ["outshine.table", "outshine.model", "outshine.prior", "outshine.ssp_library",
            "outshine.code_version", "outshine.units"]:
    assert key in about, (key, sorted(about))
assert json.loads(about["outshine.units"])["log_mass_stellar"] == "log10(Msun)"
low, high = json.loads(about["outshine.prior"])["log_mass_formed"]
formed = samples.column("log_mass_formed").combine_chunks().flatten().to_numpy()
assert formed.min() >= low and formed.max() <= high

rows, mean = duckdb.sql(
    f"select count(*), avg(list_avg(log_mass_stellar)) from read_parquet('{folder}/samples/*.parquet')"
).fetchall()[0]
assert rows == samples.num_rows
assert abs(mean - values.mean(axis=1, dtype=float).mean()) < 1e-4, (mean, values.mean())

catalogue = pq.read_table(folder + "/catalogue.parquet")
found = duckdb.sql(
    f"""select galaxy_id, log_mass_stellar_resolved_p50 from '{folder}/catalogue.parquet'
        order by galaxy_id"""
).fetchall()
assert [row[0] for row in found] == catalogue.column("galaxy_id").to_pylist()
assert [row[1] for row in found] == catalogue.column("log_mass_stellar_resolved_p50").to_pylist()

# The resolved mass is the sum of stored draws: make it again from the samples.
ids = samples.column("galaxy_id").to_numpy()
for galaxy, median in found:
    if median is not None:
        total = np.log10((10.0 ** values[ids == galaxy].astype(float)).sum(axis=0))
        assert abs(np.median(total) - median) < 1e-9, (galaxy, np.median(total), median)
print("readers agree:", samples.num_rows, "pixels,", catalogue.num_rows, "galaxies")
