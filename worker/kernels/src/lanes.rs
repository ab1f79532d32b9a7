//! Elementary functions over slices, written so that the compiler can use
//! vector instructions and still give the same bits on every processor:
//! only additions, multiplications, exact fused multiply-adds and integer
//! operations, in an order that does not depend on the vector width.

const LOG2_E: f32 = std::f32::consts::LOG2_E;
// ln 2 in two parts: the first is exact in few bits, so that x - n * HI is exact.
#[allow(clippy::excessive_precision)]
const LN2_HI: f32 = 0.693_359_375;
const LN2_LO: f32 = -2.121_944_4e-4;

/// exp(x) in single precision; relative error below 2e-7 for |x| < 87,
/// saturating beyond (never infinite, never subnormal).
#[inline(always)]
#[must_use]
pub fn exp_f32(x: f32) -> f32 {
    let x = x.clamp(-87.0, 88.0);
    // Round to the nearest integer by adding and removing 1.5 * 2^23.
    const MAGIC: f32 = 12_582_912.0;
    let shifted = x * LOG2_E + MAGIC;
    let n = shifted - MAGIC;
    let r = (x - n * LN2_HI) - n * LN2_LO;
    // Taylor polynomial to order 7 on |r| <= ln(2) / 2: truncation below 6e-9.
    let p = 1.0 / 5040.0;
    let p = p * r + 1.0 / 720.0;
    let p = p * r + 1.0 / 120.0;
    let p = p * r + 1.0 / 24.0;
    let p = p * r + 1.0 / 6.0;
    let p = p * r + 0.5;
    let p = p * r + 1.0;
    let p = p * r + 1.0;
    // The low bits of `shifted` hold n in two's complement.
    let bits = shifted.to_bits().wrapping_sub(MAGIC.to_bits());
    let scale = f32::from_bits(bits.wrapping_add(127) << 23);
    p * scale
}

/// exp(x) in double precision; relative error below 4e-16 times a few for
/// |x| < 700, saturating beyond.
#[inline(always)]
#[must_use]
pub fn exp_f64(x: f64) -> f64 {
    let x = x.clamp(-700.0, 700.0);
    const MAGIC: f64 = 6_755_399_441_055_744.0;
    let shifted = x * std::f64::consts::LOG2_E + MAGIC;
    let n = shifted - MAGIC;
    let r = (x - n * 0.693_147_180_369_123_8) - n * 1.908_214_929_270_587_7e-10;
    // Taylor polynomial to order 13 on |r| <= ln(2) / 2: truncation below 5e-18.
    let mut p = 1.0 / 6_227_020_800.0;
    p = p * r + 1.0 / 479_001_600.0;
    p = p * r + 1.0 / 39_916_800.0;
    p = p * r + 1.0 / 3_628_800.0;
    p = p * r + 1.0 / 362_880.0;
    p = p * r + 1.0 / 40_320.0;
    p = p * r + 1.0 / 5_040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    // The low bits of `shifted` hold n in two's complement.
    let bits = shifted.to_bits().wrapping_sub(MAGIC.to_bits());
    let scale = f64::from_bits(bits.wrapping_add(1023) << 52);
    p * scale
}

/// Integrals of exp(-s) from 0 to x: see [`decay_f32`].
#[derive(Clone, Copy, Debug)]
pub struct Decay {
    /// exp(-x), at least 1e-38.
    pub exp: f32,
    /// Integral of exp(-s): 1 - exp(-x).
    pub plain: f32,
    /// Integral of s exp(-s): 1 - (1 + x) exp(-x).
    pub rising: f32,
    /// Integral of (x - s) s exp(-s): x - 2 + (x + 2) exp(-x).
    pub moment: f32,
}

/// Integrals of exp(-s) from 0 to `x`, for x from 1e-12 to 1e12: relative
/// error below 1e-6, 4e-6 and 1e-4 in the order of [`Decay`], at small x too.
#[inline(always)]
#[must_use]
pub fn decay_f32(x: f32) -> Decay {
    // exp(r) as 1 + r (1 + r (1/2 + r c)) with a polynomial c gives the
    // integrals without cancellation where x is r itself.
    let y = (-x).max(-87.0);
    const MAGIC: f32 = 12_582_912.0;
    let shifted = y * LOG2_E + MAGIC;
    let n = shifted - MAGIC;
    let r = (y - n * LN2_HI) - n * LN2_LO;
    // (e^r - 1 - r - r^2 / 2) / r^3 at Chebyshev's points of |r| <= ln(2) / 2:
    // within 4e-7.
    let c = 1.391_872e-3;
    let c = c * r + 8.357_204_5e-3;
    let c = c * r + 4.166_662_3e-2;
    let c = c * r + 0.166_666_31;
    let b = c * r + 0.5;
    let a = b * r + 1.0;
    let p = a * r + 1.0;
    let bits = shifted.to_bits().wrapping_sub(MAGIC.to_bits());
    let exp = p * f32::from_bits(bits.wrapping_add(127) << 23);
    let small = n == 0.0;
    Decay {
        exp,
        plain: if small { x * a } else { 1.0 - exp },
        rising: if small { x * x * (1.0 - (1.0 + x) * b) } else { 1.0 - (1.0 + x) * exp },
        moment: if small { x * x * x * (0.5 - (x + 2.0) * c) } else { (x - 2.0) + (x + 2.0) * exp },
    }
}

