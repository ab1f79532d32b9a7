//! From which mass on galaxies are fitted to a given part.

/// Least galaxies that a crossing is looked for in.
const LEAST: usize = 10;

/// The place at which the mean of `y`, taken as rising with `x`, crosses `level`: by
/// the monotone means of least squares (pool adjacent violators: Barlow et al. 1972),
/// halfway between the last member below and the first above. `None` where it
/// crosses nowhere or there are few finite pairs.
///
/// # Panics
/// When the lengths differ.
#[must_use]
pub fn crossing(x: &[f64], y: &[f64], level: f64) -> Option<f64> {
    assert_eq!(x.len(), y.len(), "a value per place");
    let mut pairs: Vec<(f64, f64)> = x.iter().copied().zip(y.iter().copied()).collect();
    pairs.retain(|(x, y)| x.is_finite() && y.is_finite());
    if pairs.len() < LEAST {
        return None;
    }
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    // Sum and number of the members of each pool, whose means rise.
    let mut pools: Vec<(f64, usize)> = Vec::new();
    for (_, value) in &pairs {
        let mut pool = (*value, 1);
        while let Some(last) = pools.pop() {
            if last.0 / last.1 as f64 <= pool.0 / pool.1 as f64 {
                pools.push(last);
                break;
            }
            pool = (pool.0 + last.0, pool.1 + last.1);
        }
        pools.push(pool);
    }
    let below = pools.iter().take_while(|pool| pool.0 / (pool.1 as f64) < level);
    let below: usize = below.map(|pool| pool.1).sum();
    (below > 0 && below < pairs.len()).then(|| 0.5 * (pairs[below - 1].0 + pairs[below].0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use outshine_kernels::random::{Purpose, Stream};

    #[test]
    fn a_step_is_found_and_where_there_is_none_nothing() {
        let x: Vec<f64> = (0..20).map(f64::from).collect();
        let y: Vec<f64> = x.iter().map(|x| if *x < 12.0 { 0.1 } else { 0.9 }).collect();
        assert_eq!(crossing(&x, &y, 0.5), Some(11.5));
        assert_eq!(crossing(&x, &y, 0.95), None);
        assert_eq!(crossing(&x, &y, 0.05), None);
        assert_eq!(crossing(&x[..9], &y[..9], 0.5), None);
        // Order and values that are not finite do not matter.
        let mut reversed: (Vec<f64>, Vec<f64>) =
            (x.iter().rev().copied().collect(), y.iter().rev().copied().collect());
        reversed.0.push(f64::NAN);
        reversed.1.push(0.3);
        assert_eq!(crossing(&reversed.0, &reversed.1, 0.5), Some(11.5));
    }

    #[test]
    fn a_noisy_ramp_is_crossed_where_its_mean_is() {
        let mut stream = Stream::new(5, Purpose::Draw, 0, 0);
        let x: Vec<f64> = (0..4000).map(|_| stream.uniform_in(0.0, 1.0)).collect();
        let y: Vec<f64> = x.iter().map(|x| x + 0.3 * stream.normal()).collect();
        for level in [0.2, 0.8] {
            // Means of a hundred or two neighbours: 0.03.
            let found = crossing(&x, &y, level).unwrap();
            assert!((found - level).abs() < 0.1, "{found} for {level}");
        }
    }
}
