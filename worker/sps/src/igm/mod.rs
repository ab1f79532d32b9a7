//! Absorption by intergalactic hydrogen: the mean over sight lines, by the
//! models of Inoue et al. (2014) and of Madau (1995).
//!
//! Line j of the Lyman series absorbs where lambda_j < lambda_obs <
//! lambda_j (1 + z), by an amount that depends on lambda_obs alone; so the
//! series is tabulated once over lambda_obs for "the first k lines". The Lyman
//! continuum depends on lambda_obs and z and is computed as it is needed.

mod inoue;
mod madau;

pub use inoue::inoue_transmission;
pub use madau::madau_transmission;

use outshine_kernels::{lanes, scalar};
use serde::{Deserialize, Serialize};

/// Wavelength of the Lyman limit in the fits of Inoue et al., Angstrom.
pub const LYMAN_LIMIT_ANGSTROM: f64 = 911.8;
/// Wavelength of Lyman alpha, Angstrom.
pub const LYMAN_ALPHA_ANGSTROM: f64 = 1215.67;

/// Absorption by the intergalactic medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum IgmModel {
    /// Inoue et al. (2014).
    #[default]
    Inoue,
    /// Madau (1995), as FSPS has it.
    Madau,
    /// None.
    None,
}

/// Mean transmission of a model at rest wavelength `rest_angstrom` for a
/// source at redshift `z`: the slow, direct form.
#[must_use]
pub fn transmission(model: IgmModel, rest_angstrom: f64, z: f64) -> f64 {
    match model {
        IgmModel::Inoue => inoue_transmission(rest_angstrom, z),
        IgmModel::Madau => madau_transmission(rest_angstrom, z),
        IgmModel::None => 1.0,
    }
}

/// The same, tabulated for many wavelengths at once.
pub struct IgmTable {
    model: IgmModel,
    lines: usize,
    ln_first: f64,
    ln_step: f64,
    nodes: usize,
    /// (lines, nodes): optical depth of the first k + 1 lines at each node.
    depth: Vec<f32>,
}

impl IgmTable {
    /// A table for observed wavelengths of `least_angstrom` and up, redshifts
    /// up to `z_max`, nodes `ln_step` apart in ln(wavelength).
    #[must_use]
    pub fn new(model: IgmModel, least_angstrom: f64, z_max: f64, ln_step: f64) -> Self {
        let ln_first = scalar::ln(least_angstrom);
        let ln_last = scalar::ln(LYMAN_ALPHA_ANGSTROM * (1.0 + z_max));
        let nodes = ((ln_last - ln_first) / ln_step).max(0.0) as usize + 3;
        let lines = match model {
            IgmModel::Inoue => inoue::SERIES.len(),
            IgmModel::Madau => madau::SERIES.len(),
            IgmModel::None => 0,
        };
        let mut depth = vec![0.0f32; lines * nodes];
        for node in 0..nodes {
            let observed = scalar::exp(ln_first + node as f64 * ln_step);
            let mut sum = 0.0;
            for k in 0..lines {
                sum += match model {
                    IgmModel::Inoue => {
                        let line = &inoue::SERIES[k];
                        inoue::line_depth(line, observed / line[0])
                    }
                    IgmModel::Madau => madau::line_depth(k, observed / madau::SERIES[k][0]),
                    IgmModel::None => 0.0,
                };
                depth[k * nodes + node] = sum as f32;
            }
        }
        Self { model, lines, ln_first, ln_step, nodes, depth }
    }

    /// Number of Lyman lines redward of a rest wavelength; a model with fewer
    /// lines counts those it has.
    #[must_use]
    pub fn lines_redward(rest_angstrom: f64) -> usize {
        inoue::SERIES.iter().take_while(|line| rest_angstrom < line[0]).count()
    }

    fn series(&self, ln_observed: f64, lines: usize) -> f64 {
        let lines = lines.min(self.lines);
        if lines == 0 {
            return 0.0;
        }
        let position = ((ln_observed - self.ln_first) / self.ln_step).max(0.0);
        let node = (position as usize).min(self.nodes - 2);
        let part = (position - node as f64).min(1.0);
        let row = &self.depth[(lines - 1) * self.nodes..];
        f64::from(row[node]) * (1.0 - part) + f64::from(row[node + 1]) * part
    }