/// tanh(x) in single precision, absolute error below 3e-7.
#[inline(always)]
#[must_use]
pub fn tanh_f32(x: f32) -> f32 {
    let e = exp_f32(-2.0 * x.abs());
    let t = (1.0 - e) / (1.0 + e);
    t.copysign(x)
}

/// ln(x) in single precision for normal positive x; relative error below
/// 3e-7 away from 1, absolute error below 1e-7 near it. Zero, negative,
/// subnormal and non-finite x give a finite number without meaning.
#[inline(always)]
#[must_use]
pub fn ln_f32(x: f32) -> f32 {
    // x = m 2^n with m in [sqrt(1/2), sqrt(2)): ln m = 2 atanh(s), s = (m - 1) / (m + 1).
    let shifted = x.to_bits().wrapping_sub(0x3f35_04f3);
    let n = (shifted as i32) >> 23;
    let m = f32::from_bits((shifted & 0x007f_ffff).wrapping_add(0x3f35_04f3));
    let n = n as f32;
    let s = (m - 1.0) / (m + 1.0);
    let z = s * s;
    // Series of atanh to order 11 on |s| <= 0.1716: truncation below 2e-11.
    let p = 2.0 / 11.0;
    let p = p * z + 2.0 / 9.0;
    let p = p * z + 2.0 / 7.0;
    let p = p * z + 2.0 / 5.0;
    let p = p * z + 2.0 / 3.0;
    let p = p * z * s + 2.0 * s;
    n * LN2_HI + (n * LN2_LO + p)
}

/// asinh(x) in single precision for |x| < 1e18: absolute error below 2e-7
/// plus 3e-7 of the value.
#[inline(always)]
#[must_use]
pub fn asinh_f32(x: f32) -> f32 {
    let a = x.abs();
    ln_f32(a + (a * a + 1.0).sqrt()).copysign(x)
}

/// ln(1 + e^x) in single precision; relative error below 4e-7 for x > -87,
/// in the tails too: e^x far below zero, x far above.
#[inline(always)]
#[must_use]
pub fn softplus_f32(x: f32) -> f32 {
    // max(x, 0) + ln(1 + e) with e = e^-|x|: ln(1 + e) = 2 atanh(s), s = e / (2 + e).
    let e = exp_f32(-x.abs());
    let s = e / (2.0 + e);
    let z = s * s;
    // Series of atanh to order 15 on s <= 1/3: truncation below 3e-9.
    let p = 2.0 / 15.0;
    let p = p * z + 2.0 / 13.0;
    let p = p * z + 2.0 / 11.0;
    let p = p * z + 2.0 / 9.0;
    let p = p * z + 2.0 / 7.0;
    let p = p * z + 2.0 / 5.0;
    let p = p * z + 2.0 / 3.0;
    let p = p * z * s + 2.0 * s;
    x.max(0.0) + p
}

/// x / (1 + e^-x) in single precision: the smooth unit of a network.
#[inline(always)]
#[must_use]
pub fn silu_f32(x: f32) -> f32 {
    x / (1.0 + exp_f32(-x))
}

/// Slope of [`silu_f32`].
#[inline(always)]
#[must_use]
pub fn silu_slope_f32(x: f32) -> f32 {
    let s = 1.0 / (1.0 + exp_f32(-x));
    s * (1.0 + x * (1.0 - s))
}

