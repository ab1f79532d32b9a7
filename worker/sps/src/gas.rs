//! Nebular emission: the gas around young stars takes their Lyman continuum
//! and gives lines and continuum instead.

use crate::error::SpsError;
use crate::igm::LYMAN_LIMIT_ANGSTROM;
use crate::library::SspLibrary;
use crate::model::ModelOptions;

/// Grids of one choice of emission: (metallicities, ages, waves), and lines.
pub(crate) struct Emission {
    /// (metallicities, `ages`, waves) for the leading age bins that differ
    /// from the bare stars; empty for the bare stars themselves.
    pub young: Vec<f32>,
    pub ages: usize,
    /// (metallicities, `ages`, lines) Lsun per Msun formed.
    pub lines: Vec<f32>,
}

/// Sums the lines of the age bins into `lines`, Lsun per Msun formed.
pub(crate) fn sum_lines(
    gas: &Emission,
    fractions: &[f64],
    metal: [(usize, f64); 2],
    lines: &mut [f64],
) {
    lines.fill(0.0);
    for (z, weight) in metal {
        for (age, &fraction) in fractions.iter().enumerate().take(gas.ages) {
            let mass = weight * fraction;
            if mass == 0.0 {
                continue;
            }
            let row = &gas.lines[(z * gas.ages + age) * lines.len()..][..lines.len()];
            for (sum, &light) in lines.iter_mut().zip(row) {
                *sum += mass * f64::from(light);
            }
        }
    }
}

/// Stars without their Lyman continuum plus gas, for the age bins that ionise.
pub(crate) fn gas_emission(
    library: &SspLibrary,
    options: &ModelOptions,
) -> Result<Emission, SpsError> {
    let a = library.arrays();
    let last = a.log_u.len() - 1;
    if !(options.log_u >= a.log_u[0] && options.log_u <= a.log_u[last]) {
        let problem = format!("{} is outside {} to {}", options.log_u, a.log_u[0], a.log_u[last]);
        return Err(SpsError::setting("log_u", problem));
    }
    let nebular_ages = a.nebular_age_edges_gyr.len() - 1;
    let oldest = a.nebular_age_edges_gyr[nebular_ages];
    let max_age = options.nebular_max_age_gyr;
    if !(max_age >= 0.0 && max_age <= oldest * (1.0 + 1e-9)) {
        let problem = format!("{max_age} Gyr is outside the nebular grid: 0 to {oldest} Gyr");
        return Err(SpsError::setting("nebular_max_age_gyr", problem));
    }
    let upper = a.log_u.partition_point(|&u| u <= options.log_u).clamp(1, last);
    let part = (options.log_u - a.log_u[upper - 1]) / (a.log_u[upper] - a.log_u[upper - 1]);
    let part = part as f32;

    let (metals, all_ages) = (a.metallicity.len(), a.age_edges_gyr.len() - 1);
    let (waves, lines) = (a.wave_edges_angstrom.len() - 1, a.line_angstrom.len());
    let ages = a.age_edges_gyr[..all_ages].iter().filter(|&&young| young < max_age).count();
    let mut emission = Emission {
        young: vec![0.0; metals * ages * waves],
        ages,
        lines: vec![0.0; metals * ages * lines],
    };
    let ionising = |j: usize| a.wave_edges_angstrom[j + 1] <= LYMAN_LIMIT_ANGSTROM * (1.0 + 1e-6);
    for z in 0..metals {
        for age in 0..ages {
            let (young, old) = (a.age_edges_gyr[age], a.age_edges_gyr[age + 1]);
            let share = (((max_age - young) / (old - young)).min(1.0)) as f32;
            let middle = 0.5 * (young + old);
            let bin = a.nebular_age_edges_gyr.partition_point(|&edge| edge <= middle) - 1;
            let bin = bin.min(nebular_ages - 1);
            let row = |grid: usize| ((grid * metals + z) * nebular_ages) + bin;
            let blend = |low: f32, high: f32| share * (low * (1.0 - part) + high * part);
            let stars = &a.stellar[(z * all_ages + age) * waves..][..waves];
            let low = &a.nebular_continuum[row(upper - 1) * waves..][..waves];
            let high = &a.nebular_continuum[row(upper) * waves..][..waves];
            let out = &mut emission.young[(z * ages + age) * waves..][..waves];
            for j in 0..waves {
                let kept = if ionising(j) { stars[j] * (1.0 - share) } else { stars[j] };
                out[j] = kept + blend(low[j], high[j]);
            }
            let low = &a.nebular_lines[row(upper - 1) * lines..][..lines];
            let high = &a.nebular_lines[row(upper) * lines..][..lines];
            let out = &mut emission.lines[(z * ages + age) * lines..][..lines];
            for (out, (low, high)) in out.iter_mut().zip(low.iter().zip(high)) {
                *out = blend(*low, *high);
            }
        }
    }
    Ok(emission)
}