    /// Multiplies `spectrum` by the mean transmission at redshift `z`.
    ///
    /// `ln_rest`: ln of the rest wavelengths in Angstrom; `lines`:
    /// [`IgmTable::lines_redward`] of each; both as long as `spectrum`.
    pub fn absorb(&self, z: f64, ln_rest: &[f64], lines: &[u8], spectrum: &mut [f32]) {
        assert!(ln_rest.len() == spectrum.len() && lines.len() == spectrum.len());
        match self.model {
            IgmModel::Inoue => {
                let continuum = inoue::Continuum::new(z);
                let ln_limit = scalar::ln(LYMAN_LIMIT_ANGSTROM);
                self.apply(z, ln_limit, |ln_x| continuum.depth(ln_x), ln_rest, lines, spectrum);
            }
            IgmModel::Madau => {
                let continuum = madau::Continuum::new(z);
                let ln_limit = scalar::ln(madau::LIMIT_ANGSTROM);
                self.apply(z, ln_limit, |ln_x| continuum.depth(ln_x), ln_rest, lines, spectrum);
            }
            IgmModel::None => {}
        }
    }

    /// `continuum`: optical depth of the Lyman continuum by ln(lambda_obs / limit).
    fn apply(
        &self,
        z: f64,
        ln_limit: f64,
        continuum: impl Fn(f64) -> f64,
        ln_rest: &[f64],
        lines: &[u8],
        spectrum: &mut [f32],
    ) {
        let ln_one_plus_z = scalar::ln_1p(z);
        for ((value, &ln_rest), &lines) in spectrum.iter_mut().zip(ln_rest).zip(lines) {
            let ln_observed = ln_rest + ln_one_plus_z;
            let mut depth = self.series(ln_observed, usize::from(lines));
            if ln_rest < ln_limit {
                depth += continuum(ln_observed - ln_limit);
            }
            *value *= lanes::exp_f32(-depth as f32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_matches_the_direct_form() {
        let step = 0.001;
        for model in [IgmModel::Inoue, IgmModel::Madau, IgmModel::None] {
            let table = IgmTable::new(model, 3000.0, 15.0, step);
            for z in [0.3, 1.5, 3.0, 4.0, 5.5, 7.4, 14.0] {
                for rest in [1210.0, 1100.0, 1000.0, 960.0, 920.0, 913.0, 900.0, 850.0, 700.0] {
                    if rest * (1.0 + z) < 3000.0 {
                        continue;
                    }
                    let lines = IgmTable::lines_redward(rest) as u8;
                    let mut value = [1.0f32];
                    table.absorb(z, &[rest.ln()], &[lines], &mut value);
                    let direct = transmission(model, rest, z);
                    // Inoue's series jumps by up to a few percent where a line's power law
                    // changes; between nodes the table draws that as a ramp.
                    let off = (f64::from(value[0]) - direct).abs();
                    let tolerance = if model == IgmModel::Inoue { 2e-3 } else { 2e-5 };
                    assert!(off < tolerance, "{model:?} {z} {rest}: {off}");
                }
            }
        }
    }

    /// Two independent descriptions of the same sky.
    #[test]
    fn models_agree_roughly() {
        for z in [3.0, 4.0, 5.0] {
            for rest in [1200.0, 1150.0, 1100.0, 1050.0] {
                let inoue = transmission(IgmModel::Inoue, rest, z);
                let madau = transmission(IgmModel::Madau, rest, z);
                // 0.035 at z = 3, less at z = 4 and 5.
                assert!((inoue - madau).abs() < 0.04, "{z} {rest}: {inoue} {madau}");
            }
        }
        // The newer model has fewer optically thick clouds: at z = 3 and 880 A it
        // lets 0.44 of the light through, the older one 0.16.
        let (inoue, madau) =
            (transmission(IgmModel::Inoue, 880.0, 3.0), transmission(IgmModel::Madau, 880.0, 3.0));
        assert!(inoue > madau + 0.2, "{inoue} {madau}");
    }

    #[test]
    fn settings_have_names() {
        for (model, name) in
            [(IgmModel::Inoue, "inoue"), (IgmModel::Madau, "madau"), (IgmModel::None, "none")]
        {
            assert_eq!(serde_json::to_string(&model).unwrap(), format!("\"{name}\""));
        }
    }
}
