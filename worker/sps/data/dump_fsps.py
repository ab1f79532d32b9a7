#!/usr/bin/env python3
"""Dumps the SSPs of FSPS in the DSPS layout, for `outshine ssp import --dsps`.

    python3 dump_fsps.py mist_miles_chabrier.h5
    outshine ssp import --dsps mist_miles_chabrier.h5 mist_miles_chabrier.ssp

Needs python-fsps (https://dfm.io/python-fsps), FSPS itself with SPS_HOME set,
numpy, and h5py if OUT ends in .h5 or .hdf5 (.npz needs numpy alone). The
isochrones and the spectral library are those that FSPS was compiled with: for
MIST and MILES with FSPS 4.0 and later that takes a compiler flag, since its
default spectra are C3K. What was used is printed and recorded.

What is written:

    ssp_lgmet            (met)             log10 of Z, a mass fraction
    ssp_lg_age_gyr       (age)             log10 of Gyr
    ssp_wave             (wave)            Angstrom, vacuum
    ssp_flux             (met, age, wave)  Lsun/Hz per Msun formed, stars alone
    ssp_flux_nebular     (met, age, wave)  the same with gas: Lyman continuum
                                           absorbed, nebular continuum added
    ssp_emline_wave      (line)            Angstrom
    ssp_emline_luminosity (met, age, line) Lsun per Msun formed
    ssp_remaining_mass   (met, age)        stars and remnants per Msun formed
    metadata_json        (bytes)           what the library is, as JSON

Choices: Chabrier IMF (imf_type 1); circumstellar dust of AGB stars (Villaume
et al. 2015) on; no dust, no IGM: the forward model adds them. Gas has the
metallicity of its stars (FSPS by itself leaves it solar) and log U = -2.

FSPS gives luminosities over that of the Sun, as the isochrones do; MIST means
3.828e33 erg/s by it. Give --lsun only for isochrones that mean another.
"""

import argparse
import json
import pathlib
import sys

import numpy as np

IMF_NAMES = {0: "Salpeter (1955)", 1: "Chabrier (2003)", 2: "Kroupa (2001)"}


def text(value):
    return value.decode() if isinstance(value, bytes) else str(value)


def dump(fsps, options):
    """The arrays of the layout, by name."""
    sp = fsps.StellarPopulation(
        compute_vega_mags=False,
        zcontinuous=0,
        sfh=0,
        imf_type=options.imf_type,
        add_agb_dust_model=options.agb_dust,
        add_igm_absorption=False,
        add_dust_emission=False,
        dust1=0.0,
        dust2=0.0,
        add_neb_emission=False,
        add_neb_continuum=True,
        nebemlineinspec=False,
        gas_logu=options.log_u,
    )
    isochrones, spectra = (text(name) for name in sp.libraries[:2])
    print(f"FSPS with isochrones {isochrones}, spectra {spectra}", file=sys.stderr)
    metals = np.asarray(sp.zlegend, dtype=float)
    log_age_gyr = np.asarray(sp.log_age, dtype=float) - 9.0
    solar = options.solar_metallicity
    flux, with_gas, lines, remaining = [], [], [], []
    for index, metal in enumerate(metals, start=1):
        print(f"Z = {metal:.6f} ({index} of {metals.size})", file=sys.stderr)
        sp.params["zmet"] = index
        sp.params["add_neb_emission"] = False
        wave, spectrum = sp.get_spectrum(tage=0, peraa=False)
        flux.append(np.array(spectrum, dtype=float))
        remaining.append(np.array(sp.stellar_mass, dtype=float))
        if options.nebular:
            sp.params["gas_logz"] = float(np.log10(metal / solar))
            sp.params["add_neb_emission"] = True
            with_gas.append(np.array(sp.get_spectrum(tage=0, peraa=False)[1], dtype=float))
            lines.append(np.array(sp.emline_luminosity, dtype=float))
    metadata = {
        "name": f"fsps-{isochrones}-{spectra}-imf{options.imf_type}".lower(),
        "version": text(getattr(fsps, "__version__", "unknown")),
        "imf": IMF_NAMES.get(options.imf_type, f"FSPS imf_type {options.imf_type}"),
        "isochrones": isochrones,
        "spectra": spectra,
        "wavelengths": "vacuum",
        "nebular": "CLOUDY, as in FSPS (Byler et al. 2017), gas metallicity = stellar",
        "agb_dust": "Villaume et al. (2015)" if options.agb_dust else "none",
        "source": "FSPS through python-fsps, by dump_fsps.py",
        "licence": options.licence,
        "solar_metallicity": solar,
        "gas": "separate" if options.nebular else "none",
        "lsun_erg_s": options.lsun,
    }
    if options.nebular:
        metadata["log_u"] = options.log_u
    arrays = {
        "ssp_lgmet": np.log10(metals),
        "ssp_lg_age_gyr": log_age_gyr,
        "ssp_wave": np.asarray(wave, dtype=float),
        "ssp_flux": single(flux),
        "ssp_remaining_mass": np.array(remaining),
        "metadata_json": np.frombuffer(json.dumps(metadata).encode(), dtype=np.uint8),
    }
    if options.nebular:
        arrays["ssp_flux_nebular"] = single(with_gas)
        arrays["ssp_emline_wave"] = np.array(sp.emline_wavelengths, dtype=float)
        arrays["ssp_emline_luminosity"] = single(lines)
    return arrays


def single(spectra):
    """float32; what is too faint for it (FSPS's floor, 1e-70) becomes 0."""
    return np.where(np.array(spectra) < 1e-37, 0.0, np.array(spectra)).astype(np.float32)


def write(path, arrays):
    if path.suffix == ".npz":
        np.savez_compressed(path, **arrays)
        return
    import h5py

    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            packed = {"compression": "gzip", "shuffle": True} if values.ndim == 3 else {}
            file.create_dataset(name, data=values, **packed)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=pathlib.Path, help="OUT.h5, OUT.hdf5 or OUT.npz")
    parser.add_argument("--imf-type", type=int, default=1, help="FSPS imf_type [1: Chabrier]")
    parser.add_argument("--log-u", type=float, default=-2.0, help="of the gas [-2]")
    parser.add_argument(
        "--solar-metallicity", type=float, default=0.0142, help="of the isochrones [0.0142: MIST]"
    )
    parser.add_argument("--lsun", type=float, default=3.828e33, help="erg/s [3.828e33]")
    parser.add_argument("--no-nebular", dest="nebular", action="store_false", help="stars alone")
    parser.add_argument("--no-agb-dust", dest="agb_dust", action="store_false")
    parser.add_argument(
        "--licence", default="as FSPS (MIT); cite FSPS and its ingredients", help="recorded"
    )
    options = parser.parse_args()
    if options.out.suffix not in (".h5", ".hdf5", ".npz"):
        parser.error("OUT must end in .h5, .hdf5 or .npz")
    import fsps

    write(options.out, dump(fsps, options))
    print(options.out)


if __name__ == "__main__":
    main()
