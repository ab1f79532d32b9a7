//! How the pixels of a field lie on the sky, and how they look: for maps and
//! figures alone. It changes no fit, and is no part of a campaign's identity.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How far a given pixel scale may be from that of the WCS, relative.
const SCALE_TOLERANCE: f64 = 0.01;
/// Keywords with a number that a WCS may have, but for `PV<i>_<m>`.
const NUMBERS: [&str; 20] = [
    "WCSAXES", "CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2", "CDELT1", "CDELT2", "CD1_1", "CD1_2",
    "CD2_1", "CD2_2", "PC1_1", "PC1_2", "PC2_1", "PC2_2", "CROTA2", "LONPOLE", "LATPOLE",
    "EQUINOX", "EPOCH",
];
/// Keywords with a text.
const TEXTS: [&str; 6] = ["CTYPE1", "CTYPE2", "CUNIT1", "CUNIT2", "RADESYS", "WCSNAME"];
/// Keywords that a WCS must have.
const NEEDED: [&str; 6] = ["CTYPE1", "CTYPE2", "CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2"];

/// Longitude and latitude of each celestial system, as a CTYPE begins.
const AXES: [(&str, &str); 3] = [("RA--", "DEC-"), ("GLON", "GLAT"), ("ELON", "ELAT")];
/// Projections of FITS WCS paper II (Calabretta & Greisen 2002), and HEALPix's.
const PROJECTIONS: [&str; 27] = [
    "AZP", "SZP", "TAN", "STG", "SIN", "ARC", "ZPN", "ZEA", "AIR", "CYP", "CEA", "CAR", "MER",
    "SFL", "PAR", "MOL", "AIT", "COP", "COE", "COD", "COO", "BON", "PCO", "TSC", "CSC", "QSC",
    "HPX",
];

/// What is known of the image that the pixels are from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Image {
    /// Side of a pixel in arcsec. Not needed where there is a WCS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pixel_scale_arcsec: Option<f64>,
    /// Full width at half maximum of the PSF that all bands share, in arcsec.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psf_fwhm_arcsec: Option<f64>,
    /// Bands shown as red, green and blue. Absent: chosen for each galaxy, the
    /// longest, middle and shortest of those well observed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rgb: Option<[String; 3]>,
    /// The image's WCS as FITS keywords: the pixel of x = 0, y = 0 is the first
    /// of the image, (1, 1) in FITS. Celestial, without distortion terms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wcs: Option<BTreeMap<String, Keyword>>,
}

/// The value of a FITS keyword.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Keyword {
    /// An integer.
    Integer(i64),
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
}

impl Keyword {
    /// The number, if it is one.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Integer(value) => Some(*value as f64),
            Self::Number(value) => Some(*value),
            Self::Text(_) => None,
        }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Integer(_) | Self::Number(_) => None,
        }
    }
}

/// What is wrong: the key below `field.image`, and the problem with its mend.
type Wrong = (String, String);

fn wrong<T>(key: impl Into<String>, problem: impl Into<String>) -> Result<T, Wrong> {
    Err((key.into(), problem.into()))
}

impl Image {
    /// Side of a pixel in arcsec, as given or from the WCS: the root of a
    /// pixel's area.
    #[must_use]
    pub fn scale_arcsec(&self) -> Option<f64> {
        let area = self.wcs.as_ref().and_then(pixel_area);
        self.pixel_scale_arcsec.or_else(|| area.map(|area| area.sqrt() * 3600.0))
    }

    /// Checks every value; `bands` are the campaign's.
    ///
    /// # Errors
    /// Key and problem.
    pub(super) fn check(&self, bands: &[String]) -> Result<(), Wrong> {
        for (key, value, what) in [
            ("pixel_scale_arcsec", self.pixel_scale_arcsec, "the side of a pixel"),
            ("psf_fwhm_arcsec", self.psf_fwhm_arcsec, "the width of the PSF"),
        ] {
            if value.is_some_and(|v| !(v > 1e-6 && v < 3600.0)) {
                return wrong(key, format!("must be {what} in arcsec, above 1e-6 and below 3600"));
            }
        }
        if let Some(rgb) = &self.rgb {
            if let Some(band) = rgb.iter().find(|band| !bands.contains(band)) {
                return wrong("rgb", format!("`{band}` is not among `bands`: name three of them"));
            }
            if rgb[0] == rgb[1] || rgb[0] == rgb[2] || rgb[1] == rgb[2] {
                return wrong("rgb", "name three different bands, red first");
            }
        }
        let Some(wcs) = &self.wcs else { return Ok(()) };
        check_wcs(wcs)?;
        let from_wcs = pixel_area(wcs).map_or(f64::NAN, |area| area.sqrt() * 3600.0);
        if let Some(given) = self.pixel_scale_arcsec
            && (given / from_wcs - 1.0).abs() > SCALE_TOLERANCE
        {
            return wrong(
                "pixel_scale_arcsec",
                format!("is {given}, but the pixels of `wcs` are {from_wcs} arcsec: leave it out"),
            );
        }
        Ok(())
    }
}

