//! SSP libraries from the DSPS layout: against closed forms, against the
//! embedded library put into that layout, and from files that are wrong.

#![cfg(feature = "bc03")]

use outshine_sps::cosmology::age_gyr;
use outshine_sps::{
    Components, DspsOptions, FilterSet, ForwardModel, Gas, ModelOptions, Parameters, Sfh, SpsError,
    SspLibrary, import_dsps_bytes,
};
use serde_json::json;
use std::io::Write;
use std::sync::Arc;

/// Both made by h5py and numpy: `data/make_tiny_dsps.py`.
const TINY_HDF5: &[u8] = include_bytes!("data/tiny_dsps.h5");
const TINY_NPZ: &[u8] = include_bytes!("data/tiny_dsps.npz");
const C_ANGSTROM_S: f64 = 2.997_924_58e18;

/// An array for a `.npz`: name, shape, values.
type Array = (&'static str, Vec<usize>, Vec<f64>);

/// What `numpy.savez_compressed` would write.
fn npz(arrays: &[Array]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, shape, values) in arrays {
        let shape: String = shape.iter().map(|n| format!("{n}, ")).collect();
        let descr = if *name == "metadata_json" { "|u1" } else { "<f8" };
        let header =
            format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}\n");
        let mut npy = b"\x93NUMPY\x01\x00".to_vec();
        npy.extend((header.len() as u16).to_le_bytes());
        npy.extend(header.bytes());
        if descr == "|u1" {
            npy.extend(values.iter().map(|&v| v as u8));
        } else {
            values.iter().for_each(|v| npy.extend(v.to_le_bytes()));
        }
        let mut packer =
            flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(&npy).unwrap();
        let packed = packer.finish().unwrap();
        let mut crc = flate2::Crc::new();
        crc.update(&npy);
        let name = format!("{name}.npy");
        let mut common = [20u16, 0, 8, 0, 0].map(u16::to_le_bytes).concat();
        for n in [crc.sum(), packed.len() as u32, npy.len() as u32, name.len() as u32] {
            common.extend(n.to_le_bytes());
        }
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&common);
        directory.extend([0; 10]);
        directory.extend((file.len() as u32).to_le_bytes());
        directory.extend(name.bytes());
        file.extend(b"PK\x03\x04");
        file.extend(&common);
        file.extend(name.bytes());
        file.extend(packed);
    }
    let start = file.len() as u32;
    let count = (arrays.len() as u16).to_le_bytes();
    file.extend(&directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend(count);
    file.extend(count);
    file.extend((directory.len() as u32).to_le_bytes());
    file.extend(start.to_le_bytes());
    file.extend([0; 2]);
    file
}

fn metadata(value: &serde_json::Value) -> Array {
    let bytes: Vec<f64> = value.to_string().bytes().map(f64::from).collect();
    ("metadata_json", vec![bytes.len()], bytes)
}

/// Metallicities of the embedded library that go into a file.
const CHOSEN: [usize; 3] = [2, 3, 4];