/// Distribution function of the standard normal in single precision: absolute
/// error below 3e-7, relative error in the lower tail below 2e-6 down to x = -7.
#[inline(always)]
#[must_use]
pub fn normal_cdf_f32(x: f32) -> f32 {
    // Phi(-a) exp(a^2 / 2) as a polynomial in 1 / (1 + a / 4): relative error
    // below 1e-9 for a up to 8.
    const C: [f32; 10] = [
        1.340_911_4e-1,
        4.596_212e-1,
        7.019_927_5e-1,
        7.987_079e-1,
        6.314_25e-1,
        2.717_321_5e-1,
        -3.579_727_6e-2,
        -1.083_135_2e-1,
        -1.406_363_4e-2,
        4.014_792_7e-2,
    ];
    let a = x.abs().min(8.0);
    let t = 1.0 / (1.0 + 0.25 * a) - 0.6;
    let mut p = C[9];
    for k in (0..9).rev() {
        p = p * t + C[k];
    }
    let tail = p * exp_f32(-0.5 * a * a);
    if x < 0.0 { tail } else { 1.0 - tail }
}

/// A standard normal number from 32 random bits: one for the sign, 31 for the
/// tail probability q = (m + 1/2) / 2^32, so |z| < 6.35. Error below 2e-6.
#[inline(always)]
#[must_use]
pub fn normal_from_bits(bits: u32) -> f32 {
    // z = x P(w) with x = 1 - 2 q and w = -ln(4 q (1 - q)), as Giles (2010)
    // writes the inverse error function; P fitted to a relative error of 1e-7
    // in w below 5 and in sqrt(w) above.
    const NEAR: [f32; 9] = [
        2.123_313_7,
        3.488_027e-1,
        -5.908_129_7e-3,
        -1.773_041_8e-3,
        3.091_151e-4,
        -6.207_880_2e-6,
        -4.981_194_7e-6,
        4.851_791e-7,
        3.958_321e-8,
    ];
    const FAR: [f32; 9] = [
        4.574_674_6,
        1.423_604_5,
        5.627_562_3e-3,
        -3.563_990_4e-3,
        2.055_463_8e-3,
        -1.594_069_8e-3,
        1.009_721_7e-3,
        -2.516_881e-4,
        -1.644_419_9e-5,
    ];
    let m = bits & 0x7fff_ffff;
    let q = (m as f32 + 0.5) * (1.0 / 4_294_967_296.0);
    let x = ((0x8000_0000 - m) as f32 - 0.5) * (1.0 / 2_147_483_648.0);
    let w = -ln_f32((4.0 * q * (1.0 - q)).min(1.0));
    let near = w.min(5.0) - 2.5;
    let far = w.max(5.0).sqrt() - 3.4;
    let (mut p, mut r) = (NEAR[8], FAR[8]);
    for k in (0..8).rev() {
        p = p * near + NEAR[k];
        r = r * far + FAR[k];
    }
    let z = x * if w < 5.0 { p } else { r };
    f32::from_bits(z.to_bits() | (bits & 0x8000_0000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softplus_matches_libm() {
        let mut worst = 0.0f64;
        for i in -8600..8600 {
            let x = (f64::from(i) * 0.01 + 0.001_3) as f32;
            let e = libm::exp(-f64::from(x).abs());
            let exact = f64::from(x).max(0.0) + libm::log1p(e);
            worst = worst.max((f64::from(softplus_f32(x)) / exact - 1.0).abs());
        }
        assert!(worst < 4e-7, "{worst}");
        assert_eq!(softplus_f32(1e30), 1e30);
        assert!(softplus_f32(-1e30) < 1e-37);
    }

    #[test]
    fn exponentials_match_libm() {
        let mut worst32 = 0.0f64;
        let mut worst64 = 0.0f64;
        for i in -8600..8700 {
            let x = f64::from(i) * 0.01 + 0.001_234;
            let exact = libm::exp(f64::from(x as f32));
            worst32 = worst32.max((f64::from(exp_f32(x as f32)) / exact - 1.0).abs());
            let x = x * 8.0;
            worst64 = worst64.max((exp_f64(x) / libm::exp(x) - 1.0).abs());
        }
        assert!(worst32 < 2e-7, "{worst32}");
        assert!(worst64 < 2e-15, "{worst64}");
        assert!(exp_f32(-1e9) > 0.0 && exp_f32(1e9).is_finite());
        assert!(exp_f64(-1e9) > 0.0 && exp_f64(1e9).is_finite());
    }

    #[test]
    fn smooth_units_match_libm() {
        let (mut worst, mut worst_slope) = (0.0f64, 0.0f64);
        for i in -9000..9000 {
            let x = i as f32 * 1e-2;
            let (exact, s) = (f64::from(x), 1.0 / (1.0 + libm::exp(-f64::from(x))));
            let value = exact * s;
            worst = worst.max((f64::from(silu_f32(x)) - value).abs() / value.abs().max(1.0));
            let slope = s * (1.0 + exact * (1.0 - s));
            worst_slope = worst_slope.max((f64::from(silu_slope_f32(x)) - slope).abs());
        }
        assert!(worst < 4e-7 && worst_slope < 2e-6, "{worst} {worst_slope}");
    }

    #[test]
    fn the_normal_distribution_matches_double_precision() {
        let (mut worst, mut worst_tail) = (0.0f64, 0.0f64);
        for i in -70_000..70_000 {
            let x = i as f32 * 1e-4;
            let exact = crate::scalar::normal_cdf(f64::from(x));
            let error = (f64::from(normal_cdf_f32(x)) - exact).abs();
            worst = worst.max(error);
            if x < 0.0 {
                worst_tail = worst_tail.max(error / exact);
            }
        }
        assert!(worst < 3e-7 && worst_tail < 2e-6, "{worst} {worst_tail}");
        assert!(normal_cdf_f32(-1e30) > 0.0 && normal_cdf_f32(1e30) == 1.0);
    }

    #[test]
    fn normal_numbers_follow_their_bits() {
        let mut worst = 0.0f64;
        for i in 0..400_000u32 {
            // Spread over all 31 bits, and dense at both ends.
            let spread = i.wrapping_mul(2_654_435_761) & 0x7fff_ffff;
            for m in [spread, i >> 8, 0x7fff_ffff - (i >> 8)] {
                let q = (f64::from(m) + 0.5) / 4_294_967_296.0;
                let exact = -crate::scalar::normal_quantile(q);
                worst = worst.max((f64::from(normal_from_bits(m)) - exact).abs());
                assert_eq!(normal_from_bits(m | 0x8000_0000), -normal_from_bits(m));
            }
        }
        assert!(worst < 2.5e-6, "{worst}");
    }

    #[test]
    fn decays_match_libm() {
        let mut worst = [0.0f64; 4];
        for i in 0..40_000 {
            let x = libm::exp(-27.0 + 0.001_2 * f64::from(i)) as f32;
            let got = decay_f32(x);
            let x = f64::from(x);
            let e = libm::exp(-x.min(87.0));
            // Series where the closed forms lose digits in double precision.
            let series = |first: f64, ratio: &dyn Fn(f64) -> f64| {
                let (mut term, mut sum) = (first, 0.0);
                for k in 0..20 {
                    sum += term;
                    term *= -x * ratio(f64::from(k));
                }
                sum
            };
            let (rising, moment) = if x < 0.5 {
                (
                    // (-1)^k x^(k+2) / (k! (k+2)) and (-1)^k x^(k+3) / (k! (k+2) (k+3)).
                    series(x * x / 2.0, &|k| (k + 2.0) / ((k + 1.0) * (k + 3.0))),
                    series(x * x * x / 6.0, &|k| (k + 2.0) / ((k + 1.0) * (k + 4.0))),
                )
            } else {
                (1.0 - (1.0 + x) * e, x - 2.0 + (x + 2.0) * e)
            };
            let exact = [e, -libm::expm1(-x), rising, moment];
            let got = [got.exp, got.plain, got.rising, got.moment];
            for (worst, (got, exact)) in worst.iter_mut().zip(got.into_iter().zip(exact)) {
                *worst = worst.max((f64::from(got) / exact - 1.0).abs());
            }
        }
        println!("{worst:?}");
        // The last loses its digits just above x = 0.35, where it is 0.006 of sums of 2.
        assert!(worst[0] < 2e-7 && worst[1] < 1e-6, "{worst:?}");
        assert!(worst[2] < 4e-6 && worst[3] < 1e-4, "{worst:?}");
    }

    #[test]
    fn tanh_matches_libm() {
        let mut worst = 0.0f64;
        for i in -20_000..20_000 {
            let x = i as f32 * 1e-3;
            worst = worst.max((f64::from(tanh_f32(x)) - libm::tanh(f64::from(x))).abs());
        }
        assert!(worst < 3e-7, "{worst}");
    }

    #[test]
    fn logarithms_match_libm() {
        let mut worst = 0.0f64;
        let mut worst_asinh = 0.0f64;
        for i in -3000..3000 {
            let x = libm::exp(f64::from(i) * 0.028 + 0.000_7) as f32;
            let exact = libm::log(f64::from(x));
            worst = worst.max((f64::from(ln_f32(x)) - exact).abs() / exact.abs().max(0.3));
            for x in [x, -x].map(|x| x.clamp(-1e17, 1e17)) {
                let exact = libm::asinh(f64::from(x));
                let error = (f64::from(asinh_f32(x)) - exact).abs();
                worst_asinh = worst_asinh.max(error / (2e-7 + 3e-7 * exact.abs()));
            }
        }
        assert!(worst < 3e-7, "{worst}");
        assert!(worst_asinh < 1.0, "{worst_asinh}");
    }
}
