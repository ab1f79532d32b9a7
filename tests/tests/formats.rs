//! The catalogue in the hands of astropy, STILTS, pyarrow and DuckDB; folders
//! that cannot be written; and the way of a campaign into a database.

use anyhow::{Context, ensure};
use outshine_tests::bench::Bench;
use outshine_tests::campaigns::{TINY, differences};
use outshine_tests::processes::files;
use outshine_tests::servers::postgres::Postgres;
use outshine_tests::servers::{ServerError, or_skip, python};
use std::path::Path;
use std::process::{Command, Output};

/// Some galaxies of [`TINY`] have no pixel this bright, and so no mass.
const BRIGHT: &str = "field.min_mean_snr=320";

const EXPORT: &str = "catalogue export";

fn stilts(arguments: &[&str]) -> anyhow::Result<Output> {
    Command::new("stilts").args(arguments).output().context("stilts")
}

fn has_stilts() -> Result<(), ServerError> {
    match Command::new("stilts").arg("-version").output() {
        Ok(_) => Ok(()),
        Err(_) => Err(ServerError::NotInstalled { program: "STILTS" }),
    }
}

/// What a reader printed, which must have nothing to object.
fn content(output: &Output) -> anyhow::Result<String> {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && error.is_empty(), "{said}{error}");
    Ok(said)
}

#[test]
fn readers_of_every_format_agree() -> anyhow::Result<()> {
    let Some(python) = or_skip(python()) else { return Ok(()) };
    let bench = Bench::new(TINY)?;
    let out = bench.text("out");
    bench.ok("run", &["--set", BRIGHT, "--export", &out])?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/formats.py");
    let said = content(&Command::new(python).args([script, &out]).output().context("python")?)?;
    ensure!(said.contains("readers agree: 6 galaxies"), "{said}");
    ensure!(!said.contains(" 0 without a mass"), "every galaxy has a mass: {said}");

    // STILTS: nothing to object, and the same table in every format.
    if or_skip(has_stilts()).is_none() {
        return Ok(());
    }
    let file = |end: &str| format!("{out}/catalogue.{end}");
    let vot = file("vot");
    let said = content(&stilts(&["votlint", "ucd=true", "unit=true", &vot])?)?;
    ensure!(said.is_empty(), "votlint: {said}");
    let damaged = bench.text("damaged.vot");
    std::fs::write(&damaged, std::fs::read_to_string(&vot)?.replace("\"long\"", "\"lung\""))?;
    let said = stilts(&["votlint", &damaged])?;
    ensure!(!said.stdout.is_empty() || !said.stderr.is_empty(), "votlint finds no fault in any");
    let table = |end: &str, commands: &[&str]| -> anyhow::Result<String> {
        let input = format!("in={}", file(end));
        let format = format!("ifmt={}", if end == "vot" { "votable" } else { end });
        content(&stilts(&[&["tpipe", &input, &format, "ofmt=csv"], commands].concat())?)
    };
    // Of what is null, one reader makes NaN and another nothing.
    let values = "cmd=replaceval null 0 *; replaceval NaN 0 *; sort galaxy_id";
    let meta = "cmd=meta name class units ucd description";
    let (one, about) = (table("fits", &[values])?, table("fits", &[meta])?);
    assert_eq!(one.lines().count(), 7);
    assert_eq!(one, table("vot", &[values])?);
    assert!(about.contains("log(solMass),phys.mass;stat.median"), "{about}");
    assert!(about.contains("galaxy_id,Long,,meta.id;meta.main,galaxy"), "{about}");
    assert_eq!(about, table("vot", &[meta])?);
    let first = "cmd=sort galaxy_id; keepcols galaxy_id; head 1";
    assert_eq!(table("csv", &[first])?.trim(), "galaxy_id\n1");
    Ok(())
}

