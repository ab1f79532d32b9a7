"""Writes tiny_dsps.h5 and tiny_dsps.npz beside itself: SSPs in the DSPS layout
whose means over any bin are known in closed form (see tests/dsps.rs).

    python3 make_tiny_dsps.py        (needs numpy and h5py)

L_lambda = (1 + metallicity index) (1 + age / Gyr) 1e-4 Lsun/A at all
wavelengths; with gas, nothing bluer than the Lyman limit and 1.5 times as much
redder than it; surviving mass 1 - 0.02 age / Gyr. HDF5 as h5py writes it by
default, axes contiguous, spectra in chunks with gzip and shuffle.
"""

import json
import pathlib

import h5py
import numpy as np

LYMAN_LIMIT = 911.8
C_ANGSTROM_S = 2.99792458e18

step = LYMAN_LIMIT * np.array([1 - 1e-7, 1 + 1e-7])
wave = np.sort(np.concatenate([np.geomspace(50.0, 6e4, 62), step]))
age = np.array([1e-4, 3e-3, 1e-2, 0.1, 1.0, 5.0, 15.0])
l_lambda = 1e-4 * np.array([1.0, 2.0])[:, None, None] * (1 + age)[None, :, None] * np.ones(wave.size)
per_hz = wave**2 / C_ANGSTROM_S
arrays = {
    "ssp_lgmet": np.log10([0.004, 0.0142]),
    "ssp_lg_age_gyr": np.log10(age),
    "ssp_wave": wave,
    "ssp_flux": (l_lambda * per_hz).astype(np.float32),
    "ssp_flux_nebular": (l_lambda * per_hz * np.where(wave < LYMAN_LIMIT, 0, 1.5)).astype(np.float32),
    "ssp_remaining_mass": np.broadcast_to(1 - 0.02 * age, (2, age.size)).copy(),
    "metadata_json": np.frombuffer(
        json.dumps({"name": "tiny", "imf": "none", "solar_metallicity": 0.0142, "log_u": -2.0}).encode(),
        dtype=np.uint8,
    ),
}
here = pathlib.Path(__file__).parent
np.savez_compressed(here / "tiny_dsps.npz", **arrays)
with h5py.File(here / "tiny_dsps.h5", "w") as file:
    for name, values in arrays.items():
        chunked = values.ndim == 3
        options = {"chunks": (1, 3, 40), "compression": "gzip", "shuffle": True} if chunked else {}
        file.create_dataset(name, data=values, **options)
