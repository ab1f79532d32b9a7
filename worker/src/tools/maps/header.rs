//! Headers of the FITS maps: what they are of, and where their pixels lie.

use super::{Galaxy, Mapper, Pixels, Scales};
use outshine_catalogue::shape::HalfMass;
use outshine_figures::fits::Header;
use outshine_figures::frame::Frame;
use outshine_schemas::campaign::{Image, Keyword};
use outshine_schemas::{CODE_VERSION, flags};

/// What stands in the primary header.
pub fn primary(
    mapper: &Mapper,
    galaxy: &Galaxy,
    pixels: &Pixels,
    scales: &Scales,
    half_mass: Option<HalfMass>,
) -> Header {
    let mut header = Header::default();
    header.text("CREATOR", &format!("outshine {CODE_VERSION}"), "what made this file");
    header.text("OBJECT", &galaxy.galaxy_id.to_string(), "galaxy");
    header.integer("GALAXY", galaxy.galaxy_id, "galaxy_id of the catalogue");
    header.text("CAMPAIGN", &mapper.campaign, "");
    header.text("MODEL", &mapper.model, "");
    let origin = galaxy.redshift.map_or("unknown", |(_, origin)| origin.name());
    if let Some((redshift, _)) = galaxy.redshift {
        header.number("REDSHIFT", redshift, "redshift of the galaxy");
    }
    header.text("ZORIGIN", origin, "known, fitted or given (medians)");
    let sky = &scales.sky;
    for (key, value, comment) in [
        ("PIXSCALE", sky.pixel_arcsec, "[arcsec] side of a pixel"),
        ("PSFFWHM", sky.psf_fwhm_arcsec, "[arcsec] width of the PSF"),
        ("KPCSCALE", sky.kpc_per_arcsec, "[kpc/arcsec] flat, H0 = 70, Om = 0.3"),
        ("PIXAREA", scales.pixel_kpc2, "[kpc2] proper area of a pixel"),
    ] {
        if let Some(value) = value {
            header.number(key, value, comment);
        }
    }
    header.integer("NPIXELS", pixels.x.len() as i64, "pixels of the galaxy");
    header.integer("NFITTED", pixels.fitted() as i64, "of these, fitted");
    if let Some(half) = half_mass {
        header.integer("XPEAK", half.x.into(), "x of the pixel of the highest mass");
        header.integer("YPEAK", half.y.into(), "its y");
        header.number("RHALF", half.radius_px, "[pixel] half-mass radius about it");
    }
    for (bit, name, meaning) in flags::ALL {
        // What a line can hold of the meaning beside the name.
        let room = 60usize.saturating_sub(name.len());
        let meaning: String = meaning.chars().take(room).collect();
        header.text(&format!("FLAG{}", bit.trailing_zeros()), name, &meaning);
    }
    header
}

/// Where the pixels of an extension lie: on the sky, where that is known, and in
/// the field, as the alternate system P and for want of another.
pub fn position(image: &Image, frame: &Frame) -> Header {
    let mut header = Header::default();
    let first = [f64::from(frame.x0), f64::from(frame.y0)];
    for (key, value) in image.wcs.iter().flatten() {
        // The reference pixel counts from the frame's first.
        let start = match key.as_str() {
            "CRPIX1" => first[0],
            "CRPIX2" => first[1],
            _ => 0.0,
        };
        match value {
            Keyword::Text(text) => header.text(key, text, ""),
            Keyword::Integer(value) if start == 0.0 => header.integer(key, *value, ""),
            Keyword::Integer(value) => header.number(key, *value as f64 - start, ""),
            Keyword::Number(value) => header.number(key, value - start, ""),
        }
    }
    let systems: &[&str] = if image.wcs.is_some() { &["P"] } else { &["", "P"] };
    for system in systems {
        header.text(&format!("WCSNAME{system}"), "FIELD", "x and y of the pixel table");
        for (axis, name, start) in [(1, "x", first[0]), (2, "y", first[1])] {
            header.text(&format!("CTYPE{axis}{system}"), name, "");
            header.number(&format!("CRPIX{axis}{system}"), 1.0, "");
            header.number(&format!("CRVAL{axis}{system}"), start, "");
            header.number(&format!("CDELT{axis}{system}"), 1.0, "");
        }
    }
    header
}
