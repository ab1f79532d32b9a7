//! Elementary functions of one `f64`, in pure software: the same bits
//! everywhere. Accuracy: below 1 unit in the last place, apart from
//! [`exp10`] and the logistic pair (a few units).

pub use libm::{
    asinh, atan2, cos, erf, erfc, exp, expm1, log as ln, log1p as ln_1p, log10, pow, sin, sinh,
    sqrt, tanh,
};

/// Ten to the power `x`.
#[must_use]
pub fn exp10(x: f64) -> f64 {
    libm::exp(x * std::f64::consts::LN_10)
}

/// The logistic function 1 / (1 + exp(-x)), without overflow at either end.
#[must_use]
pub fn logistic(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + exp(-x))
    } else {
        let e = exp(x);
        e / (1.0 + e)
    }
}

/// Inverse of [`logistic`]: ln(p / (1 - p)) for 0 < p < 1.
#[must_use]
pub fn logit(p: f64) -> f64 {
    ln(p) - ln_1p(-p)
}

/// Distribution function of the standard normal.
#[must_use]
pub fn normal_cdf(x: f64) -> f64 {
    0.5 * erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
}

/// Inverse of [`normal_cdf`] for 0 < p < 1: the rational approximations of
/// Wichura (1988), algorithm AS 241, relative error about 1e-16.
#[must_use]
pub fn normal_quantile(p: f64) -> f64 {
    const A: [f64; 8] = [
        3.387_132_872_796_366_5,
        133.141_667_891_784_38,
        1_971.590_950_306_551_3,
        13_731.693_765_509_46,
        45_921.953_931_549_87,
        67_265.770_927_008_7,
        33_430.575_583_588_13,
        2_509.080_928_730_122_7,
    ];
    const B: [f64; 8] = [
        1.0,
        42.313_330_701_600_91,
        687.187_007_492_057_9,
        5_394.196_021_424_751,
        21_213.794_301_586_597,
        39_307.895_800_092_71,
        28_729.085_735_721_943,
        5_226.495_278_852_854,
    ];
    const C: [f64; 8] = [
        1.423_437_110_749_683_5,
        4.630_337_846_156_546,
        5.769_497_221_460_691,
        3.647_848_324_763_204_5,
        1.270_458_252_452_368_4,
        0.241_780_725_177_450_6,
        0.022_723_844_989_269_184,
        7.745_450_142_783_414e-4,
    ];
    const D: [f64; 8] = [
        1.0,
        2.053_191_626_637_759,
        1.676_384_830_183_803_8,
        0.689_767_334_985_1,
        0.148_103_976_427_480_08,
        0.015_198_666_563_616_457,
        5.475_938_084_995_345e-4,
        1.050_750_071_644_416_9e-9,
    ];
    const E: [f64; 8] = [
        6.657_904_643_501_103,
        5.463_784_911_164_114,
        1.784_826_539_917_291_3,
        0.296_560_571_828_504_87,
        0.026_532_189_526_576_124,
        0.001_242_660_947_388_078_4,
        2.711_555_568_743_487_6e-5,
        2.010_334_399_292_288_1e-7,
    ];
    const F: [f64; 8] = [
        1.0,
        0.599_832_206_555_888,
        0.136_929_880_922_735_8,
        0.014_875_361_290_850_615,
        7.868_691_311_456_133e-4,
        1.846_318_317_510_054_8e-5,
        1.421_511_758_316_446e-7,
        2.044_263_103_389_939_8e-15,
    ];
    fn ratio(top: &[f64; 8], bottom: &[f64; 8], r: f64) -> f64 {
        let poly = |c: &[f64; 8]| c.iter().rev().fold(0.0, |sum, c| sum * r + c);
        poly(top) / poly(bottom)
    }
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        return q * ratio(&A, &B, 0.180_625 - q * q);
    }
    let tail = if q < 0.0 { p } else { 1.0 - p };
    let r = (-ln(tail)).sqrt();
    let x = if r <= 5.0 { ratio(&C, &D, r - 1.6) } else { ratio(&E, &F, r - 5.0) };
    x.copysign(q)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logistic_and_logit_are_inverse() {
        for i in -40..=40 {
            let x = f64::from(i) * 0.5;
            let back = logit(logistic(x));
            // Near p = 1 the rounding of p itself is amplified by 1 / (1 - p).
            let tolerance = 1e-12 + 4.0 * f64::EPSILON * exp(x.abs());
            assert!((back - x).abs() <= tolerance, "{x} came back as {back}");
        }
        assert_eq!(logistic(-800.0), 0.0);
        assert_eq!(logistic(800.0), 1.0);
    }

    #[test]
    fn exp10_matches_exact_powers() {
        for k in -12..=12 {
            let exact: f64 = format!("1e{k}").parse().unwrap();
            assert!((exp10(f64::from(k)) / exact - 1.0).abs() < 1e-14);
        }
    }

    #[test]
    fn the_normal_distribution_and_its_inverse() {
        // Abramowitz & Stegun, table 26.1.
        assert!((normal_cdf(1.0) - 0.841_344_746_068_543).abs() < 1e-15);
        assert!((normal_quantile(0.975) - 1.959_963_984_540_054).abs() < 1e-14);
        for i in -330..=330 {
            let x = f64::from(i) * 0.025 + 0.001;
            let back = normal_quantile(normal_cdf(x));
            // The rounding of p is amplified by 1 / phi(x) in the upper tail.
            let phi = exp(-0.5 * x * x) / (std::f64::consts::TAU).sqrt();
            let tolerance = 1e-13 * x.abs().max(1.0) + if x > 0.0 { 2e-16 / phi } else { 0.0 };
            assert!((back - x).abs() <= tolerance, "{x} came back as {back}");
        }
    }
}
