//! Tables of parameters: one stellar population per row.
//!
//! | `sfh` | columns of its own |
//! | --- | --- |
//! | `tau` (default) | `tau_gyr`, `t_i_gyr` |
//! | `dirichlet` | `log_ssfr`, `t25`, `t50`, `t75` |
//! | `double_power_law` | `tau_gyr`, `alpha`, `beta` |
//! | `continuity` | `log_sfr_ratio_1` to `log_sfr_ratio_6`, youngest first |

use super::input;
use crate::stages::StageError;
use arrow::array::{Array, Float64Array};
use outshine_sps::{Components, Parameters, Sfh};
use outshine_store::Table;
use std::collections::BTreeMap;

/// Columns that every family needs.
const COMMON: [&str; 4] = ["log_mass_formed", "metallicity", "a_v", "redshift"];
/// Columns of the families.
const OWN: [&str; 14] = [
    "tau_gyr",
    "t_i_gyr",
    "log_ssfr",
    "t25",
    "t50",
    "t75",
    "alpha",
    "beta",
    "log_sfr_ratio_1",
    "log_sfr_ratio_2",
    "log_sfr_ratio_3",
    "log_sfr_ratio_4",
    "log_sfr_ratio_5",
    "log_sfr_ratio_6",
];

/// The populations of a table, with the components to include.
///
/// # Errors
/// [`StageError::Input`] naming the table, row and column.
pub(super) fn read(table: &Table, name: &str) -> Result<Vec<(Parameters, Components)>, StageError> {
    let text = |column: &str| -> Result<Option<Vec<Option<String>>>, StageError> {
        if !table.has_column(column) {
            return Ok(None);
        }
        let array = table.strings(column)?;
        let value = |row| (!array.is_null(row)).then(|| array.value(row).to_owned());
        Ok(Some((0..array.len()).map(value).collect()))
    };
    let (sfh, components) = (text("sfh")?, text("components")?);
    let mut numbers: BTreeMap<&str, Float64Array> = BTreeMap::new();
    for column in COMMON {
        numbers.insert(column, table.float64(column)?);
    }
    for column in OWN.into_iter().filter(|column| table.has_column(column)) {
        numbers.insert(column, table.float64(column)?);
    }
    let mut all = Vec::with_capacity(table.rows());
    for row in 0..table.rows() {
        let at = |problem: String| input(name, format!("row {row}: {problem}"));
        let value = |column: &str| {
            let array = numbers.get(column).ok_or_else(|| {
                at(format!("there is no column `{column}`, which this `sfh` needs"))
            })?;
            if array.is_null(row) || !array.value(row).is_finite() {
                return Err(at(format!("`{column}` is no finite number")));
            }
            Ok(array.value(row))
        };
        let sfh = match sfh.as_ref().and_then(|s| s[row].as_deref()) {
            None | Some("tau") => {
                Sfh::Tau { tau_gyr: value("tau_gyr")?, t_i_gyr: value("t_i_gyr")? }
            }
            Some("dirichlet") => Sfh::Dirichlet {
                log_ssfr: value("log_ssfr")?,
                t25: value("t25")?,
                t50: value("t50")?,
                t75: value("t75")?,
            },
            Some("double_power_law") => Sfh::DoublePowerLaw {
                tau_gyr: value("tau_gyr")?,
                alpha: value("alpha")?,
                beta: value("beta")?,
            },
            Some("continuity") => {
                let mut log_sfr_ratios = [0.0; 6];
                for (ratio, column) in log_sfr_ratios.iter_mut().zip(&OWN[8..]) {
                    *ratio = value(column)?;
                }
                Sfh::Continuity { log_sfr_ratios }
            }
            Some(other) => {
                return Err(at(format!(
                    "`sfh` is `{other}`: use tau, dirichlet, double_power_law or continuity"
                )));
            }
        };
        let components = match components.as_ref().and_then(|c| c[row].as_deref()) {
            None | Some("full") => Components::Full,
            Some("stellar_dust") => Components::StellarDust,
            Some("stellar") => Components::Stellar,
            Some(other) => {
                return Err(at(format!(
                    "`components` is `{other}`: use full, stellar_dust or stellar"
                )));
            }
        };
        let parameters = Parameters {
            sfh,
            log_mass_formed: value("log_mass_formed")?,
            metallicity: value("metallicity")?,
            a_v: value("a_v")?,
            redshift: value("redshift")?,
        };
        all.push((parameters, components));
    }
    Ok(all)
}