/// The embedded library in the DSPS layout: its bins become points at their
/// middles; gas of log U = -2.
fn embedded_as_dsps() -> Vec<Array> {
    let library = SspLibrary::embedded().unwrap();
    let a = library.arrays();
    let (ages, waves) = (a.age_edges_gyr.len() - 1, a.wave_edges_angstrom.len() - 1);
    let (nebular_ages, lines) = (a.nebular_age_edges_gyr.len() - 1, a.line_angstrom.len());
    let log_u = a.log_u.iter().position(|u| *u == -2.0).unwrap();
    let edges = &a.wave_edges_angstrom;
    let mut wave: Vec<f64> = edges.windows(2).map(|w| (w[0] * w[1]).sqrt()).collect();
    // A point beyond the last edge, which a file must reach.
    wave.push(edges[waves] * 1.001);
    let middle = |w: &[f64]| 0.5 * (w[0] + w[1]);
    let age: Vec<f64> = a.age_edges_gyr.windows(2).map(middle).collect();
    let (mut bare, mut with, mut line_light) = (Vec::new(), Vec::new(), Vec::new());
    for z in CHOSEN {
        for (i, age) in age.iter().enumerate() {
            let stars = &a.stellar[(z * ages + i) * waves..][..waves];
            let mut gas: Vec<f64> = stars.iter().map(|v| f64::from(*v)).collect();
            if *age < a.nebular_age_edges_gyr[nebular_ages] {
                let bin = a.nebular_age_edges_gyr.iter().rposition(|e| e <= age).unwrap();
                let row = (log_u * a.metallicity.len() + z) * nebular_ages + bin;
                for j in 0..waves {
                    if edges[j + 1] < 912.0 {
                        gas[j] = 0.0;
                    }
                    gas[j] += f64::from(a.nebular_continuum[row * waves + j]);
                }
                let light = &a.nebular_lines[row * lines..][..lines];
                line_light.extend(light.iter().map(|v| f64::from(*v)));
            } else {
                line_light.extend(vec![0.0; lines]);
            }
            let per_hz =
                |(j, w): (usize, &f64)| w * w / C_ANGSTROM_S * f64::from(stars[j.min(waves - 1)]);
            bare.extend(wave.iter().enumerate().map(per_hz));
            with.extend(
                wave.iter().enumerate().map(|(j, w)| w * w / C_ANGSTROM_S * gas[j.min(waves - 1)]),
            );
        }
    }
    let shape = vec![CHOSEN.len(), age.len(), wave.len()];
    let lgmet = CHOSEN.iter().map(|&z| a.metallicity[z] + 0.02f64.log10()).collect();
    let remaining =
        CHOSEN.iter().flat_map(|&z| a.remaining_mass[z * ages..][..ages].to_vec()).collect();
    vec![
        ("ssp_lgmet", vec![CHOSEN.len()], lgmet),
        ("ssp_lg_age_gyr", vec![age.len()], age.iter().map(|t| t.log10()).collect()),
        ("ssp_wave", vec![wave.len()], wave),
        ("ssp_remaining_mass", shape[..2].to_vec(), remaining),
        ("ssp_emline_wave", vec![lines], a.line_angstrom.clone()),
        ("ssp_emline_luminosity", vec![CHOSEN.len(), age.len(), lines], line_light),
        metadata(&json!({"name": "again", "solar_metallicity": 0.02, "log_u": -2.0})),
        ("ssp_flux", shape.clone(), bare),
        ("ssp_flux_nebular", shape, with),
    ]
}

fn import(arrays: &[Array]) -> Result<SspLibrary, SpsError> {
    import_dsps_bytes("some.npz", npz(arrays), &DspsOptions::default())
}

fn options(keys: serde_json::Value) -> DspsOptions {
    let metadata = keys.as_object().unwrap().clone();
    DspsOptions { metadata, remaining_mass_from_embedded: false }
}

fn model(library: &SspLibrary, options: ModelOptions) -> Result<ForwardModel, SpsError> {
    ForwardModel::new(Arc::new(library.clone()), FilterSet::jades(), options)
}

fn fluxes(
    model: &ForwardModel,
    p: &Parameters,
    components: Components,
) -> Result<(Vec<f64>, f64), SpsError> {
    let mut flux = vec![0.0; model.bands().len()];
    let derived = model.photometry(p, components, &mut model.workspace(), &mut flux)?;
    Ok((flux, derived.log_mass_stellar))
}

fn young(redshift: f64, metallicity: f64) -> Parameters {
    Parameters {
        sfh: Sfh::Tau { tau_gyr: 1.0, t_i_gyr: 0.5 * age_gyr(redshift) },
        log_mass_formed: 9.0,
        metallicity,
        a_v: 0.4,
        redshift,
    }
}