#[test]
fn exports_are_the_same_bytes_again_and_only_what_is_asked_for() -> anyhow::Result<()> {
    let bench = Bench::new(TINY)?;
    let (one, two) = (bench.text("one"), bench.text("two"));
    bench.ok("run", &["--export", &one])?;
    bench.ok(EXPORT, &["--to", &two])?;
    let (first, second) = (files(Path::new(&one))?, files(Path::new(&two))?);
    assert_eq!(first, second);
    assert!(first.keys().all(|name| !name.contains("partial")), "{:?}", first.keys());

    // Over an old export: what was there of another campaign is gone.
    std::fs::create_dir_all(bench.path("two/summaries/galaxy_id=99"))?;
    for old in [
        "summaries/galaxy_id=99/part.parquet",
        "samples/blocks-0000099.parquet",
        "field/truth-00099.parquet",
        "model/calibration-redshift.parquet",
        "model/old.parquet",
    ] {
        std::fs::write(bench.path("two").join(old), "old")?;
    }
    bench.ok(EXPORT, &["--to", &two])?;
    assert_eq!(first, files(Path::new(&two))?);

    let some = bench.text("some");
    bench.ok(EXPORT, &["--to", &some, "--format", "votable,csv"])?;
    let names: Vec<String> = files(Path::new(&some))?.into_keys().collect();
    let catalogues: Vec<&String> = names.iter().filter(|name| name.starts_with("cat")).collect();
    assert_eq!(catalogues, ["catalogue.csv", "catalogue.csv-metadata.json", "catalogue.vot"]);
    // Narrower than what is there.
    bench.ok(EXPORT, &["--to", &some, "--format", "fits"])?;
    let names: Vec<String> = files(Path::new(&some))?.into_keys().collect();
    let catalogues: Vec<&String> = names.iter().filter(|name| name.starts_with("cat")).collect();
    assert_eq!(catalogues, ["catalogue.fits"]);
    let error = bench.error(EXPORT, &["--to", &some, "--format", "word"])?;
    assert!(error.contains("`word`") && error.contains("votable"), "{error}");

    // Places that are no folder, or where nobody may write, root included.
    std::fs::write(bench.path("file"), "")?;
    for place in [bench.text("file/below"), "/proc/outshine".to_owned(), "/sys".to_owned()] {
        let error = bench.error(EXPORT, &["--to", &place])?;
        assert!(error.contains(&place) && error.contains("name a folder"), "{error}");
    }
    // Of a campaign that has not begun there is nothing.
    let error = bench.error(EXPORT, &["--to", &some, "--set", "seed=8"])?;
    assert!(error.contains("is not in the store") && error.contains("run it first"), "{error}");
    Ok(())
}

#[test]
fn an_export_leaves_nothing_of_an_older_campaign() -> anyhow::Result<()> {
    let bench = Bench::new(TINY)?;
    let out = bench.text("out");
    bench.ok("run", &["--export", &out])?;
    let mock = files(Path::new(&out))?;
    let of = |part: &str| -> Vec<&String> { mock.keys().filter(|n| n.contains(part)).collect() };
    for part in ["validation", "field/truth", "samples/", "summaries/"] {
        assert!(!of(part).is_empty(), "{part}: {:?}", mock.keys());
    }

    // One that ends before pixels are fitted takes nothing of theirs away.
    bench.ok("run", &["--set", "seed=8", "--until", "calibrate", "--export", &out])?;
    let changed = differences(&mock, &files(Path::new(&out))?);
    let weights = "model/model.safetensors".to_owned();
    assert!(changed.contains(&weights), "{changed:?}");
    let made = |name: &String| name.starts_with("model/") || name.starts_with("field/");
    assert!(changed.iter().all(made), "{changed:?}");

    // One on pixels of its own, without truth and without draws.
    let (start, end) = TINY.split_once("[field.mock]").context("a mock")?;
    let (_, end) = end.split_once("[simulate]").context("simulations")?;
    let pixels = bench.path("pixels.parquet");
    std::fs::write(&pixels, &mock["field/field-00000.parquet"])?;
    let own = format!("{start}[field]\npixels = \"pixels.parquet\"\n[simulate]{end}");
    std::fs::write(
        bench.path("campaign.toml"),
        own.replace("draws = 40", "draws = 40\nkeep = \"none\""),
    )?;
    bench.ok("run", &["--export", &out])?;
    let fresh = bench.text("fresh");
    bench.ok(EXPORT, &["--to", &fresh])?;
    let own = files(Path::new(&out))?;
    assert_eq!(differences(&own, &files(Path::new(&fresh))?), Vec::<String>::new());
    for part in ["validation", "truth", "samples/"] {
        assert!(!own.keys().any(|name| name.contains(part)), "{part}: {:?}", own.keys());
    }
    Ok(())
}

/// An image's WCS: keywords, and their values as TOML and JSON both have them.
type Header = Vec<(&'static str, &'static str)>;

