"""Opens the catalogue of an export in every format, and the summaries, with
astropy, pyarrow and DuckDB, and checks that all say the same.
Usage: formats.py FOLDER"""

import csv
import json
import sys
import warnings

import duckdb
import numpy as np
import pyarrow.dataset
import pyarrow.parquet as pq
from astropy import units
from astropy.io import fits
from astropy.io.votable import parse
from astropy.io.votable.ucd import parse_ucd
from astropy.table import Table

folder = sys.argv[1]
path = folder + "/catalogue"
plain = pq.read_table(path + ".parquet")
names = plain.column_names
columns = {name: plain.column(name).to_pylist() for name in names}
assert len(plain) > 1


def masked(values):
    return [None if np.ma.is_masked(value) else value for value in values]


def same(table, what):
    """Values of an astropy table; a float that is null may be NaN there."""
    assert table.colnames == names, what
    for name in names:
        for found, value in zip(masked(table[name]), columns[name], strict=True):
            found = None if isinstance(found, float) and np.isnan(found) else found
            if isinstance(value, str):
                found = found.decode() if isinstance(found, bytes) else str(found)
            assert found == value, (what, name, found, value)


def only_log(caught, words):
    """The standards have log(), astropy does not know it; nothing else to warn of."""
    for warning in caught:
        assert "'log" in str(warning.message) and words in str(warning.message), warning


# FITS: verified, with checksums, keywords and every value.
with fits.open(path + ".fits", checksum=True) as file:
    file.verify("exception")
    header = file[1].header
    assert file[1].columns["galaxy_id"].format == "K"
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from_fits = Table.read(path + ".fits")
only_log(caught, "is not a recognized function")
same(from_fits, "FITS")

# VOTable, verified.
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    document = parse(path + ".vot", verify="warn")
    from_votable = document.get_first_table().to_table(use_names_over_ids=True)
only_log(caught, "W50: Invalid unit string")
same(from_votable, "VOTable")
votable = document.get_first_table()

# VOParquet.
about = {key.decode(): value.decode() for key, value in pq.read_metadata(path + ".parquet").metadata.items()}
assert about["IVOA.VOTable-Parquet.version"] == "1.0"
with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="No table::len")
    from_parquet = Table.read(path + ".parquet", format="parquet.votable")
same(from_parquet, "VOParquet")

# Units, UCDs and descriptions are the same everywhere, and valid.
spoken = json.loads(about["outshine.units"])
for index, name in enumerate(names, 1):
    field = votable.get_field_by_id_or_name(name)
    unit = header.get(f"TUNIT{index}")
    assert (field.unit is None) == (unit is None), name
    for table in [from_fits, from_votable, from_parquet]:
        assert str(table[name].unit or "") in (str(field.unit or ""), unit or ""), name
    if unit is not None:
        inner = unit.removeprefix("log(").removesuffix(")") if unit.startswith("log(") else unit
        for standard in ["fits", "vounit"]:
            units.Unit(inner, format=standard)
    elif name in spoken:
        assert f"[{spoken[name]}]" in field.description, name
    assert header[f"TUCD{index}"] == field.ucd == from_parquet[name].meta["ucd"], name
    parse_ucd(field.ucd, check_controlled_vocabulary=True)
    assert header[f"TCOMM{index}"] == field.description, name
    assert from_parquet[name].description == field.description, name
assert "32 NO_FITTED_PIXELS" in header[f"TCOMM{names.index('flags') + 1}"]
parameters = {parameter.name: parameter.value for parameter in votable.params}
for key, word in [("campaign", "CAMPAIGN"), ("campaign_digest", "CAMPSHA"), ("model", "MODELSHA"),
                  ("prior", "PRIOR"), ("ssp_library_digest", "SSPSHA"), ("code_version", "CODEVER")]:
    assert parameters["outshine." + key] == header[word] == about["outshine." + key], key
assert header["MODELSHA"] == columns["model"][0]
assert ("ra" in names) == ("RADESYS" in header) == ("outshine.radesys" in about)
if "ra" in names:
    assert header["RADESYS"] == parameters["outshine.radesys"] == about["outshine.radesys"] == "FK5"
    assert from_fits["ra"].unit == from_votable["dec"].unit == from_parquet["ra"].unit == units.deg

# CSV, by its description.
with open(path + ".csv", newline="") as file:
    rows = list(csv.reader(file))
description = json.load(open(path + ".csv-metadata.json"))
assert rows[0] == names == [column["name"] for column in description["tableSchema"]["columns"]]
as_type = {"long": int, "int": int, "double": float, "string": str}
for row, values in enumerate(rows[1:]):
    for column, value in zip(description["tableSchema"]["columns"], values, strict=True):
        found = None if value == "" else as_type[column["datatype"]](value)
        assert found == columns[column["name"]][row], (column, value)
found = duckdb.sql(f"select * from read_csv('{path}.csv') order by galaxy_id").fetchall()
assert [row[0] for row in found] == columns["galaxy_id"]

# Summaries, one partition per galaxy.
tables = {row[0]: row[1:] for row in duckdb.sql(
    f"""select galaxy_id, count(*), count(log_mass_stellar_p50), avg(log_mass_stellar_p50)
        from read_parquet('{folder}/summaries/*/*.parquet', hive_partitioning = true)
        group by galaxy_id""").fetchall()}
dataset = pyarrow.dataset.dataset(folder + "/summaries", partitioning="hive").to_table()
assert sorted(tables) == columns["galaxy_id"]
for galaxy, available, used in zip(columns["galaxy_id"], columns["pixels_available"], columns["pixels_used"]):
    count, fitted, mean = tables[galaxy]
    own = dataset.filter(pyarrow.compute.field("galaxy_id") == galaxy)
    assert count == available == own.num_rows and fitted == used, galaxy
    if used:
        found = np.nanmean(own.column("log_mass_stellar_p50").to_numpy().astype(float))
        assert abs(found - mean) < 1e-5, (found, mean)
    else:
        assert mean is None
for galaxy in columns["galaxy_id"]:
    part = Table.read(f"{folder}/summaries/galaxy_id={galaxy}/part.parquet", format="parquet.votable")
    assert part.colnames[:2] == ["x", "y"], galaxy
    assert len(part) == tables[galaxy][0], galaxy
    assert str(part["a_v_p50"].unit) == "mag" and "percentile" in part["a_v_p16"].description, galaxy
    for name in part.colnames:
        parse_ucd(part[name].meta["ucd"], check_controlled_vocabulary=True)
print("readers agree:", len(plain), "galaxies,", dataset.num_rows, "pixels,",
      columns["log_mass_stellar_resolved_p50"].count(None), "without a mass")
