//! The light of a population, wavelength bin by wavelength bin.

use super::{Components, ForwardModel, Population, Workspace, flux_per_luminosity};
use crate::cosmology;
use crate::error::SpsError;
use crate::gas::sum_lines;
use crate::igm::{self, LYMAN_ALPHA_ANGSTROM};
use crate::sfh::Parameters;
use outshine_kernels::{scalar, wide};

/// Where a spectrum is seen from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// At the galaxy: L_lambda, Lsun per Angstrom, no IGM.
    Rest,
    /// By the observer: f_lambda, erg/s/cm^2/Angstrom, IGM included.
    Observed,
}

/// A spectrum in bins of wavelength; lines are spread over the bin they lie in.
#[derive(Clone, Debug, PartialEq)]
pub struct Spectrum {
    /// (bins) centres in Angstrom, in the frame of the spectrum.
    pub wave_angstrom: Vec<f64>,
    /// (bins) means, in the unit of the [`Frame`].
    pub density: Vec<f64>,
}

impl ForwardModel {
    /// The spectrum of one population, on the library's uniform bins.
    ///
    /// # Errors
    /// [`SpsError::OutOfRange`] when a parameter cannot be computed.
    pub fn spectrum(
        &self,
        p: &Parameters,
        components: Components,
        frame: Frame,
        w: &mut Workspace,
    ) -> Result<Spectrum, SpsError> {
        self.check_components(components)?;
        let population = self.population(p, &mut w.fractions)?;
        let (tail, waves) = (self.tail, w.spectrum.len());
        self.emerge(p.a_v, components, &population, (tail, waves), w);
        let mut density: Vec<f64> = w.spectrum[tail..].iter().map(|&v| f64::from(v)).collect();
        let edges = &self.library.arrays().wave_edges_angstrom[tail..];
        for (&line, &ln_rest) in w.lines.iter().zip(&self.line_ln) {
            let position = (ln_rest - self.ln_edge) / self.ln_step;
            if position >= 0.0 && (position as usize) < density.len() {
                let bin = position as usize;
                density[bin] += line / (edges[bin + 1] - edges[bin]);
            }
        }
        let mut wave_angstrom: Vec<f64> = edges.windows(2).map(|e| (e[0] * e[1]).sqrt()).collect();
        let mass = scalar::exp10(p.log_mass_formed);
        match frame {
            Frame::Rest => density.iter_mut().for_each(|v| *v *= mass),
            Frame::Observed => {
                let z = p.redshift;
                let comoving = cosmology::luminosity_distance_mpc(z) / (1.0 + z);
                let scale = mass * flux_per_luminosity(z, comoving);
                for (value, wave) in density.iter_mut().zip(&mut wave_angstrom) {
                    *value *= scale * igm::transmission(self.options.igm, *wave, p.redshift);
                    *wave *= 1.0 + p.redshift;
                }
            }
        }
        Ok(Spectrum { wave_angstrom, density })
    }

    /// What leaves the galaxy, per Msun formed: fills bins `low..high` of
    /// `w.spectrum` and all of `w.lines`. `w.fractions` holds the population's.
    pub(super) fn emerge(
        &self,
        a_v: f64,
        components: Components,
        population: &Population,
        (low, high): (usize, usize),
        w: &mut Workspace,
    ) {
        let waves = w.spectrum.len();
        let a_v = if components == Components::Stellar { 0.0 } else { a_v };
        let reemits = self.options.dust_emission && a_v > 0.0 && high > self.first_dust;
        // Energy balance needs all of the spectrum.
        let (from, to) = if reemits { (0, waves) } else { (low, high) };
        let has_gas = components == Components::Full;
        let young = match &self.screens.young {
            Some((ages, _)) if a_v > 0.0 => (*ages).min(population.ages),
            _ => 0,
        };
        let all = population.ages;
        let (fractions, weights) = (w.fractions.as_slice(), &mut w.weights);
        let spectrum = &mut w.spectrum[from..to];
        self.sum_ages(population, (young, all), has_gas, from..to, fractions, weights, spectrum);
        if has_gas {
            sum_lines(&self.gas, &fractions[..all], population.metal, &mut w.lines);
        } else {
            w.lines.fill(0.0);
        }
        if a_v == 0.0 {
            return;
        }
        let mut absorbed = 0.0;
        let strength = a_v as f32;
        let diffuse = &self.screens.diffuse.bins[from..to];
        absorbed += self.attenuate(spectrum, diffuse, strength, from, reemits);
        if let Some((_, screen)) = self.screens.young.as_ref().filter(|_| young > 0) {
            let inside = &mut w.young[from..to];
            self.sum_ages(population, (0, young), has_gas, from..to, fractions, weights, inside);
            absorbed += self.attenuate(inside, &screen.bins[from..to], strength, from, reemits);
            for (sum, young) in spectrum.iter_mut().zip(inside) {
                *sum += *young;
            }
        }
        for (line, &decay) in w.lines.iter_mut().zip(&self.screens.of_gas().lines) {
            let kept = f64::from(outshine_kernels::lanes::exp_f32(strength * decay));
            absorbed += *line * (1.0 - kept);
            *line *= kept;
        }
        if reemits {
            let template = &self.library.arrays().dust_emission;
            for (value, share) in w.spectrum[low..high].iter_mut().zip(&template[low..high]) {
                *value += absorbed as f32 * share;
            }
        }
    }