/// The closed forms of `make_tiny_dsps.py`, from files that h5py and numpy wrote.
#[test]
fn files_of_h5py_and_numpy_give_their_closed_forms() {
    let from = |name, bytes: &[u8]| {
        import_dsps_bytes(name, bytes.to_vec(), &DspsOptions::default()).unwrap()
    };
    let library = from("tiny_dsps.h5", TINY_HDF5);
    assert!(library.meta().source.contains("no list of nebular lines"));
    assert_eq!(library, from("tiny_dsps.npz", TINY_NPZ), "one layout, two containers");
    let a = library.arrays();
    assert_eq!(library.meta().name, "tiny");
    assert_eq!(library.gas(), Gas::Grid);
    assert!((a.metallicity[0] - (0.004f64 / 0.0142).log10()).abs() < 1e-12);
    assert!(a.metallicity[1].abs() < 1e-12);
    let (ages, waves) = (a.age_edges_gyr.len() - 1, a.wave_edges_angstrom.len() - 1);
    for z in 0..2 {
        for age in 0..ages {
            let (young, old) = (a.age_edges_gyr[age], a.age_edges_gyr[age + 1]);
            // Linear in age, held below the youngest at 0.1 Myr: 4e-9 Gyr of the first bin's mean.
            let middle = 0.5 * (young + old);
            let expected = 1e-4 * (z + 1) as f64 * (1.0 + middle);
            for j in (0..waves).step_by(97) {
                let got = f64::from(a.stellar[(z * ages + age) * waves + j]);
                // Precision of the library (1.2e-4). Between the file's points, 12 %
                // apart, lambda^-2 is made linear only after it is applied: exact.
                assert!((got / expected - 1.0).abs() < 1.3e-4, "{z} {age} {j}: {got} {expected}");
            }
            let kept = a.remaining_mass[z * ages + age];
            assert!((kept - (1.0 - 0.02 * middle)).abs() < 1e-6, "{z} {age}: {kept}");
        }
    }
    // Gas adds half the starlight redward of the Lyman limit and leaves nothing bluer.
    let nebular_ages = a.nebular_age_edges_gyr.len() - 1;
    assert!((a.nebular_age_edges_gyr[nebular_ages] - 0.0316).abs() < 1e-4);
    for j in 0..waves {
        let gas = f64::from(a.nebular_continuum[nebular_ages * waves + j]);
        let expected = if a.wave_edges_angstrom[j + 1] < 911.9 { 0.0 } else { 1e-4 };
        // The first nebular age is 0 to 1.1 Myr old: 1 + age is 1 to 6e-4. The file's
        // step at the limit is 2e-4 A wide, 1e-4 of the bin beside it.
        assert!((gas - expected).abs() < 1e-7, "{}: {gas}", a.wave_edges_angstrom[j]);
    }
}

/// The embedded library, through the layout and back, gives the same photometry.
#[test]
fn the_embedded_library_survives_the_layout() {
    let again = import(&embedded_as_dsps()).unwrap();
    let embedded = SspLibrary::embedded().unwrap();
    let [first, second] = [&embedded, &again].map(|l| model(l, ModelOptions::default()).unwrap());
    let mut worst = 0.0f64;
    for redshift in [0.3, 2.0, 5.0, 8.0] {
        // [M/H] of grid points of both, and one between.
        for metallicity in [-0.397_94, -0.2, 0.0] {
            let p = young(redshift, metallicity);
            for components in [Components::Stellar, Components::StellarDust, Components::Full] {
                let (a, mass_a) = fluxes(&first, &p, components).unwrap();
                let (b, mass_b) = fluxes(&second, &p, components).unwrap();
                let brightest = a.iter().copied().fold(0.0, f64::max);
                for ((a, b), band) in a.iter().zip(&b).zip(first.bands()) {
                    // Averaging what are means already blurs by one bin: 0.2 % in
                    // wavelength, 12 % in age. Where the IGM leaves 1e-3 of the
                    // light, relative agreement is not asked for.
                    let off = (b - a).abs() / a.max(1e-3 * brightest);
                    worst = worst.max(off);
                    assert!(off < TOLERANCE, "z {redshift} {components:?} {band}: {a} {b}");
                }
                assert!((mass_a - mass_b).abs() < 1e-3, "{mass_a} {mass_b}");
            }
        }
    }
    println!("worst flux through the layout: {worst:.4}");
}

/// Of fluxes through the layout and back; the worst is printed.
const TOLERANCE: f64 = 0.008;

fn without(arrays: &[Array], names: &[&str]) -> Vec<Array> {
    arrays.iter().filter(|a| !names.contains(&a.0)).cloned().collect()
}

fn replaced(arrays: &[Array], with: Array) -> Vec<Array> {
    let mut all = without(arrays, &[with.0]);
    all.push(with);
    all
}