/// Far from the equator and turned, with other keywords or values.
fn header(other: &[(&'static str, &'static str)]) -> Header {
    let own = [
        ("CTYPE1", "\"RA---TAN\""),
        ("CTYPE2", "\"DEC--TAN\""),
        ("CRPIX1", "1234.25"),
        ("CRPIX2", "-57"),
        ("CRVAL1", "53.16"),
        ("CRVAL2", "-67.79"),
    ];
    let scales =
        [("CD1_1", "-7.2e-6"), ("CD1_2", "4.1e-6"), ("CD2_1", "4.2e-6"), ("CD2_2", "7e-6")];
    let mut all: std::collections::BTreeMap<_, _> = own.into();
    if !other.iter().any(|(key, _)| key.starts_with("CDELT")) {
        all.extend(scales);
    }
    all.extend(other.iter().copied());
    all.into_iter().collect()
}

/// `--set` for every keyword.
fn settings(header: &Header) -> Vec<String> {
    let set = |(key, value): &(_, _)| format!("field.image.wcs.{key}={value}");
    header.iter().flat_map(|pair| ["--set".to_owned(), set(pair)]).collect()
}

#[test]
fn places_on_the_sky_are_those_of_astropy() -> anyhow::Result<()> {
    let Some(python) = or_skip(python()) else { return Ok(()) };
    let bench = Bench::new(TINY)?;
    let plain = bench.text("plain");
    bench.ok("run", &["--export", &plain])?;
    let plain = files(Path::new(&plain))?;
    let export = |to: &str, header: &Header, more: &[&str]| -> anyhow::Result<String> {
        let (to, settings) = (bench.text(to), settings(header));
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        let output = bench.output(EXPORT, &[&["--to", &to], more, &settings].concat())?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    };

    // The sky is given after the campaign was run, and changes nothing of it.
    let cdelt = [("CDELT1", "-8.3e-6"), ("CDELT2", "8.3e-6")];
    let turned = |other: &[(&'static str, &'static str)]| header(&[&cdelt, other].concat());
    let skies = [
        header(&[("EQUINOX", "2000.0"), ("RADESYS", "\"FK5\"")]),
        header(&[("CTYPE1", "\"RA---SIN\""), ("CTYPE2", "\"DEC--SIN\""), ("LONPOLE", "150.0")]),
        header(&[("CTYPE1", "\"RA---STG\""), ("CTYPE2", "\"DEC--STG\""), ("CRVAL2", "90")]),
        header(&[("CTYPE1", "\"RA---ARC\""), ("CTYPE2", "\"DEC--ARC\""), ("CRVAL2", "0.0")]),
        header(&[("CTYPE1", "\"RA---ZEA\""), ("CTYPE2", "\"DEC--ZEA\""), ("CRVAL1", "0")]),
        // Declination first.
        header(&[
            ("CTYPE1", "\"DEC--TAN\""),
            ("CTYPE2", "\"RA---TAN\""),
            ("CRVAL1", "27.8"),
            ("CRVAL2", "359.999"),
        ]),
        turned(&[]),
        turned(&[("PC1_1", "0.8"), ("PC1_2", "-0.6"), ("PC2_1", "0.6"), ("PC2_2", "0.8")]),
        turned(&[("PC1_2", "-0.3"), ("RADESYS", "\"ICRS\"")]),
        turned(&[("CROTA2", "33.3"), ("CDELT1", "-2e-5")]),
    ];
    let mut arguments = vec![concat!(env!("CARGO_MANIFEST_DIR"), "/sky.py").to_owned()];
    for (sky, number) in skies.iter().zip(0..) {
        let to = format!("sky-{number}");
        let said = export(&to, sky, &["--format", "parquet"])?;
        ensure!(!said.contains("no ra"), "{said}");
        let pairs = sky.iter().map(|(key, value)| format!("\"{key}\": {value}"));
        let json = format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "));
        arguments.extend([bench.text(&to), json]);
    }
    let said = content(&Command::new(&python).args(&arguments).output().context("python")?)?;
    ensure!(said.contains("astropy agrees on 10 skies"), "{said}");

    // In every format, and nothing else has changed.
    export("all", &skies[0], &[])?;
    let all = bench.text("all");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/formats.py");
    let said = content(&Command::new(&python).args([script, &all]).output().context("python")?)?;
    ensure!(said.contains("readers agree: 6 galaxies"), "{said}");
    if or_skip(has_stilts()).is_some() {
        let vot = format!("{all}/catalogue.vot");
        let said = content(&stilts(&["votlint", "ucd=true", "unit=true", &vot])?)?;
        ensure!(said.is_empty(), "votlint: {said}");
    }
    let on_sky = files(Path::new(&all))?;
    let text = |name: &str| String::from_utf8_lossy(&on_sky[name]).into_owned();
    for ucd in ["pos.eq.ra;meta.main", "pos.eq.dec;meta.main"] {
        for name in ["catalogue.vot", "catalogue.fits", "catalogue.csv-metadata.json"] {
            assert!(text(name).contains(ucd), "{name}: {ucd}");
        }
    }
    let changed = differences(&plain, &on_sky);
    assert!(changed.iter().all(|name| name.starts_with("catalogue.")), "{changed:?}");
    assert_eq!(changed.len(), 5, "{changed:?}");
    bench.ok("run", &["--export", &all])?;
    assert_eq!(differences(&plain, &files(Path::new(&all))?), Vec::<String>::new());

    // A sky of no use for ra and dec: without them, and said why.
    let galactic = [("CTYPE1", "\"GLON-TAN\""), ("CTYPE2", "\"GLAT-TAN\"")];
    let cubic = [("CTYPE1", "\"RA---TSC\""), ("CTYPE2", "\"DEC--TSC\"")];
    for (other, why) in [
        (galactic.as_slice(), "its axes are GLON-TAN and GLAT-TAN"),
        (&cubic, "its projection is TSC"),
        (&[("PV2_1", "0.1")], "PV2_1 bends"),
        (&[("RADESYS", "\"FK4\"")], "RADESYS is FK4"),
        (&[("EQUINOX", "1950")], "its equinox is 1950"),
        (&[cdelt.as_slice(), &[("PC1_1", "1.0"), ("CROTA2", "3.0")]].concat(), "ambiguous"),
    ] {
        let said = export("none", &header(other), &[])?;
        assert!(said.contains("no ra and dec") && said.contains(why), "{why}: {said}");
        let found = files(&bench.path("none"))?;
        assert_eq!(differences(&plain, &found), Vec::<String>::new(), "{why}");
    }
    Ok(())
}

