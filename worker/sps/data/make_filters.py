#!/usr/bin/env python3
"""Writes filters_jades.txt from the curves of the Python package astro-sedpy (MIT).

    python3 make_filters.py SEDPY_FILTER_FOLDER > filters_jades.txt

The folder is `sedpy/data/filters` of the installed package. A point is left
out where the line between its neighbours reproduces it to 2e-4 of the peak;
the ends are cut where the throughput is below 1e-5 of the peak.
"""

import pathlib
import sys

NIRCAM = "f090w f115w f150w f182m f200w f210m f277w f335m f356w f410m f430m f444w f460m f480m"
ACS = "f435w f606w f775w f814w f850lp"


def read(path):
    points = {}
    for line in path.read_text().splitlines():
        words = line.split("#")[0].split()
        if len(words) >= 2:
            points[float(words[0])] = max(float(words[1]), 0.0)
    return sorted(points.items())


def thin(points, tolerance):
    """Keeps both ends and, in each stretch, the point worst off the chord (Douglas-Peucker)."""
    keep, stack = {0, len(points) - 1}, [(0, len(points) - 1)]
    while stack:
        i, j = stack.pop()
        (x0, y0), (x1, y1) = points[i], points[j]
        worst, at = 0.0, None
        for k in range(i + 1, j):
            x, y = points[k]
            off = abs(y - (y0 + (y1 - y0) * (x - x0) / (x1 - x0)))
            if off > worst:
                worst, at = off, k
        if worst > tolerance:
            keep.add(at)
            stack += [(i, at), (at, j)]
    return [points[k] for k in sorted(keep)]


def main():
    folder = pathlib.Path(sys.argv[1])
    print("# Filter curves of the 19 JADES bands: Angstrom, electrons per photon.")
    print("# From the Python package astro-sedpy (MIT licence); see README.md.")
    names = [("jwst", b) for b in NIRCAM.split()] + [("acs_wfc", b) for b in ACS.split()]
    for prefix, band in names:
        points = read(folder / f"{prefix}_{band}.par")
        peak = max(y for _, y in points)
        inside = [k for k, (_, y) in enumerate(points) if y > 1e-5 * peak]
        points = points[max(inside[0] - 1, 0) : inside[-1] + 2]
        print(f"band {band}")
        for wave, value in thin(points, 2e-4 * peak):
            print(f"{wave:.7g} {value:.5g}")


main()
