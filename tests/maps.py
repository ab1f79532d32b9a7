"""Opens the maps and profiles of a campaign with astropy and checks them
against the campaign's own products. Usage: maps.py MAPS PRODUCTS WCS, WCS the
header of the field as JSON or `none`."""

import json
import re
import sys
import warnings
import xml.etree.ElementTree

import astropy.units as u
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from astropy.cosmology import FlatLambdaCDM
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

warnings.simplefilter("error")
maps, products, wcs = sys.argv[1:4]
parent = None if wcs == "none" else json.loads(wcs)
cosmology = FlatLambdaCDM(H0=70 * u.km / u.s / u.Mpc, Om0=0.3)
catalogue = pq.read_table(products + "/catalogue.parquet").to_pylist()
summaries = ds.dataset(products + "/summaries", partitioning="hive").to_table()
has_t50 = "t50_lookback_gyr_p50" in summaries.column_names

# Extension, column of the summaries, and the unit that makes a value of 1.
PLANES = [("LOG_MASS", "log_mass_stellar", u.dex(u.Msun)),
          ("LOG_SFR", "log_sfr_100", u.dex(u.Msun / u.yr)),
          ("AGE", "mass_weighted_age_gyr", u.Gyr), ("A_V", "a_v", u.mag)]
if has_t50:
    PLANES.append(("T50", "t50_lookback_gyr", u.Gyr))


def equal(a, b):
    return np.array_equal(a, b, equal_nan=True)


def column(rows, name):
    values = rows.column(name).to_numpy(zero_copy_only=False)
    return values.astype(np.float32)


checked = 0
for galaxy in catalogue:
    galaxy_id = galaxy["galaxy_id"]
    rows = summaries.filter(pa.compute.equal(summaries["galaxy_id"], galaxy_id))
    x, y = (rows[name].to_numpy().astype(int) for name in "xy")
    with fits.open(f"{maps}/galaxy-{galaxy_id}/maps.fits", checksum=True) as file:
        file.verify("exception")
        head = file[0].header
        assert head["GALAXY"] == galaxy_id
        known = galaxy["redshift"] is not None
        redshift = galaxy["redshift"] if known else galaxy["redshift_p50"]
        assert head["ZORIGIN"] == ("known" if known else "fitted")
        assert abs(head["REDSHIFT"] - redshift) < 1e-12
        assert head["MODEL"] == galaxy["model"]
        # Every extension has one shape, and pixels are where they were.
        x0, y0 = x.min(), y.min()
        shape = (y.max() - y0 + 1, x.max() - x0 + 1)
        at = (y - y0, x - x0)
        inside = np.zeros(shape, bool)
        inside[at] = True
        for unit in file[1:]:
            assert unit.data.shape == shape, (unit.name, unit.data.shape, shape)
            if unit.data.dtype.kind == "f":
                assert np.isnan(unit.data[~inside]).all()
            place = WCS(unit.header, key="P").all_pix2world([[0, 0], [3, 5]], 0)
            assert (place == [[x0, y0], [x0 + 3, y0 + 5]]).all(), place
        for name, of, unit in PLANES:
            p16, p50, p84 = (column(rows, f"{of}_{p}") for p in ["p16", "p50", "p84"])
            assert equal(file[name].data[at], p50), name
            assert np.allclose(file[name + "_ERR"].data[at], (p84 - p16) / 2, rtol=1e-6, equal_nan=True)
            assert u.Unit(file[name].header["BUNIT"]) == unit
        assert ("T50" in file) == has_t50
        assert equal(file["MEAN_SNR"].data[at], column(rows, "mean_snr"))
        assert equal(file["FLAGS"].data[at], rows["flags"].to_numpy().astype(np.int32))
        assert (file["FLAGS"].data[~inside] == 0).all()
        fitted = np.isfinite(column(rows, "log_mass_stellar_p50"))
        assert (file["FOOTPRINT"].data[at] == np.where(fitted, 2, 1)).all()
        assert (file["FOOTPRINT"].data[~inside] == 0).all()
        assert head["NFITTED"] == fitted.sum() == galaxy["pixels_used"]

        side = head.get("PIXSCALE")
        assert ("LOG_MASS_DENSITY" in file) == (side is not None)
        if side is not None:
            # Against another cosmology code: 1e-6 is its own and ours together.
            kpc = cosmology.kpc_proper_per_arcmin(redshift).value / 60
            assert abs(head["KPCSCALE"] / kpc - 1) < 1e-6
            area = np.log10((side * kpc) ** 2)
            for name, unit in [("MASS", u.dex(u.Msun / u.kpc**2)),
                               ("SFR", u.dex(u.Msun / u.yr / u.kpc**2))]:
                plane = file[f"LOG_{name}_DENSITY"]
                assert u.Unit(plane.header["BUNIT"]) == unit
                expected = file[f"LOG_{name}"].data - area
                assert np.allclose(plane.data, expected, atol=2e-6, equal_nan=True)
                error = file[f"LOG_{name}_ERR"].data
                assert np.allclose(file[f"LOG_{name}_DENSITY_ERR"].data, error, atol=2e-6, equal_nan=True)
        if parent is not None:
            whole = WCS(fits.Header(parent))
            for unit in file[1:]:
                own = WCS(unit.header)
                there = whole.pixel_to_world(x, y)
                here = own.pixel_to_world(x - x0, y - y0)
                assert there.separation(here).arcsec.max() < 1e-7
                back = own.world_to_pixel(there)
                assert np.allclose(back, [x - x0, y - y0], atol=1e-6)
            scale = np.sqrt(whole.proj_plane_pixel_area().to_value(u.arcsec**2))
            assert abs(side / scale - 1) < 1e-9, (side, scale)
        else:
            plain = WCS(file["AGE"].header)
            assert not plain.has_celestial
            assert (plain.all_pix2world([[1, 2]], 0) == [[x0 + 1, y0 + 2]]).all()

        mass = 10.0 ** column(rows, "log_mass_stellar_p50").astype(float)
        if fitted.any():
            peak = np.nanargmax(mass)
            assert (head["XPEAK"], head["YPEAK"]) == (x[peak], y[peak])
            radius = np.hypot(x - x[peak], y - y[peak])
            share = np.nansum(mass[radius <= head["RHALF"]]) / np.nansum(mass)
            # Half, to the mass of the pixels on the circle.
            ring = np.nansum(mass[abs(radius - head["RHALF"]) <= 1]) / np.nansum(mass)
            assert abs(share - 0.5) <= ring, (share, ring)
    for name in ["panel"] + ["profile"] * bool(fitted.any()):
        root = xml.etree.ElementTree.parse(f"{maps}/galaxy-{galaxy_id}/{name}.svg").getroot()
        text = xml.etree.ElementTree.tostring(root, encoding="unicode")
        assert f"Galaxy {galaxy_id}, z = " in text
        links = [v for e in root.iter() for k, v in e.attrib.items() if k.endswith("href")]
        assert all(link.startswith("data:image/png;base64,") for link in links)
        with open(f"{maps}/galaxy-{galaxy_id}/{name}.png", "rb") as png:
            assert png.read(8) == b"\x89PNG\r\n\x1a\n"
    checked += 1

