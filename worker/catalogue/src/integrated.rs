//! Photometry of a galaxy as one object: fluxes of the fitted pixels summed,
//! errors in quadrature.

/// Sums of one band over pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BandSum {
    /// Sum of fluxes, in nJy.
    pub flux_njy: f64,
    /// Sum of squared errors, in nJy^2.
    pub variance: f64,
    /// Pixels observed in the band.
    pub observed: u32,
}

impl BandSum {
    /// Adds a pixel; an error of 0 means that the band was not observed.
    pub fn add_pixel(&mut self, flux_njy: f32, err_njy: f32) {
        if err_njy > 0.0 {
            self.flux_njy += f64::from(flux_njy);
            self.variance += f64::from(err_njy) * f64::from(err_njy);
            self.observed += 1;
        }
    }

    /// Adds another sum.
    pub fn add(&mut self, other: &Self) {
        self.flux_njy += other.flux_njy;
        self.variance += other.variance;
        self.observed += other.observed;
    }
}

/// Photometry of a galaxy of `pixels` fitted pixels: flux and error per band,
/// both 0 where the band is not used, and whether a band was dropped because
/// only some of the pixels have it (their sum would be the flux of a part).
#[must_use]
pub fn photometry(bands: &[BandSum], pixels: u32) -> (Vec<f32>, Vec<f32>, bool) {
    let mut dropped = false;
    let mut flux = vec![0.0; bands.len()];
    let mut err = vec![0.0; bands.len()];
    for (i, band) in bands.iter().enumerate() {
        if band.observed == pixels && pixels > 0 {
            flux[i] = band.flux_njy as f32;
            err[i] = band.variance.sqrt() as f32;
        } else if band.observed > 0 {
            dropped = true;
        }
    }
    (flux, err, dropped)
}

/// Adds a systematic error, a fraction of the flux, in quadrature to the
/// errors of the observed bands.
pub fn add_systematic(flux: &[f32], err: &mut [f32], fraction: f64) {
    for (flux, err) in flux.iter().zip(err) {
        if fraction > 0.0 && *err > 0.0 {
            let (own, more) = (f64::from(*err), fraction * f64::from(*flux));
            *err = (own * own + more * more).sqrt() as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_systematic_error_is_a_part_of_the_flux() {
        let flux = [30.0, -40.0, 5.0];
        let mut err = [4.0, 0.3, 0.0];
        add_systematic(&flux, &mut err, 0.0);
        assert_eq!(err, [4.0, 0.3, 0.0]);
        add_systematic(&flux, &mut err, 0.1);
        assert_eq!(err[0], 5.0);
        assert!((f64::from(err[1]) - (16.0f64 + 0.09).sqrt()).abs() < 1e-6);
        assert_eq!(err[2], 0.0, "not observed");
    }

    #[test]
    fn a_band_counts_only_where_every_pixel_has_it() {
        let mut bands = [BandSum::default(); 3];
        for i in 0..4 {
            bands[0].add_pixel(2.0, 3.0);
            bands[1].add_pixel(1.0, if i == 0 { 0.0 } else { 1.0 });
        }
        let (flux, err, dropped) = photometry(&bands, 4);
        assert_eq!(flux, [8.0, 0.0, 0.0]);
        assert_eq!(err, [6.0, 0.0, 0.0]);
        assert!(dropped);
        assert!(!photometry(&bands[..1], 4).2);
    }
}