#[test]
fn what_a_library_lacks_is_refused() {
    let arrays = embedded_as_dsps();
    let p = young(1.0, 0.0);
    let with = |keys| {
        let bytes = npz(&without(&arrays, &["ssp_flux_nebular"]));
        import_dsps_bytes("some.npz", bytes, &options(keys)).unwrap()
    };

    let bare = with(json!({"gas": "none", "log_u": null}));
    assert_eq!(bare.gas(), Gas::None);
    let stars = model(&bare, ModelOptions::default()).unwrap();
    let error = fluxes(&stars, &p, Components::Full).unwrap_err().to_string();
    assert!(error.contains("again holds no nebular emission: use stellar_dust"), "{error}");
    assert!(fluxes(&stars, &p, Components::StellarDust).is_ok());

    let mixed = with(json!({"gas": "included", "log_u": -2.5}));
    assert_eq!(mixed.gas(), Gas::Included { log_u: Some(-2.5) });
    let error = model(&mixed, ModelOptions::default()).err().unwrap().to_string();
    assert!(error.contains("log_u") && error.contains("must be -2.5"), "{error}");
    let all = model(&mixed, ModelOptions { log_u: -2.5, ..ModelOptions::default() }).unwrap();
    // The file's spectra are those of bare stars: nothing is added to them.
    assert_eq!(
        fluxes(&all, &p, Components::Full).unwrap(),
        fluxes(&stars, &p, Components::StellarDust).unwrap()
    );
    for components in [Components::Stellar, Components::StellarDust] {
        let error = fluxes(&all, &p, components).unwrap_err().to_string();
        assert!(error.contains("part of the spectra") && error.contains("use full"), "{error}");
    }

    let unknown = with(json!({"gas": "included", "log_u": null}));
    let grid = import(&arrays).unwrap();
    for (library, changed) in [(&bare, -2.2), (&unknown, -2.2), (&grid, -2.2), (&bare, f64::NAN)] {
        let changed = ModelOptions { log_u: changed, ..ModelOptions::default() };
        let error = model(library, changed).err().unwrap();
        assert!(matches!(&error, SpsError::Setting { field, .. } if field == "log_u"), "{error}");
    }
    for library in [&bare, &unknown] {
        let options = ModelOptions { nebular_max_age_gyr: 0.02, ..ModelOptions::default() };
        let error = model(library, options).err().unwrap().to_string();
        assert!(error.contains("nebular_max_age_gyr"), "{error}");
    }
    for library in [bare, mixed, unknown, grid] {
        let bytes = library.to_bytes();
        assert_eq!(bytes[7], 2, "format 2");
        assert_eq!(SspLibrary::from_bytes(&bytes).unwrap(), library);
        let mut first = bytes.clone();
        first[7] = 1;
        assert!(SspLibrary::from_bytes(&first).is_err(), "format 1 knows no such gas");
        first[7] = 3;
        let error = SspLibrary::from_bytes(&first).unwrap_err().to_string();
        assert!(error.contains("format 3"), "{error}");
    }
}

#[test]
fn surviving_mass_may_come_from_the_embedded_library() {
    let arrays = without(&embedded_as_dsps(), &["ssp_remaining_mass"]);
    let error = import(&arrays).unwrap_err().to_string();
    assert!(error.contains("ssp_remaining_mass") && error.contains("missing"), "{error}");
    let options =
        DspsOptions { remaining_mass_from_embedded: true, ..options(json!({"imf": "Kroupa"})) };
    let library = import_dsps_bytes("some.npz", npz(&arrays), &options).unwrap();
    let source = &library.meta().source;
    assert!(source.contains("surviving mass is that of bc03-miles"), "{source}");
    assert_eq!(library.meta().imf, "Kroupa");
    let embedded = SspLibrary::embedded().unwrap();
    let ages = library.arrays().age_edges_gyr.len() - 1;
    for (row, z) in library.arrays().remaining_mass.chunks(ages).zip(CHOSEN) {
        for (a, b) in row.iter().zip(&embedded.arrays().remaining_mass[z * ages..]) {
            assert!((a - b).abs() < 1e-12, "{a} {b}");
        }
    }
}

#[test]
fn another_solar_luminosity_scales_the_spectra() {
    let bytes = || TINY_HDF5.to_vec();
    let ours = import_dsps_bytes("t.h5", bytes(), &DspsOptions::default()).unwrap();
    let keys = options(json!({"lsun_erg_s": 3.0 * 3.828e33 / 2.0}));
    let theirs = import_dsps_bytes("t.h5", bytes(), &keys).unwrap();
    for (a, b) in ours.arrays().stellar.iter().zip(&theirs.arrays().stellar) {
        // Each is rounded to 1.2e-4.
        assert!((b / a / 1.5 - 1.0).abs() < 2.5e-4, "{a} {b}");
    }
}