    /// Sums the SSPs of age bins `ages.0..ages.1` into `spectrum`: bins `range`.
    fn sum_ages(
        &self,
        population: &Population,
        ages: (usize, usize),
        has_gas: bool,
        range: std::ops::Range<usize>,
        fractions: &[f64],
        weights: &mut [f32],
        spectrum: &mut [f32],
    ) {
        let arrays = self.library.arrays();
        let (all_ages, waves) = (arrays.age_edges_gyr.len() - 1, self.width.len());
        spectrum.fill(0.0);
        for (z, weight) in population.metal {
            if weight == 0.0 {
                continue;
            }
            for (out, fraction) in weights.iter_mut().zip(&fractions[ages.0..ages.1]) {
                *out = (weight * fraction) as f32;
            }
            // The leading age bins with gas come from a table of their own.
            let split = if has_gas { self.gas.ages.clamp(ages.0, ages.1) } else { ages.0 };
            let young = split - ages.0;
            if young > 0 {
                let rows = &self.gas.young[(z * self.gas.ages + ages.0) * waves + range.start..];
                wide::weighted_sum(&weights[..young], rows, waves, spectrum);
            }
            if split < ages.1 {
                let rows = &arrays.stellar[(z * all_ages + split) * waves + range.start..];
                wide::weighted_sum(&weights[young..ages.1 - ages.0], rows, waves, spectrum);
            }
        }
    }

    /// Attenuates `spectrum`, whose first bin is bin `from`; returns the
    /// luminosity lost if that is asked for, else 0.
    fn attenuate(
        &self,
        spectrum: &mut [f32],
        decay: &[f32],
        a_v: f32,
        from: usize,
        balance: bool,
    ) -> f64 {
        let energy = |spectrum: &[f32]| -> f64 {
            let bins = spectrum.iter().zip(&self.width[from..]);
            bins.map(|(value, width)| f64::from(value * width)).sum()
        };
        let before = if balance { energy(spectrum) } else { 0.0 };
        wide::decay(spectrum, decay, a_v);
        if balance { (before - energy(spectrum)).max(0.0) } else { 0.0 }
    }

    /// Multiplies bins `low..high` of `w.spectrum` by the transmission of the IGM.
    pub(super) fn absorb(&self, z: f64, (low, high): (usize, usize), w: &mut Workspace) {
        let Some(igm) = &self.igm else { return };
        let first = low - self.tail;
        let last = (high - self.tail).min(self.igm_ln_rest.len());
        if first < last {
            igm.absorb(
                z,
                &self.igm_ln_rest[first..last],
                &self.igm_lines[first..last],
                &mut w.spectrum[self.tail + first..self.tail + last],
            );
        }
    }

    /// Transmission of the IGM at a line.
    pub(crate) fn line_transmission(&self, line: usize, z: f64) -> f64 {
        let wave = self.library.arrays().line_angstrom[line];
        if self.igm.is_none() || wave > LYMAN_ALPHA_ANGSTROM * (1.0 + 1e-6) {
            return 1.0;
        }
        // A Lyman line meets the gas in front of it: just blueward of itself.
        igm::transmission(self.options.igm, wave * (1.0 - 1e-6), z)
    }

    /// Transmission of the IGM over each uniform bin of the library at `z`,
    /// for bins `first..last` of them.
    pub(crate) fn transmission(&self, z: f64, first: usize, last: usize) -> Vec<f32> {
        let mut kept = vec![1.0; last - first];
        let end = last.min(self.igm_ln_rest.len());
        if let Some(igm) = self.igm.as_ref().filter(|_| first < end) {
            let (ln_rest, lines) = (&self.igm_ln_rest[first..end], &self.igm_lines[first..end]);
            igm.absorb(z, ln_rest, lines, &mut kept[..end - first]);
        }
        kept
    }
}
