"""Makes the font and the colour maps of the figures from the Python packages
matplotlib 3.11.2 and fonttools 4.68.0. Usage: make_data.py FOLDER"""

import pathlib
import shutil
import sys

import matplotlib
from fontTools import subset

FONTS = pathlib.Path(matplotlib.get_data_path()) / "fonts" / "ttf"
# ASCII, Latin-1, Greek, and the signs that labels use.
CHARACTERS = [
    *range(0x20, 0x7F), *range(0xA0, 0x100), *range(0x391, 0x3CA),
    *map(ord, "–—‘’“”…′″⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻₀₁₂₃₄₅₆₇₈₉∆−√∞≈≠≤≥≲≳⊙☉★→←↑↓"),
]
MAPS = ["viridis", "magma", "plasma", "inferno"]

folder = pathlib.Path(sys.argv[1])
options = subset.Options(layout_features=["kern", "mark", "mkmk", "ccmp"], hinting=False)
options.recalc_timestamp = False
font = subset.load_font(str(FONTS / "DejaVuSans.ttf"), options)
subsetter = subset.Subsetter(options)
subsetter.populate(unicodes=CHARACTERS)
subsetter.subset(font)
subset.save_font(font, str(folder / "dejavu_sans.ttf"), options)
shutil.copy(FONTS / "LICENSE_DEJAVU", folder / "LICENSE_DEJAVU")

lines = ["# Colours from low to high, as RRGGBB. Columns: " + " ".join(MAPS)]
colours = [matplotlib.colormaps[name](range(256), bytes=True) for name in MAPS]
for row in zip(*colours):
    lines.append(" ".join("%02x%02x%02x" % tuple(rgba[:3]) for rgba in row))
(folder / "colour_maps.txt").write_text("\n".join(lines) + "\n")