profiles = Table.read(maps + "/profiles.ecsv")
again = pq.read_table(maps + "/profiles.parquet")
units = json.loads(pq.read_metadata(maps + "/profiles.parquet").metadata[b"outshine.units"])
assert profiles.colnames == again.column_names
for name in profiles.colnames:
    one = np.ma.filled(np.ma.asarray(profiles[name]).astype(float), np.nan)
    two = np.array([np.nan if v is None else v for v in again[name].to_pylist()], float)
    assert equal(one, two), name
    unit = units.get(name, "").replace("log10(", "dex(")
    assert (profiles[name].unit or u.Unit("")) == u.Unit(unit), (name, profiles[name].unit)
compared = 0
for galaxy in catalogue:
    own = profiles[profiles["galaxy_id"] == galaxy["galaxy_id"]]
    assert own["pixels"].sum() == galaxy["pixels_used"]
    if len(own) == 0:
        continue
    assert (np.diff(own["semi_major_px"]) > 0).all()
    rows = summaries.filter(pa.compute.equal(summaries["galaxy_id"], galaxy["galaxy_id"]))
    # The annuli once more, from their ellipse.
    mass = column(rows, "log_mass_stellar_p50")
    x, y = (rows[name].to_numpy().astype(int) for name in "xy")
    peak = np.nanargmax(mass)
    angle = np.deg2rad(own["angle_deg"][0])
    dx, dy = x - x[peak], y - y[peak]
    along = dx * np.cos(angle) + dy * np.sin(angle)
    across = (dy * np.cos(angle) - dx * np.sin(angle)) / own["axis_ratio"][0]
    radius = np.hypot(along, across)
    for annulus in own:
        low, high = annulus["semi_major_inner_px"], annulus["semi_major_outer_px"]
        # Pixels on an edge may go either way in the last bit.
        if np.any(np.abs(radius - low) < 1e-9) and low > 0 or np.any(np.abs(radius - high) < 1e-9):
            continue
        inside = (radius >= low) & (radius < high) & np.isfinite(mass)
        assert inside.sum() == annulus["pixels"]
        quantities = [(of, of, 0.0, 1e-9) for _, of, _ in PLANES]
        if not np.ma.is_masked(annulus["semi_major_kpc"]):
            side = annulus["semi_major_kpc"] / annulus["semi_major_px"]
            # Values per area are rounded to single precision before.
            quantities += [(of + "_density", of, 2 * np.log10(side), 2e-6)
                           for of in ["log_mass_stellar", "log_sfr_100"]]
        for name, of, area, within in quantities:
            for level, end, part in [("p16", "p16", 50), ("p50", "p50", 50), ("p84", "p84", 50),
                                     ("low", "p50", 16), ("high", "p50", 84)]:
                told = annulus[f"{name}_{level}"]
                assert np.ma.is_masked(told) == (not inside.any()), (name, level)
                if inside.any():
                    values = column(rows, f"{of}_{end}")[inside].astype(float)
                    expected = np.percentile(values, part) - area
                    assert abs(expected - told) < within, (name, level, expected, told)
                    compared += 1
assert compared > 0 or not any(galaxy["pixels_used"] for galaxy in catalogue)
print("astropy agrees:", checked, "galaxies,", len(profiles), "annuli,", compared, "levels")
