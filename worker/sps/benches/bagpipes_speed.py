#!/usr/bin/env python3
"""Times photometry by bagpipes 1.3.6, beside our own in the same run.

    python3 -m venv VENV && VENV/bin/pip install bagpipes==1.3.6
    VENV/bin/python bagpipes_speed.py                       # bagpipes alone
    VENV/bin/python bagpipes_speed.py -- target/release/examples/speed

What follows `--` is a command that prints a line `RATE tau NUMBER`: our tau
models per second on one core. Rounds of both alternate, so that whatever else
the machine does meets both; the result is the median over rounds of the ratio
of that round's two rates.

bagpipes computes what our benchmark does: 19 JADES bands (our filter curves),
delayed-tau histories, Calzetti attenuation, dust emission, gas at log U = -2,
Inoue's IGM, parameters from the prior of Table 2. `model_galaxy.update` is
timed: a model made once and given new parameters, bagpipes' own fast path, at
its default sampling. It holds one core (OMP_NUM_THREADS = 1 and the like).

The check of the answer: fluxes are finite and not all zero, and mass doubled
doubles them. That both codes give the same fluxes is what `tests/bagpipes.rs`
checks. Of the timed draws those without flux in F444W are counted: where a short
tau lies long ago, bagpipes' history underflows to 0 / 0. It takes as long.
"""

import argparse
import math
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import warnings

# Before numpy is loaded, which reads them once.
for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA"):
    os.environ[f"{name}_NUM_THREADS"] = "1"

BANDS = (
    "nircam_f090w nircam_f115w nircam_f150w nircam_f182m nircam_f200w nircam_f210m nircam_f277w "
    "nircam_f335m nircam_f356w nircam_f410m nircam_f430m nircam_f444w nircam_f460m nircam_f480m "
    "acs_wfc_f435w acs_wfc_f606w acs_wfc_f775w acs_wfc_f814w acs_wfc_f850lp"
).split()
F444W = BANDS.index("nircam_f444w")
FILTERS = pathlib.Path(__file__).resolve().parent.parent / "data" / "filters.txt"
# Least and most metallicity of the grids, in units of Z = 0.02.
METALLICITY = (0.005, 5.0)


def write_filters(folder):
    """Writes our curves as bagpipes reads them; returns one path per band."""
    curves, band = {}, None
    for line in FILTERS.read_text().splitlines():
        if line.startswith("band "):
            band = curves.setdefault(line.split()[1], [])
        elif line and not line.startswith("#"):
            band.append(line)
    paths = []
    for name in BANDS:
        path = folder / f"{name}.dat"
        path.write_text("\n".join(curves[name]) + "\n")
        paths.append(str(path))
    return paths


def draws(n, seed, cosmic_age_gyr):
    """n draws from the prior, as bagpipes' model components."""
    import numpy as np

    rng = np.random.default_rng(seed)
    components = []
    for _ in range(n):
        # bagpipes' luminosity distance is zero at z = 0.
        redshift = rng.uniform(0.01, 7.5)
        age_now = cosmic_age_gyr(redshift)
        metallicity = 10.0 ** rng.uniform(-2.3, 0.4)
        components.append(
            {
                "redshift": redshift,
                "delayed": {
                    # Time since star formation began.
                    "age": age_now * rng.uniform(0.001, 1.0),
                    "tau": 10.0 ** rng.uniform(-2.0, 2.0),
                    "massformed": rng.uniform(4.0, 12.0),
                    "metallicity": min(max(metallicity, METALLICITY[0]), METALLICITY[1]),
                },
                "dust": {
                    "type": "Calzetti",
                    "Av": rng.uniform(0.0, 4.0),
                    "eta": 1.0,
                    "qpah": 2.0,
                    "umin": 1.0,
                    "gamma": 0.01,
                },
                "nebular": {"logU": -2.0},
                "t_bc": 0.01,
            }
        )
    return components


def check(model, components):
    """Nine draws in ten have finite fluxes, not all zero; those are proportional to mass."""
    import numpy as np

    checked = 0
    for original in components:
        model.update(original)
        flux = np.array(model.photometry)
        assert flux.shape == (len(BANDS),)
        if not (np.all(np.isfinite(flux)) and flux.max() > 0.0):
            continue
        checked += 1
        history = dict(original["delayed"])
        history["massformed"] += math.log10(2.0)
        model.update({**original, "delayed": history})
        assert np.allclose(model.photometry, 2.0 * flux, rtol=1e-9), original
    assert 10 * checked >= 9 * len(components), f"{checked} of {len(components)} have fluxes"


def our_rate(command):
    """Runs our benchmark; returns the number of its line `RATE tau NUMBER`."""
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    for line in output.splitlines():
        words = line.split()
        if words[:2] == ["RATE", "tau"]:
            return float(words[2])
    sys.exit(f"no line `RATE tau NUMBER` from {' '.join(command)}:\n{output}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--updates", type=int, default=500, help="updates of bagpipes per round")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("command", nargs="*", help="our benchmark, after --")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        # bagpipes and what it loads keep caches in the home folder.
        os.environ["HOME"] = os.environ["MPLCONFIGDIR"] = str(folder)
        paths = write_filters(folder)
        import bagpipes

        # Of divisions by zero, which are counted below.
        warnings.simplefilter("ignore", RuntimeWarning)

        def cosmic_age_gyr(redshift):
            return float(bagpipes.utils.cosmo.age(redshift).value)

        warm_up = draws(20, options.seed - 1, cosmic_age_gyr)
        model = bagpipes.model_galaxy(warm_up[0], filt_list=paths, phot_units="mujy")
        check(model, warm_up)
        rates, ratios, fluxes = [], [], []
        for number in range(options.rounds):
            components = draws(options.updates, options.seed + number, cosmic_age_gyr)
            start = time.perf_counter()
            for component in components:
                model.update(component)
                # It skips the spectrum of those.
                assert not model.sfh.unphysical, component
                fluxes.append(model.photometry[F444W])
            rates.append(options.updates / (time.perf_counter() - start))
            line = f"round {number + 1}: bagpipes {rates[-1]:.1f} per second"
            if options.command:
                ours = our_rate(options.command)
                ratios.append(ours / rates[-1])
                line += f", ours {ours:.4g}, ratio {ratios[-1]:.0f}"
            print(line, flush=True)
        low, middle, high = min(rates), statistics.median(rates), max(rates)
        print(f"BAGPIPES tau {middle:.1f} updates per second (rounds {low:.1f} to {high:.1f})")
        bad = sum(not 0.0 < flux < math.inf for flux in fluxes)
        print(f"{bad} of {len(fluxes)} draws without flux in F444W")
        if ratios:
            spread = f"rounds {min(ratios):.0f} to {max(ratios):.0f}"
            print(f"RATIO tau {statistics.median(ratios):.0f} ({spread})")


if __name__ == "__main__":
    main()
