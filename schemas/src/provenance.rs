//! Where a table comes from: keys of a file's metadata, in every format.

/// A key, its keyword in FITS headers, and its meaning.
pub type Key = (&'static str, &'static str, &'static str);

/// Campaign that the table belongs to.
pub const CAMPAIGN: &str = "outshine.campaign";
/// Digest of all that decides the campaign's results.
pub const CAMPAIGN_DIGEST: &str = "outshine.campaign_digest";
/// SHA-256 of the table of pixels.
pub const PIXELS: &str = "outshine.pixels";
/// SHA-256 of the table of sources.
pub const SOURCES: &str = "outshine.sources";
/// SHA-256 of the table of redshift distributions.
pub const REDSHIFTS: &str = "outshine.redshifts";
/// SHA-256 of the model.
pub const MODEL: &str = "outshine.model";
/// Reference frame of right ascensions and declinations, as FITS calls it.
pub const FRAME: &str = "outshine.radesys";

/// Every key that a table may have, in the order in which formats list them.
pub const KEYS: [Key; 17] = [
    (crate::tables::TABLE_KEY, "TABLEVER", "kind and version of the table"),
    (CAMPAIGN, "CAMPAIGN", "campaign"),
    (CAMPAIGN_DIGEST, "CAMPSHA", "digest of all that decides the campaign's results"),
    (PIXELS, "PIXSHA", "SHA-256 of the table of pixels"),
    (SOURCES, "SRCSHA", "SHA-256 of the table of sources"),
    (REDSHIFTS, "REDSHSHA", "SHA-256 of the table of redshift distributions"),
    (MODEL, "MODELSHA", "SHA-256 of the model"),
    ("outshine.draws", "NDRAWS", "draws per pixel"),
    ("outshine.ssp_library", "SSPLIB", "library of simple stellar populations"),
    ("outshine.ssp_library_digest", "SSPSHA", "SHA-256 of that library"),
    ("outshine.prior", "PRIOR", "prior"),
    ("outshine.coverage", "COVERAGE", "depths and bands that the model was trained for"),
    ("outshine.model_options", "MODELOPT", "options of the forward model"),
    ("outshine.code_version", "CODEVER", "version of the code"),
    ("outshine.science_version", "SCIVER", "version of the science"),
    (FRAME, "RADESYS", "reference frame of ra and dec"),
    ("outshine.galaxy_id", "GALAXYID", "galaxy that all rows belong to"),
];

/// Of these, what a model is made from and for: every table that is made with
/// it says the same.
pub const OF_MODEL: [&str; 5] = [
    "outshine.ssp_library",
    "outshine.ssp_library_digest",
    "outshine.prior",
    "outshine.coverage",
    "outshine.model_options",
];

#[cfg(test)]
mod tests {
    use super::{KEYS, OF_MODEL};
    use std::collections::BTreeSet;

    #[test]
    fn keywords_are_distinct_and_fit_a_fits_header() {
        let words: BTreeSet<&str> = KEYS.iter().map(|key| key.1).collect();
        assert_eq!(words.len(), KEYS.len());
        assert!(OF_MODEL.iter().all(|key| KEYS.iter().any(|known| known.0 == *key)));
        assert!(words.iter().all(|word| {
            word.len() <= 8 && word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
        }));
    }
}
