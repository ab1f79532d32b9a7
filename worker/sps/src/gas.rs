//! Nebular emission: the gas around young stars takes their Lyman continuum
//! and gives lines and continuum instead.
//!
//! What a library holds decides what can be asked of it, and the rest is
//! refused rather than ignored:
//!
//! | library | components | `log_u` | `nebular_max_age_gyr` |
//! | --- | --- | --- | --- |
//! | grid of emission | all | within the grid | within the grid |
//! | emission in the spectra | full | that of the spectra; the default where it is not known | the default |
//! | no emission | stellar, stellar_dust | the default | the default |

use crate::error::SpsError;
use crate::igm::LYMAN_LIMIT_ANGSTROM;
use crate::library::{Gas, SspLibrary};
use crate::model::{Components, ModelOptions};

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

/// How near two log U are that mean the same gas.
const SAME_LOG_U: f64 = 1e-6;

/// Whether the library holds what `components` ask for.
///
/// # Errors
/// [`SpsError::Setting`] naming the library and the components that it can give.
pub(crate) fn check_components(
    library: &SspLibrary,
    components: Components,
) -> Result<(), SpsError> {
    let name = &library.meta().name;
    let problem = match (library.gas(), components) {
        (Gas::None, Components::Full) => {
            format!("library {name} holds no nebular emission: use stellar_dust or stellar")
        }
        (Gas::Included { .. }, Components::StellarDust | Components::Stellar) => {
            format!("nebular emission is part of the spectra of library {name}: use full")
        }
        _ => return Ok(()),
    };
    Err(SpsError::setting("components", problem))
}

/// The emission of a library without a grid: none beside its spectra.
fn without_grid(library: &SspLibrary, options: &ModelOptions) -> Result<Emission, SpsError> {
    let default = ModelOptions::default();
    let name = &library.meta().name;
    let (log_u, why) = match library.gas() {
        Gas::Included { log_u: Some(log_u) } => (log_u, "the spectra hold gas of this log U"),
        Gas::Included { log_u: None } => (default.log_u, "the gas in the spectra cannot change"),
        _ => (default.log_u, "there is no nebular emission"),
    };
    let same = (options.log_u - log_u).abs() <= SAME_LOG_U;
    if !same {
        let problem = format!("{} must be {log_u} with library {name}: {why}", options.log_u);
        return Err(SpsError::setting("log_u", problem));
    }
    if options.nebular_max_age_gyr != default.nebular_max_age_gyr {
        let problem = format!("library {name} has no grid of nebular emission: leave it out");
        return Err(SpsError::setting("nebular_max_age_gyr", problem));
    }
    Ok(Emission { young: Vec::new(), ages: 0, lines: Vec::new() })
}

/// Whether bin `j` of these edges lies in the Lyman continuum.
pub(crate) fn is_ionising(wave_edges_angstrom: &[f64], j: usize) -> bool {
    wave_edges_angstrom[j + 1] <= LYMAN_LIMIT_ANGSTROM * (1.0 + 1e-6)
}

/// Stars without their Lyman continuum plus gas, for the age bins that ionise.
pub(crate) fn gas_emission(
    library: &SspLibrary,
    options: &ModelOptions,
) -> Result<Emission, SpsError> {
    if library.gas() != Gas::Grid {
        return without_grid(library, options);
    }
    let a = library.arrays();
    let last = a.log_u.len() - 1;
    let (least, most) = (a.log_u[0] - SAME_LOG_U, a.log_u[last] + SAME_LOG_U);
    if !(options.log_u >= least && options.log_u <= most) {
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
    // A grid of one log U is its own neighbour.
    let upper = a.log_u.partition_point(|&u| u <= options.log_u).max(1).min(last);
    let lower = upper.saturating_sub(1);
    let step = a.log_u[upper] - a.log_u[lower];
    let part =
        if step > 0.0 { ((options.log_u - a.log_u[lower]) / step).clamp(0.0, 1.0) } else { 0.0 };
    let part = part as f32;

    let (metals, all_ages) = (a.metallicity.len(), a.age_edges_gyr.len() - 1);
    let (waves, lines) = (a.wave_edges_angstrom.len() - 1, a.line_angstrom.len());
    let ages = a.age_edges_gyr[..all_ages].iter().filter(|&&young| young < max_age).count();
    let mut emission = Emission {
        young: vec![0.0; metals * ages * waves],
        ages,
        lines: vec![0.0; metals * ages * lines],
    };
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
            let low = &a.nebular_continuum[row(lower) * waves..][..waves];
            let high = &a.nebular_continuum[row(upper) * waves..][..waves];
            let out = &mut emission.young[(z * ages + age) * waves..][..waves];
            for j in 0..waves {
                let kept = if is_ionising(&a.wave_edges_angstrom, j) {
                    stars[j] * (1.0 - share)
                } else {
                    stars[j]
                };
                out[j] = kept + blend(low[j], high[j]);
            }
            let low = &a.nebular_lines[row(lower) * lines..][..lines];
            let high = &a.nebular_lines[row(upper) * lines..][..lines];
            let out = &mut emission.lines[(z * ages + age) * lines..][..lines];
            for (out, (low, high)) in out.iter_mut().zip(low.iter().zip(high)) {
                *out = blend(*low, *high);
            }
        }
    }
    Ok(emission)
}