#[test]
fn a_campaign_loads_the_database_at_its_end() -> anyhow::Result<()> {
    let Some(server) = or_skip(Postgres::start()) else { return Ok(()) };
    server.create("sky")?;
    let bench = Bench::new(TINY)?;
    let password = [server.environment()];
    let url = server.url("sky");

    // Known before anything runs.
    let wrong = [("PGPASSWORD", "wrong".to_owned())];
    let error = bench.error_in("run", &["--database", &url], &wrong)?;
    assert!(error.contains("password authentication failed"), "{error}");
    assert!(!bench.path("store").exists(), "it ran first");
    let error = bench.error_in("run", &["--database", "mysql://ada:secret@h/d"], &password)?;
    assert!(error.contains("postgres://") && !error.contains("secret"), "{error}");
    let error =
        bench.error_in("run", &["--set", "name=\"it's\"", "--database", &url], &password)?;
    assert!(error.contains("name") && error.contains("letters, digits"), "{error}");

    // Nor is it loaded before the campaign is complete, and that is said.
    let said = bench.ok_in("run", &["--database", &url, "--until", "field"], &password)?;
    assert!(said.contains("not loaded: the campaign is complete up to stage field"), "{said}");

    let said = bench.ok_in("run", &["--database", &url, "--survey", "d'or \u{3b1}"], &password)?;
    assert!(!said.contains("not loaded"), "{said}");
    assert!(said.contains("6 galaxies, 3078 pixels; 3084 rows new or changed"), "{said}");
    assert!(!said.contains(server.password()), "{said}");
    let ask = |sql: &str| server.query("sky", sql);
    let table = "select galaxy_id, pixels_used, log_mass_stellar_resolved_p50 is null
         from outshine.galaxy order by 1";
    assert_eq!(ask(table)?.lines().count(), 6);
    assert_eq!(
        ask("select sum(pixels_available) = (select count(*) from outshine.pixel)
             from outshine.galaxy")?,
        "t"
    );
    let campaign = "select name, survey, model = (select distinct model from outshine.galaxy),
         definition -> 'campaign' ->> 'name' from outshine.campaign";
    assert_eq!(ask(campaign)?, "tiny|d'or \u{3b1}|t|tiny");
    let comment = |table: &str, column: &str| {
        ask(&format!(
            "select col_description('outshine.{table}'::regclass, attnum) from pg_attribute
             where attrelid = 'outshine.{table}'::regclass and attname = '{column}'"
        ))
    };
    assert_eq!(
        comment("pixel", "a_v_p50")?,
        "attenuation at 5500 Angstrom, median; unit: mag; ucd: phys.absorption;em.opt.V;stat.median"
    );
    // In the words of the standards, as in every format.
    let mass = comment("galaxy", "log_mass_stellar_resolved_p50")?;
    assert!(mass.ends_with("; unit: log(solMass); ucd: phys.mass;stat.median"), "{mass}");

    // By hand, with the password in the URL: it is all there.
    let secret = server.url_with_password("sky");
    let more = ["--to", &secret, "--survey", "d'or \u{3b1}"];
    let said = bench.ok(EXPORT, &more)?;
    assert!(said.contains("0 rows new or changed"), "{said}");
    assert!(!said.contains("%40") && !said.contains(server.password()), "{said}");
    let stored = files(&bench.path("store"))?;
    let tells = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        text.contains("postgres://") || text.contains(server.password())
    };
    assert!(stored.values().all(|bytes| !tells(bytes)), "the store knows of the database");

    // With the image's WCS galaxies have places, and the database no other campaign.
    let (wcs, place) = (
        settings(&header(&[])),
        "select count(*), count(ra), count(dec),
         bool_and(ra between 53.0 and 53.3 and dec between -67.9 and -67.7) from outshine.galaxy",
    );
    let on_sky: Vec<&str> = wcs.iter().map(String::as_str).chain(more).collect();
    assert_eq!(ask(place)?, "6|0|0|");
    let said = bench.ok(EXPORT, &on_sky)?;
    assert!(said.contains("6 rows new or changed"), "{said}");
    assert_eq!(ask(place)?, "6|6|6|t");
    let ra = comment("galaxy", "ra")?;
    assert!(ra.ends_with("; unit: deg; ucd: pos.eq.ra;meta.main"), "{ra}");
    let said = bench.ok(EXPORT, &more)?;
    assert!(said.contains("6 rows new or changed"), "{said}");
    assert_eq!(ask(place)?, "6|0|0|");

    // A database that refuses the rows: the campaign stays complete, and is loaded later.
    ask("drop view outshine.pixel_newest, outshine.galaxy_newest")?;
    ask("alter table outshine.galaxy alter pixels_used type text")?;
    let again = ["--database", &url, "--survey", "d'or \u{3b1}"];
    let error = bench.error_in("run", &again, &password)?;
    assert!(error.contains("the campaign is complete; the same command loads"), "{error}");
    assert!(error.contains("`pixels_used` of outshine.galaxy is text"), "{error}");
    ask("alter table outshine.galaxy alter pixels_used type bigint using pixels_used::bigint")?;
    let said = bench.ok_in("run", &again, &password)?;
    assert!(said.contains("0 rows new or changed"), "{said}");

    // Another campaign on the same mock, by its input: its own survey without a name.
    let other = ["--database", &url, "--set", "fit.draws=20"];
    bench.ok_in("run", &other, &password)?;
    assert_eq!(
        ask("select count(*), count(distinct campaign) from outshine.galaxy_newest")?,
        "12|2"
    );
    // Until it is named as the first one's.
    let named = ["--to", &url, "--set", "fit.draws=20", "--survey", "d'or \u{3b1}"];
    bench.ok_in(EXPORT, &named, &password)?;
    bench.ok_in(EXPORT, &["--to", &url], &password)?;
    assert_eq!(ask("select distinct survey from outshine.campaign")?, "d'or \u{3b1}");
    assert_eq!(
        ask("select count(*), count(distinct campaign) from outshine.galaxy_newest")?,
        "6|1"
    );

    // Over TLS, by the certificate of this server alone.
    let named = format!("{}?sslmode=require", server.url_by_name("sky"));
    let error = bench.error_in(EXPORT, &["--to", &named], &password)?;
    assert!(error.contains("cannot be reached") && error.contains("certificate"), "{error}");
    let certificate = ("SSL_CERT_FILE", server.certificate().display().to_string());
    let trusting = [password[0].clone(), certificate];
    let said = bench.ok_in(EXPORT, &["--to", &named], &trusting)?;
    assert!(said.contains("0 rows new or changed"), "{said}");
    let error = bench.error_in(EXPORT, &["--to", &url, "--format", "csv"], &password)?;
    assert!(error.contains("--format is for a folder"), "{error}");
    Ok(())
}
