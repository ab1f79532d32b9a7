//! Where the mass of a galaxy lies, by the medians of its pixels.

use crate::stages::StageError;
use arrow::array::Array;
use arrow::datatypes::UInt32Type;
use outshine_catalogue::shape::{HalfMass, Means, half_mass};
use outshine_kernels::scalar;
use outshine_schemas::flags;
use outshine_store::Table;
use std::collections::BTreeMap;

/// Columns of the summaries that it takes.
pub const COLUMNS: [&str; 7] = [
    "galaxy_id",
    "x",
    "y",
    "flags",
    "log_mass_stellar_p50",
    "mass_weighted_age_gyr_p50",
    "a_v_p50",
];

/// Where the mass of a galaxy lies.
#[derive(Clone, Copy, Default)]
pub struct Extent {
    /// Member pixels whose mean S/N is above the limit; `None` where not all
    /// are known.
    pub above_snr: Option<u32>,
    /// The circle about the peak that holds half of the mass; `None` where no
    /// pixel is fitted.
    pub circle: Option<HalfMass>,
    /// log10 of the mass, mass-weighted age and A_V: in the peak, inside the
    /// circle and outside.
    pub means: [Means; 3],
}

/// Pixels of some galaxies: medians of what is fitted.
#[derive(Default)]
pub struct Pixels(BTreeMap<i64, Members>);

#[derive(Default)]
struct Members {
    above_snr: u32,
    x: Vec<i32>,
    y: Vec<i32>,
    /// Msun, Gyr, mag.
    medians: [Vec<f64>; 3],
}

impl Pixels {
    /// Adds the rows of a table of summaries.
    pub fn read(&mut self, table: &Table) -> Result<(), StageError> {
        let (id, x, y) = (table.int64("galaxy_id")?, table.int32("x")?, table.int32("y")?);
        let bits = table.number::<UInt32Type>("flags")?;
        let [mass, age, a_v] = [COLUMNS[4], COLUMNS[5], COLUMNS[6]].map(|name| table.float32(name));
        let (mass, age, a_v) = (mass?, age?, a_v?);
        for row in 0..table.rows() {
            let members = self.0.entry(id.value(row)).or_default();
            let unmeasured = flags::LOW_SNR | flags::INVALID_INPUT;
            members.above_snr += u32::from(bits.value(row) & unmeasured == 0);
            if mass.is_null(row) {
                continue;
            }
            members.x.push(x.value(row));
            members.y.push(y.value(row));
            let log = f64::from(mass.value(row));
            let values = [scalar::exp10(log), age.value(row).into(), a_v.value(row).into()];
            members.medians.iter_mut().zip(values).for_each(|(all, value)| all.push(value));
        }
        Ok(())
    }

    /// Where the mass of a galaxy lies.
    pub fn extent(&self, galaxy_id: i64) -> Extent {
        let Some(Members { above_snr, x, y, medians }) = self.0.get(&galaxy_id) else {
            return Extent::default();
        };
        let [mass, age, a_v] = medians;
        let above_snr = Some(*above_snr);
        let Some(circle) = half_mass(x, y, mass) else {
            return Extent { above_snr, ..Extent::default() };
        };
        let sum = |keep: &dyn Fn(i32, i32) -> bool| {
            let kept = (0..mass.len()).filter(|&i| keep(x[i], y[i])).map(|i| mass[i]);
            Some(kept.sum::<f64>()).filter(|sum| *sum > 0.0).map(scalar::log10)
        };
        let log_mass = Means {
            central: sum(&|x, y| (x, y) == (circle.x, circle.y)),
            inside: sum(&|x, y| circle.contains(x, y)),
            outside: sum(&|x, y| !circle.contains(x, y)),
        };
        let means = [log_mass, circle.means(x, y, mass, age), circle.means(x, y, mass, a_v)];
        Extent { above_snr, circle: Some(circle), means }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixels(rows: &[(i32, i32, f64)]) -> Pixels {
        let mut members = Members { above_snr: 7, ..Members::default() };
        for (i, &(x, y, mass)) in rows.iter().enumerate() {
            members.x.push(x);
            members.y.push(y);
            let values = [mass, 1.0 + i as f64, 0.5];
            members.medians.iter_mut().zip(values).for_each(|(all, value)| all.push(value));
        }
        Pixels(BTreeMap::from([(3, members)]))
    }

    #[test]
    fn a_cross_has_its_peak_and_its_arms() {
        let cross = [(5, 5, 6.0), (4, 5, 1.0), (6, 5, 1.0), (5, 4, 1.0), (5, 6, 1.0)];
        let extent = pixels(&cross).extent(3);
        let circle = extent.circle.unwrap();
        assert_eq!((circle.x, circle.y, extent.above_snr), (5, 5, Some(7)));
        // Half of the mass lies in the peak pixel, a disc of its area.
        assert!((circle.radius_px - (5.0 / 6.0 / std::f64::consts::PI).sqrt()).abs() < 1e-12);
        let [mass, age, a_v] = extent.means;
        assert!((mass.central.unwrap() - 6f64.log10()).abs() < 1e-12);
        assert_eq!(mass.central, mass.inside);
        assert!((mass.outside.unwrap() - 4f64.log10()).abs() < 1e-12);
        // Ages are 1 in the peak and 2 to 5 in the arms.
        assert_eq!((age.central, age.outside), (Some(1.0), Some(3.5)));
        assert_eq!(a_v.inside, Some(0.5));
    }

    #[test]
    fn no_pixel_and_no_galaxy_have_no_extent() {
        let none = pixels(&[]).extent(3);
        assert!(
            none.circle.is_none() && none.above_snr == Some(7) && none.means[0].inside.is_none()
        );
        assert!(pixels(&[(0, 0, 1.0)]).extent(4).circle.is_none());
    }
}