fn check_wcs(wcs: &BTreeMap<String, Keyword>) -> Result<(), Wrong> {
    let at = |key: &str| format!("wcs.{key}");
    for (key, value) in wcs {
        let is_parameter = key.strip_prefix("PV").is_some_and(|rest| {
            rest.split_once('_').is_some_and(|(axis, term)| {
                ["1", "2"].contains(&axis) && term.parse::<u8>().is_ok_and(|term| term < 100)
            })
        });
        if TEXTS.contains(&key.as_str()) {
            let Keyword::Text(text) = value else { return wrong(at(key), "must be a text") };
            let printable = text.bytes().all(|b| (b' '..=b'~').contains(&b));
            if !printable || text.len() > 60 {
                return wrong(at(key), "must be at most 60 ASCII characters");
            }
        } else if NUMBERS.contains(&key.as_str()) || is_parameter {
            if !value.number().is_some_and(f64::is_finite) {
                return wrong(at(key), "must be a finite number");
            }
        } else {
            let known = NUMBERS.join(", ");
            return wrong(
                at(key),
                format!(
                    "is none of {}, {known}, PV<axis>_<term>: leave it out. Distortions (SIP, TPV \
                     tables) are not supported: use pixels of a rectified image",
                    TEXTS.join(", ")
                ),
            );
        }
    }
    if let Some(key) = NEEDED.into_iter().find(|key| !wcs.contains_key(*key)) {
        return wrong(at(key), "is needed: copy it from the header of the image");
    }
    let text = |key: &str| wcs.get(key).and_then(Keyword::text).unwrap_or_default();
    let (first, second) = (text("CTYPE1"), text("CTYPE2"));
    for (key, kind) in [("CTYPE1", first), ("CTYPE2", second)] {
        let parts = (kind.get(..4), kind.get(4..5), kind.get(5..8), kind.len());
        let (Some(axis), Some("-"), Some(projection), 8) = parts else {
            return wrong(
                at(key),
                format!("is `{kind}`: must be 8 characters, such as RA---TAN and DEC--TAN"),
            );
        };
        if !AXES.iter().any(|(longitude, latitude)| [longitude, latitude].contains(&&axis)) {
            return wrong(at(key), format!("`{axis}` is no celestial axis: RA--, DEC-, GLON, ..."));
        }
        if !PROJECTIONS.contains(&projection) {
            let known = PROJECTIONS.join(", ");
            return wrong(at(key), format!("`{projection}` is no projection of FITS: {known}"));
        }
    }
    let axes = (&first[..4], &second[..4]);
    let is_pair = AXES.iter().any(|&(a, b)| axes == (a, b) || axes == (b, a));
    if first[5..] != second[5..] || !is_pair {
        return wrong(
            at("CTYPE2"),
            format!(
                "`{first}` and `{second}` are no pair of axes: longitude and latitude of one \
                 system, in one projection"
            ),
        );
    }
    for key in ["CUNIT1", "CUNIT2"] {
        if !["", "deg"].contains(&text(key).trim()) {
            return wrong(at(key), "must be deg");
        }
    }
    if wcs.get("WCSAXES").is_some_and(|axes| axes.number() != Some(2.0)) {
        return wrong(at("WCSAXES"), "must be 2: leave out other axes");
    }
    let has = |prefix: &str| wcs.keys().any(|key| key.starts_with(prefix));
    if has("CD1_") || has("CD2_") {
        if let Some(other) = ["PC1_", "PC2_", "CDELT", "CROTA"].into_iter().find(|p| has(p)) {
            let problem = format!("excludes {other}: keep one of the two");
            return wrong(at("CD1_1"), problem);
        }
    } else if !(wcs.contains_key("CDELT1") && wcs.contains_key("CDELT2")) {
        return wrong(at("CD1_1"), "give CD1_1, CD1_2, CD2_1, CD2_2, or CDELT1 and CDELT2");
    }
    let area = pixel_area(wcs).unwrap_or(0.0);
    if !(area.is_finite() && area > (1e-6 / 3600.0f64).powi(2) && area < 1.0) {
        return wrong("wcs", format!("its pixels have an area of {area} square degrees"));
    }
    Ok(())
}

