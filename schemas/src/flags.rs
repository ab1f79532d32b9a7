//! Why a pixel or a galaxy has no number, or one to be careful with.
//! A column `flags` is the sum of the bits that apply; 0 means all is well.
//! A pixel is fitted unless it has a bit of [`NOT_FITTED`].

/// A flux or an error that cannot be used (negative or infinite error, flux
/// that is no number): the pixel is not fitted.
pub const INVALID_INPUT: u32 = 1;
/// Mean S/N below the campaign's limit: the pixel is not fitted.
pub const LOW_SNR: u32 = 2;
/// No redshift is known, and the model cannot fit it: not fitted.
pub const NO_REDSHIFT: u32 = 4;
/// The redshift lies outside the range that the model was trained on: not fitted.
pub const REDSHIFT_OUT_OF_RANGE: u32 = 8;
/// Fewer bands observed than the model was trained to expect: not fitted.
pub const TOO_FEW_BANDS: u32 = 16;
/// Galaxy: no pixel was fitted, so there is no mass.
pub const NO_FITTED_PIXELS: u32 = 32;
/// Galaxy: some member pixels were left out of the resolved mass.
pub const PIXELS_LEFT_OUT: u32 = 64;
/// Galaxy: a band that only some of the fitted pixels have was left out of
/// the integrated photometry.
pub const PARTIAL_BANDS: u32 = 128;
/// Galaxy: the redshift is not known and was fitted along.
pub const REDSHIFT_FITTED: u32 = 256;
/// The fluxes lie further from what their own fit predicts than those of
/// nearly all simulations: the object is not one of those that the model was
/// trained on, or a band is wrong. It is fitted and summed all the same.
pub const ATYPICAL: u32 = 512;
/// Galaxy: a distribution of its redshift was given and used.
pub const REDSHIFT_GIVEN: u32 = 1024;
/// Galaxy: a task that some of its pixels, or the galaxy itself, belong to has
/// failed, so that it has no mass; `outshine retry` tries it again.
pub const TASK_FAILED: u32 = 2048;

/// Bits of a pixel that was not fitted.
pub const NOT_FITTED: u32 =
    INVALID_INPUT | LOW_SNR | NO_REDSHIFT | REDSHIFT_OUT_OF_RANGE | TOO_FEW_BANDS;

/// Every bit with its name and meaning, in order.
pub const ALL: [(u32, &str, &str); 12] = [
    (INVALID_INPUT, "INVALID_INPUT", "a flux or error of the pixel is unusable"),
    (LOW_SNR, "LOW_SNR", "mean S/N below the limit"),
    (NO_REDSHIFT, "NO_REDSHIFT", "redshift unknown"),
    (REDSHIFT_OUT_OF_RANGE, "REDSHIFT_OUT_OF_RANGE", "redshift outside the trained range"),
    (TOO_FEW_BANDS, "TOO_FEW_BANDS", "too few bands observed"),
    (NO_FITTED_PIXELS, "NO_FITTED_PIXELS", "no pixel of the galaxy was fitted"),
    (PIXELS_LEFT_OUT, "PIXELS_LEFT_OUT", "some pixels of the galaxy were not fitted"),
    (PARTIAL_BANDS, "PARTIAL_BANDS", "bands observed in part of the galaxy were not summed"),
    (REDSHIFT_FITTED, "REDSHIFT_FITTED", "the redshift was fitted along"),
    (ATYPICAL, "ATYPICAL", "unlike anything that the model was trained on"),
    (REDSHIFT_GIVEN, "REDSHIFT_GIVEN", "a given distribution of the redshift was used"),
    (TASK_FAILED, "TASK_FAILED", "a task of the galaxy failed; `outshine retry` repeats it"),
];

/// The names of the bits in `flags`, joined by `|`; empty for 0.
#[must_use]
pub fn names(flags: u32) -> String {
    let names: Vec<&str> =
        ALL.iter().filter(|(bit, _, _)| flags & bit != 0).map(|(_, name, _)| *name).collect();
    names.join("|")
}

/// What a column `flags` says, bit by bit: its description in every format.
#[must_use]
pub fn description() -> String {
    let bits: Vec<String> =
        ALL.iter().map(|(bit, name, meaning)| format!("{bit} {name}: {meaning}")).collect();
    format!("sum of the bits that apply, 0: all is well; {}", bits.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_distinct_and_named() {
        assert!(ALL.iter().enumerate().all(|(i, (bit, _, _))| *bit == 1 << i));
        let description = description();
        assert!(ALL.iter().all(|(bit, name, _)| description.contains(&format!("{bit} {name}:"))));
        assert_eq!(names(0), "");
        assert_eq!(names(NO_REDSHIFT | NO_FITTED_PIXELS), "NO_REDSHIFT|NO_FITTED_PIXELS");
    }
}