/// Each wrong file is refused with the names of file and dataset.
#[test]
fn wrong_files_are_refused_by_name() {
    let arrays = embedded_as_dsps();
    let find = |name: &str| arrays.iter().find(|a| a.0 == name).unwrap().clone();
    let changed = |name: &str, change: &dyn Fn(&mut Array)| {
        let mut array = find(name);
        change(&mut array);
        replaced(&arrays, array)
    };
    let flux = "ssp_flux";
    let cases: Vec<(&str, &str, Vec<Array>)> = vec![
        (flux, "missing", without(&arrays, &[flux])),
        ("ssp_wave", "missing", without(&arrays, &["ssp_wave"])),
        (flux, "no finite number", changed(flux, &|a| a.2[77] = f64::NAN)),
        (flux, "negative", changed(flux, &|a| a.2[77] = -1.0)),
        (flux, "shape", changed(flux, &|a| a.1.swap(0, 1))),
        (flux, "axes", changed(flux, &|a| a.1.insert(0, 1))),
        (flux, "no light", changed(flux, &|a| a.2.fill(0.0))),
        (flux, "shape says", changed(flux, &|a| a.2.truncate(9))),
        ("ssp_wave", "does not rise at value 5", changed("ssp_wave", &|a| a.2[5] = a.2[4])),
        ("ssp_lgmet", "does not rise", changed("ssp_lgmet", &|a| a.2.swap(0, 1))),
        ("ssp_lgmet", "mass fraction", changed("ssp_lgmet", &|a| a.2[2] = 0.3)),
        (
            "ssp_lg_age_gyr",
            "do not span",
            changed("ssp_lg_age_gyr", &|a| {
                a.2.iter_mut().for_each(|log| *log += 9.0);
            }),
        ),
        (
            "ssp_wave",
            "does not reach",
            changed("ssp_wave", &|a| {
                a.2.iter_mut().for_each(|wave| *wave *= 0.9);
            }),
        ),
        ("ssp_remaining_mass", "mass formed", changed("ssp_remaining_mass", &|a| a.2[3] = 1.2)),
        (
            "ssp_flux_nebular",
            "fainter",
            changed("ssp_flux_nebular", &|a| {
                a.2.iter_mut().for_each(|v| *v *= 0.9);
            }),
        ),
        ("ssp_emline_wave", "missing", without(&arrays, &["ssp_emline_wave"])),
        (
            "ssp_emline_luminosity",
            "shape",
            changed("ssp_emline_wave", &|a| {
                a.2.push(5.0);
                a.1[0] += 1;
            }),
        ),
        ("metadata_json", "gas", without(&arrays, &["ssp_flux_nebular"])),
        ("metadata_json", "solar_metallicity", without(&arrays, &["metadata_json"])),
        (
            "metadata_json",
            "log_u",
            replaced(&arrays, metadata(&json!({"solar_metallicity": 0.02}))),
        ),
        ("metadata_json", "unknown field", replaced(&arrays, metadata(&json!({"log_v": 1})))),
        (
            "ssp_flux_nebular",
            "`gas`",
            replaced(&arrays, metadata(&json!({"solar_metallicity": 0.02, "gas": "none"}))),
        ),
    ];
    for (name, problem, arrays) in cases {
        let error = import(&arrays).expect_err(name).to_string();
        for part in ["some.npz", &format!("`{name}`"), problem] {
            assert!(error.contains(part), "{name}: `{part}` is not in: {error}");
        }
    }
}

#[test]
fn damaged_containers_are_refused() {
    for (name, whole) in [("t.h5", TINY_HDF5), ("t.npz", TINY_NPZ)] {
        for cut in (0..whole.len()).step_by(167).chain([whole.len() - 1]) {
            let error = import_dsps_bytes(name, whole[..cut].to_vec(), &DspsOptions::default())
                .expect_err("a truncated file")
                .to_string();
            assert!(error.contains(name), "cut at {cut}: {error}");
        }
        // Any byte flipped: whatever is read, no panic. The contradiction ends
        // most imports as soon as all spectra are read.
        let contradiction = options(json!({"gas": "none"}));
        for at in (0..whole.len()).step_by(83) {
            let mut bytes = whole.to_vec();
            bytes[at] ^= 0x55;
            if let Err(error) = import_dsps_bytes(name, bytes, &contradiction) {
                assert!(error.to_string().contains(name), "{error}");
            }
        }
    }
    let error = import_dsps_bytes("t", b"text".to_vec(), &DspsOptions::default()).unwrap_err();
    assert!(error.to_string().contains("neither HDF5 nor .npz"), "{error}");
}
