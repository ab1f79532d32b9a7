#!/usr/bin/env python3
"""Draws how the forward model differs from FSPS.

    cargo run -p outshine-sps --example compare_fsps > fsps.csv
    python3 plot_fsps.py fsps.csv fsps.svg

Needs matplotlib and numpy. One panel per family of histories; a point is the
median of one band in one redshift bin, its bar the scatter (half of the 84th
minus the 16th percentile), at the band's median rest wavelength. Fluxes of the
model with Madau's IGM, measured as the reference measures its own; crosses show
the model's own photon-counting fluxes where that moves a point by over 0.1 mag.
"""

import csv
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

# As in the test: fewer values say nothing of a median.
LEAST = 10
PANELS = [("tau", "tau-delayed"), ("dirichlet", "Dirichlet")]
# Told apart by shape as well as by colour (viridis without its pale end).
MARKERS = ["o", "s", "^", "D", "v", "p"]


def read(path):
    """The rows of bands: {(sample, igm, bands): [(bin, band, region, x, n, median, scatter)]}."""
    tables = {}
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            # Only bands have a wavelength.
            if row["rest_angstrom"] == "NaN" or int(row["n"]) < LEAST:
                continue
            key = (row["sample"], row["igm"], row["bands"])
            tables.setdefault(key, []).append(
                (
                    (float(row["z_low"]), float(row["z_high"])),
                    row["band"],
                    row["region"],
                    float(row["rest_angstrom"]),
                    float(row["median"]),
                    float(row["scatter"]),
                )
            )
    return tables


def draw(tables, path):
    plt.rcParams.update({"font.size": 9, "svg.fonttype": "none", "svg.hashsalt": "fsps"})
    figure, axes = plt.subplots(2, 1, figsize=(7.2, 7.4), sharex=True, sharey=True)
    bins = sorted({row[0] for table in tables.values() for row in table})
    colours = plt.get_cmap("viridis")(np.linspace(0.0, 0.82, len(bins)))
    for axis, (sample, title) in zip(axes, PANELS):
        own = {row[:3]: row for row in tables[sample, "madau", "photons"]}
        axis.axhline(0.0, color="0.35", linewidth=0.8, zorder=1)
        for low, high, bound in [(1215.67, 4000.0, 0.4), (4000.0, 4.4e4, 0.2)]:
            axis.fill_between([low, high], -bound, bound, color="0.92", linewidth=0, zorder=0)
        for redshifts, colour, marker in zip(bins, colours, MARKERS):
            points = [row for row in tables[sample, "madau", "grid"] if row[0] == redshifts]
            x, median, scatter = (np.array([p[k] for p in points]) for k in (3, 4, 5))
            label = f"{redshifts[0]:g} < z < {redshifts[1]:g}"
            axis.errorbar(
                x, median, scatter, fmt=marker, color=colour, label=label, markersize=5,
                elinewidth=0.8, markeredgecolor="white", markeredgewidth=0.4, alpha=0.95,
            )
            for p in points:
                other = own.get(p[:3])
                if other and abs(other[4] - p[4]) > 0.1:
                    axis.plot(p[3], other[4], "x", color=colour, markersize=5, zorder=3)
        axis.plot([], [], "x", color="0.3", markersize=5, label="measured photon by photon")
        axis.set_xscale("log")
        axis.set_xlim(850, 4.4e4)
        axis.set_ylim(-0.6, 1.15)
        axis.set_ylabel("ours \N{MINUS SIGN} FSPS [mag]")
        axis.text(0.985, 0.05, title, transform=axis.transAxes, ha="right", weight="bold")
        for wave, name in [(1215.67, "Ly\N{GREEK SMALL LETTER ALPHA}"), (4000.0, "4000 \N{ANGSTROM SIGN}")]:
            axis.axvline(wave, color="0.55", linewidth=0.8, linestyle=":", zorder=1)
            axis.text(wave * 1.02, -0.57, name, color="0.35", fontsize=8)
    ticks = [1000, 2000, 4000, 10_000, 20_000, 40_000]
    axes[1].set_xticks(ticks, [f"{t:,}" for t in ticks])
    axes[1].minorticks_off()
    axes[1].set_xlabel("rest wavelength of the band [\N{ANGSTROM SIGN}]")
    axes[0].legend(ncol=2, fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(0.37, 1.0))
    figure.tight_layout()
    figure.savefig(path, dpi=140, metadata={"Date": None} if path.endswith("svg") else None)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    draw(read(sys.argv[1]), sys.argv[2])
