"""Checks ra and dec of exported catalogues against astropy.
Usage: sky.py FOLDER HEADER [FOLDER HEADER ...], a header as JSON."""

import json
import sys

import numpy as np
import pyarrow.parquet as pq
from astropy.wcs import WCS

for folder, header in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
    table = pq.read_table(folder + "/catalogue.parquet")
    assert table.column_names[:3] == ["galaxy_id", "ra", "dec"], folder
    ra, dec, x, y = (table.column(name).to_numpy() for name in ["ra", "dec", "x", "y"])
    assert np.ptp(x) > 10 and np.ptp(y) > 10, folder
    # Degrees of either coordinate: the catalogue has 10 digits behind the point.
    coordinates = WCS(json.loads(header)).pixel_to_world(x, y)
    off = np.hypot((ra - coordinates.ra.deg + 180) % 360 - 180, dec - coordinates.dec.deg)
    assert (off < 2e-10).all(), (folder, header, off)
    assert (ra >= 0).all() and (ra < 360).all(), folder
print("astropy agrees on", len(sys.argv) // 2, "skies")
