#!/usr/bin/env python3
"""Fits our simulated objects with bagpipes and nautilus, beside our own results.

    python3 -m venv VENV && VENV/bin/pip install bagpipes==1.3.6 nautilus-sampler==1.0.6
    cargo run --release -p outshine-worker --example exactness -- worker/models/tau 30 \\
        objects=objects.json
    VENV/bin/python worker/npe/benches/bagpipes_nautilus.py objects.json --every 5

Everything is another's: stellar populations, dust, gas and IGM of bagpipes at its
default sampling, its likelihood, its priors, nested sampling by nautilus. The
priors are ours, written as bagpipes has them (age since the start = cosmic age
less t_i, uniform; metallicity in units of Z = 0.02, uniform in its logarithm).

Printed, per object and coordinate: the shift of the median of ours against theirs
in units of half their central 68 %, and the ratio of the widths; once for our
exact sampler and once for the estimator. Minutes of a core per object.
"""

import argparse
import json
import os
import pathlib
import sys
import tempfile
import time
import warnings

# Before numpy is loaded, which reads them once.
for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA"):
    os.environ[f"{name}_NUM_THREADS"] = "1"

FILTERS = pathlib.Path(__file__).resolve().parents[2] / "sps" / "data" / "filters.txt"
NAMES = ["log_mass_formed", "log_tau_gyr", "t_i_fraction", "metallicity", "a_v"]
# Of our filter curves, by band.
INSTRUMENTS = ("nircam", "acs_wfc")


def write_filters(folder, bands):
    """Writes our curves as bagpipes reads them; returns one path per band."""
    curves, curve = {}, None
    for line in FILTERS.read_text().splitlines():
        if line.startswith("band "):
            curve = curves.setdefault(line.split()[1], [])
        elif line and not line.startswith("#"):
            curve.append(line)
    paths = []
    for band in bands:
        (name,) = (n for n in (f"{i}_{band}" for i in INSTRUMENTS) if n in curves)
        path = folder / f"{name}.dat"
        path.write_text("\n".join(curves[name]) + "\n")
        paths.append(str(path))
    return paths


def instructions(redshift, age_now):
    """Our prior of the tau-delayed family in bagpipes' words."""
    return {
        "redshift": redshift,
        "t_bc": 0.01,
        "delayed": {
            "age": (0.001 * age_now, age_now),
            "tau": (0.01, 100.0),
            "tau_prior": "log_10",
            "massformed": (4.0, 12.0),
            "metallicity": (10.0**-2.3, 10.0**0.4),
            "metallicity_prior": "log_10",
        },
        "dust": {
            "type": "Calzetti",
            "Av": (0.0, 4.0),
            "eta": 1.0,
            "qpah": 2.0,
            "umin": 1.0,
            "gamma": 0.01,
        },
        "nebular": {"logU": -2.0},
    }


def columns(samples, age_now):
    """The draws in our coordinates."""
    import numpy as np

    return {
        "log_mass_formed": samples["delayed:massformed"],
        "log_tau_gyr": np.log10(samples["delayed:tau"]),
        "t_i_fraction": 1.0 - samples["delayed:age"] / age_now,
        "metallicity": np.log10(samples["delayed:metallicity"]),
        "a_v": samples["dust:Av"],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("objects", type=pathlib.Path)
    parser.add_argument("--every", type=int, default=5, help="fits one object in so many")
    parser.add_argument("--live", type=int, default=1000, help="live points")
    options = parser.parse_args()
    given = json.loads(options.objects.read_text())
    if given["names"] != NAMES:
        sys.exit(f"{options.objects}: coordinates {given['names']}, not {NAMES}")

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        # bagpipes writes below the working folder, and caches in the home folder.
        os.environ["HOME"] = os.environ["MPLCONFIGDIR"] = str(folder)
        os.chdir(folder)
        paths = write_filters(folder, given["bands"])
        import bagpipes
        import numpy as np

        warnings.simplefilter("ignore")
        shifts = {"exact": [], "network": []}
        ratios = {"exact": [], "network": []}
        print("object  redshift  S/N  seconds; exact, then network: shift and ratio of", *NAMES)
        for number in range(options.every // 2, len(given["objects"]), options.every):
            one = given["objects"][number]
            fluxes = np.column_stack([one["flux_njy"], one["err_njy"]]) * 1e-3
            galaxy = bagpipes.galaxy(
                str(number),
                lambda _, fluxes=fluxes: fluxes,
                spectrum_exists=False,
                filt_list=paths,
                phot_units="mujy",
            )
            age_now = float(bagpipes.utils.cosmo.age(one["redshift"]).value)
            np.random.seed(number)
            start = time.perf_counter()
            fit = bagpipes.fit(galaxy, instructions(one["redshift"], age_now))
            fit.fit(verbose=False, sampler="nautilus", n_live=options.live, pool=1)
            seconds = time.perf_counter() - start
            found = columns(fit.posterior.samples, age_now)
            words = []
            for kind in ("exact", "network"):
                for name, ours in zip(NAMES, one["coordinates"]):
                    low, middle, high = np.percentile(found[name], [16, 50, 84])
                    width = 0.5 * (high - low)
                    shifts[kind].append((ours[kind][0] - middle) / width)
                    ratios[kind].append(ours[kind][1] / width)
                    words.append(f"{shifts[kind][-1]:+.2f} {ratios[kind][-1]:.2f}")
            where = f"{number:6d}  {one['redshift']:8.3f}  {one['mean_snr']:6.1f}  {seconds:6.0f}"
            print(where, "  ".join(words), flush=True)
        for kind in ("exact", "network"):
            size, ratio = np.abs(shifts[kind]), np.exp(np.mean(np.log(ratios[kind])))
            print(f"{kind}: mean |shift| {size.mean():.3f}, median {np.median(size):.3f}, ratio {ratio:.3f}")


if __name__ == "__main__":
    main()
