//! What columns say of themselves.

use super::*;

/// The words in use, of "The UCD1+ controlled vocabulary" 1.6 (IVOA), by where
/// they may stand: P first, S later, Q either, E first with a band behind it.
const WORDS: [(&str, char); 39] = [
    ("arith.diff", 'S'),
    ("arith.ratio", 'S'),
    ("em.opt.V", 'S'),
    ("instr.pixel", 'S'),
    ("meta.checksum", 'Q'),
    ("meta.code.qual", 'P'),
    ("meta.id", 'P'),
    ("meta.id.parent", 'P'),
    ("meta.main", 'S'),
    ("meta.modelled", 'S'),
    ("meta.number", 'P'),
    ("meta.version", 'Q'),
    ("phot.flux.density", 'E'),
    ("phys.SFR", 'Q'),
    ("phys.absorption", 'E'),
    ("phys.abund.Z", 'Q'),
    ("phys.angSize", 'Q'),
    ("phys.angSize.smajAxis", 'Q'),
    ("phys.density", 'Q'),
    ("phys.mass", 'Q'),
    ("phys.size.axisRatio", 'Q'),
    ("phys.size.smajAxis", 'Q'),
    ("pos.cartesian.x", 'Q'),
    ("pos.cartesian.y", 'Q'),
    ("pos.eq.dec", 'Q'),
    ("pos.eq.ra", 'Q'),
    ("pos.posAng", 'Q'),
    ("src.redshift", 'Q'),
    ("src.redshift.phot", 'Q'),
    ("stat.error", 'P'),
    ("stat.fit.goodness", 'P'),
    ("stat.max", 'S'),
    ("stat.mean", 'S'),
    ("stat.median", 'S'),
    ("stat.min", 'S'),
    ("stat.probability", 'Q'),
    ("stat.snr", 'P'),
    ("time", 'Q'),
    ("time.age", 'Q'),
];
/// More of the same.
const TIMES: [(&str, char); 2] = [("time.scale", 'Q'), ("time.start", 'Q')];

/// What is wrong with a UCD by the grammar.
fn fault(ucd: &str) -> Option<String> {
    for (place, word) in ucd.split(';').enumerate() {
        let Some((_, class)) = WORDS.iter().chain(&TIMES).find(|(known, _)| *known == word) else {
            return Some(format!("`{word}` is not in the vocabulary"));
        };
        let fits = if place == 0 { "PQE".contains(*class) } else { "SQE".contains(*class) };
        if !fits {
            return Some(format!("`{word}` cannot be word {} of a UCD", place + 1));
        }
    }
    None
}

fn all() -> Vec<Schema> {
    let bands = ["f200w".to_owned()];
    let names = PARAMETERS.map(|parameter| parameter.0);
    vec![
        catalogue(),
        Schema::new(sky().to_vec()),
        every_summary(),
        profiles(),
        pixel_draws(&names),
        predictive(3),
        predictive_bands(),
        cross_prior(),
        samples(&names, 3),
        field(&bands),
        galaxies(&bands),
        truth(&names),
        blocks(&bands, 3),
        simulations(&names, &bands),
        calibration(),
        redshift_calibration(),
        validation(),
    ]
}

#[test]
fn every_column_is_described_and_its_ucd_is_valid() {
    for field in all().iter().flat_map(|schema| schema.fields().iter().cloned().collect::<Vec<_>>())
    {
        let about = field.metadata();
        assert!(about.contains_key(DESCRIPTION_KEY), "{} has no description", field.name());
        if let Some(ucd) = about.get(UCD_KEY) {
            assert_eq!(fault(ucd), None, "{}: {ucd}", field.name());
        }
    }
    assert_eq!(
        fault("stat.median;phys.mass").as_deref(),
        Some("`stat.median` cannot be word 1 of a UCD")
    );
    assert_eq!(fault("phys.weight").as_deref(), Some("`phys.weight` is not in the vocabulary"));
}

#[test]
fn columns_that_users_take_away_have_a_ucd() {
    let names = PARAMETERS.map(|parameter| parameter.0);
    for schema in [catalogue(), Schema::new(sky().to_vec()), every_summary(), samples(&names, 3)] {
        for field in schema.fields() {
            assert!(field.metadata().contains_key(UCD_KEY), "{} has no UCD", field.name());
        }
    }
}

#[test]
fn units_have_a_standard_form_without_our_words() {
    for schema in all() {
        for unit in schema.fields().iter().filter_map(|field| field.metadata().get(UNIT_KEY)) {
            let standard = units::standard(unit).unwrap_or("");
            assert!(!standard.contains("log10") && !standard.contains("sun"), "{unit}: {standard}");
        }
    }
    assert_eq!(units::standard("log10(1/yr)"), Some("log(yr**-1)"));
    assert_eq!(units::standard("dex"), None);
    assert_eq!(units::standard("arcsec"), Some("arcsec"));
}

#[test]
fn descriptions_come_back_by_name() {
    let columns = Schema::new(vec![
        Field::new("a_v_p50", DataType::Float32, true),
        Field::new("strange", DataType::Int64, true),
    ]);
    let described = described(&columns, &every_summary());
    assert_eq!(described.field(0).metadata()[UNIT_KEY], "mag");
    assert!(described.field(1).metadata().is_empty());
}
