#![allow(missing_docs)]
use outshine_npe::matmul::*;
use std::time::Instant;
fn main() {
    for (m, k, n) in [
        (64, 256, 256),
        (128, 256, 256),
        (256, 256, 256),
        (64, 512, 512),
        (128, 512, 512),
        (256, 512, 512),
        (64, 512, 400),
    ] {
        let a = vec![0.5f32; m * k];
        let b = vec![0.25f32; k * n];
        let g = vec![0.1f32; m * n];
        for kind in 0..3 {
            let mut c = vec![0f32; 512 * 512 * 2];
            let t = Instant::now();
            let reps = 2_000_000_000 / (m * k * n) + 1;
            for _ in 0..reps {
                match kind {
                    0 => multiply_add(
                        Level::detect(),
                        (m, k, n),
                        View::new(&a, k),
                        View::new(&b, n),
                        Skip::Nothing,
                        &mut c,
                        n,
                    ),
                    1 => multiply_add(
                        Level::detect(),
                        (k, m, n),
                        View::new(&a, k).t(),
                        View::new(&g, n),
                        Skip::Nothing,
                        &mut c,
                        n,
                    ),
                    _ => multiply_add(
                        Level::detect(),
                        (m, n, k),
                        View::new(&g, n),
                        View::new(&b, n).t(),
                        Skip::Nothing,
                        &mut c,
                        k,
                    ),
                }
            }
            let s = t.elapsed().as_secs_f64();
            print!(
                "{:?} kind{} {:.0} GF  ",
                (m, k, n),
                kind,
                2.0 * (m * k * n * reps) as f64 / s / 1e9
            );
        }
        println!();
    }
}
