//! Campaigns as users write them.

use super::*;
use crate::digest::Digest;

const MINIMAL: &str = "name = \"a\"\n[field]\npixels = \"p.parquet\"\n";

fn parse(text: &str, settings: &[&str]) -> Result<Campaign, CampaignError> {
    let settings: Vec<String> = settings.iter().map(|s| (*s).to_owned()).collect();
    Campaign::parse(text, "test.toml", Path::new("folder"), &settings)
}

#[test]
fn an_unknown_key_is_named() {
    let error = parse(&format!("{MINIMAL}min_snr = 3\n"), &[]).unwrap_err().to_string();
    assert!(error.contains("test.toml") && error.contains("min_snr"), "{error}");
    let error = parse(MINIMAL, &["fit.draw=3"]).unwrap_err().to_string();
    assert!(error.contains("draw"), "{error}");
}

#[test]
fn settings_reach_every_depth() {
    let c =
        parse(MINIMAL, &["fit.draws=7", "fit.keep=masses", "train.blocks=2", "seed=5"]).unwrap();
    assert_eq!((c.fit.draws, c.fit.keep, c.seed), (7, KeepDraws::Masses, 5));
    assert_eq!(c.train["blocks"], 2);
    assert_eq!(c.field.pixels.as_deref(), Some("folder/p.parquet"));
    let c = parse(MINIMAL, &["field.pixels=q.parquet"]).unwrap();
    assert_eq!(c.field.pixels.as_deref(), Some("q.parquet"));
}

#[test]
fn impossible_values_are_refused() {
    for (setting, named) in [
        ("name=\"a/b\"", "name"),
        ("fit.draws=0", "fit.draws"),
        ("bands=[\"f090w\",\"f090w\"]", "bands"),
        ("field.snr_bands=[\"k\"]", "field.snr_bands"),
        ("field.mock.galaxies=3", "field"),
        ("execution.queue_window=0", "execution.queue_window"),
        ("fit.refine_mean_snr=inf", "fit.refine_mean_snr"),
        ("reduce.pixel_correlation=1.01", "reduce.pixel_correlation"),
        ("reduce.pixel_correlation=nan", "reduce.pixel_correlation"),
        ("field.image.pixel_scale_arcsec=-1", "field.image.pixel_scale_arcsec"),
        ("field.image.wcs.CRPIX1=1", "field.image.wcs.CTYPE1"),
    ] {
        let error = parse(MINIMAL, &[setting]).unwrap_err().to_string();
        assert!(error.contains(named), "{setting}: {error}");
    }
    assert!(parse("name = \"a\"\n[field]\n", &[]).is_err());
}

#[test]
fn identity_ignores_how_work_is_cut_and_where_input_lies() {
    let resolve = |c: Campaign| ResolvedCampaign::new(c, Some(Digest::of(b"p")), None);
    let base = resolve(parse(MINIMAL, &[]).unwrap()).digest();
    let settings = [
        "execution.blocks_per_task=1",
        "field.pixels=elsewhere",
        "field.image.psf_fwhm_arcsec=0.2",
    ];
    let same = parse(MINIMAL, &settings);
    assert_eq!(base, resolve(same.unwrap()).digest());
    for other in ["seed=2", "fit.draws=10", "prior.a_v=[0,1]", "field.min_mean_snr=3"] {
        assert_ne!(base, resolve(parse(MINIMAL, &[other]).unwrap()).digest(), "{other}");
    }
    let changed = ResolvedCampaign::new(parse(MINIMAL, &[]).unwrap(), None, None);
    assert_ne!(base, changed.digest());
}

#[test]
fn input_is_what_is_fitted_and_nothing_else() {
    let tables = |settings: &[&str], pixels: &[u8]| {
        let campaign = parse(MINIMAL, settings).unwrap();
        ResolvedCampaign::new(campaign, Some(Digest::of(pixels)), None).input()
    };
    let one = tables(&[], b"p");
    assert_eq!(one, tables(&["name=b", "prior.sfh=dirichlet", "fit.draws=9", "seed=2"], b"p"));
    assert_ne!(one, tables(&[], b"q"));
    let mock = |settings: &[&str]| {
        let campaign = parse("name = \"a\"\n[field.mock]\ngalaxies = 3\n", settings).unwrap();
        ResolvedCampaign::new(campaign, None, None).input()
    };
    // A mock's galaxies follow from the seed, too.
    assert_eq!(mock(&[]), mock(&["fit.draws=9"]));
    assert_ne!(mock(&[]), mock(&["seed=2"]));
    assert_ne!(mock(&[]), mock(&["field.mock.galaxies=4"]));
}