/// Area of a pixel at the reference point, in square degrees.
fn pixel_area(wcs: &BTreeMap<String, Keyword>) -> Option<f64> {
    let number = |key: &str| wcs.get(key).and_then(Keyword::number);
    let or = |key: &str, value: f64| number(key).unwrap_or(value);
    if wcs.keys().any(|key| key.starts_with("CD1_") || key.starts_with("CD2_")) {
        let [a, b, c, d] = ["CD1_1", "CD1_2", "CD2_1", "CD2_2"].map(|key| or(key, 0.0));
        return Some((a * d - b * c).abs());
    }
    let scale = number("CDELT1")? * number("CDELT2")?;
    let turn = or("PC1_1", 1.0) * or("PC2_2", 1.0) - or("PC1_2", 0.0) * or("PC2_1", 0.0);
    Some((scale * turn).abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAN: &str = "[wcs]\nCTYPE1 = \"RA---TAN\"\nCTYPE2 = \"DEC--TAN\"\nCRPIX1 = 10.5\n\
                       CRPIX2 = 3\nCRVAL1 = 53.1\nCRVAL2 = -27.8\n";
    const CD: &str = "CD1_1 = -8.333333e-6\nCD1_2 = 0\nCD2_1 = 0\nCD2_2 = 8.333333e-6\n";

    fn check(text: &str) -> Result<Image, String> {
        let image: Image = toml::from_str(text).map_err(|e| e.to_string())?;
        let bands = ["a", "b", "c"].map(str::to_owned);
        image.check(&bands).map_err(|(key, problem)| format!("{key}: {problem}"))?;
        Ok(image)
    }

    #[test]
    fn the_pixel_scale_comes_from_the_wcs() {
        let image = check(&format!("{TAN}{CD}")).unwrap();
        assert!((image.scale_arcsec().unwrap() - 0.03).abs() < 1e-7);
        // Turned by 30 degrees, as PC and CDELT.
        let turned = "CDELT1 = -1e-5\nCDELT2 = 1e-5\nPC1_1 = 0.8660254\nPC1_2 = -0.5\n\
                      PC2_1 = 0.5\nPC2_2 = 0.8660254\n";
        let image = check(&format!("{TAN}{turned}")).unwrap();
        assert!((image.scale_arcsec().unwrap() - 0.036).abs() < 1e-8);
        assert_eq!(check("pixel_scale_arcsec = 0.06").unwrap().scale_arcsec(), Some(0.06));
        assert_eq!(check("").unwrap().scale_arcsec(), None);
        check(&format!("pixel_scale_arcsec = 0.03\n{TAN}{CD}")).unwrap();
        for (first, second) in [("DEC-", "RA--"), ("GLON", "GLAT"), ("ELAT", "ELON")] {
            let axes = TAN.replace("DEC--TAN", "second").replace("RA--", first);
            let axes = axes.replace("second", &format!("{second}-TAN"));
            check(&format!("{axes}{CD}")).unwrap();
        }
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let all = format!("{TAN}{CD}");
        for (text, named) in [
            ("pixel_scale_arcsec = 0".to_owned(), "pixel_scale_arcsec: must be the side"),
            ("psf_fwhm_arcsec = nan".to_owned(), "psf_fwhm_arcsec: must be the width"),
            ("rgb = [\"a\", \"b\", \"x\"]".to_owned(), "rgb: `x` is not among"),
            ("rgb = [\"a\", \"b\", \"a\"]".to_owned(), "rgb: name three different"),
            ("scale = 1".to_owned(), "scale"),
            (TAN.to_owned(), "wcs.CD1_1: give"),
            (format!("{all}CDELT1 = 1"), "wcs.CD1_1: excludes CDELT"),
            (format!("{all}A_ORDER = 3"), "wcs.A_ORDER: is none of"),
            (format!("{all}CUNIT1 = \"arcsec\""), "wcs.CUNIT1: must be deg"),
            (format!("{all}WCSAXES = 3"), "wcs.WCSAXES: must be 2"),
            (format!("{all}EQUINOX = \"J2000\""), "wcs.EQUINOX: must be a finite number"),
            (format!("{all}RADESYS = 3"), "wcs.RADESYS: must be a text"),
            (all.replace("DEC--TAN", "DEC--SIN"), "wcs.CTYPE2: `RA---TAN` and `DEC--SIN` are no"),
            (all.replace("DEC--TAN", "GLAT-TAN"), "wcs.CTYPE2: `RA---TAN` and `GLAT-TAN` are no"),
            (all.replace("DEC--TAN", "RA---TAN"), "wcs.CTYPE2: `RA---TAN` and `RA---TAN` are no"),
            (all.replace("-TAN", "-WOW"), "wcs.CTYPE1: `WOW` is no projection of FITS: AZP"),
            (all.replace("DEC--TAN", "FREQ----"), "wcs.CTYPE2: `FREQ` is no celestial"),
            (all.replace("RA---TAN", "RA---TAN-SIP"), "wcs.CTYPE1: is `RA---TAN-SIP`"),
            (all.replace("RA---TAN", "R\u{c4}---TAN"), "wcs.CTYPE1: must be at most 60 ASCII"),
            (all.replace("CRPIX1", "CDELT9"), "wcs.CDELT9: is none of"),
            (all.replace("CRVAL1 = 53.1\n", ""), "wcs.CRVAL1: is needed"),
            (all.replace("CD2_2 = 8.333333e-6", "CD2_2 = 0"), "wcs: its pixels have an area of 0"),
            (format!("pixel_scale_arcsec = 0.06\n{all}"), "pixel_scale_arcsec: is 0.06, but"),
        ] {
            let error = check(&text).unwrap_err();
            // The key first, whole; of what is no key at all the parser speaks.
            let parser = named == "scale" && error.contains("unknown field `scale`");
            assert!(error.starts_with(named) || parser, "{named}: {error}");
        }
    }
}
