//! Rows of a campaign's training distribution, for estimators trained elsewhere.
use outshine_kernels::random::{Purpose, Stream};
use outshine_schemas::campaign::Campaign;
use outshine_worker::stages::Science;
use std::io::Write;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let (path, out, count, seed) = (&args[1], &args[2], args[3].parse::<usize>()?, args[4].parse::<u64>()?);
    let campaign = Campaign::load(std::path::Path::new(path), &args[5..])?;
    let science = Science::new(&campaign)?;
    let simulator = science.simulator()?;
    let bands = campaign.bands.len();
    let c = science.target.features.len();
    let mut file = std::io::BufWriter::new(std::fs::File::create(out)?);
    const CHUNK: usize = 20_000;
    let chunks = count.div_ceil(CHUNK);
    for pair in (0..chunks).collect::<Vec<_>>().chunks(2) {
        let results: Vec<Vec<f32>> = std::thread::scope(|scope| {
            let handles: Vec<_> = pair.iter().map(|&k| {
                let (science, simulator) = (&science, &simulator);
                scope.spawn(move || {
                    let n = CHUNK.min(count - k * CHUNK);
                    let parameters: Vec<_> = (0..n).map(|i| {
                        let mut s = Stream::new(seed, Purpose::Simulation, (k * CHUNK + i) as u64, 0);
                        science.prior.draw(&mut s)
                    }).collect();
                    let mut flux = vec![0.0; n * bands];
                    simulator.fluxes(&parameters, &mut simulator.scratch(), &mut flux).unwrap();
                    let mut rows = Vec::with_capacity(n * (c + 6 + 2 * bands));
                    let (mut f, mut e) = (vec![0.0; bands], vec![0.0; bands]);
                    let mut raw = vec![0.0; c];
                    for i in 0..n {
                        let mut s = Stream::new(seed, Purpose::Observation, (k * CHUNK + i) as u64, 0);
                        let conditions = science.coverage.draw(&science.noise, &mut s);
                        science.noise.observe(&flux[i * bands..(i + 1) * bands], &conditions, &mut s, &mut f, &mut e);
                        let p = &parameters[i];
                        science.target.features.features(&f, &e, p.redshift, &mut raw);
                        rows.extend_from_slice(&raw);
                        let mut free = vec![0.0; science.free.len()];
                        science.prior.to_free(p, s.uniform(), &mut free).unwrap();
                        for (v, (low, high)) in free.iter().zip(science.prior.free_bounds().unwrap()) {
                            rows.push(((v - low) / (high - low)) as f32);
                        }
                        rows.push(p.redshift as f32);
                    }
                    rows
                })
            }).collect();
            handles.into_iter().map(|h| h.join().unwrap()).collect()
        });
        for rows in results {
            let bytes: Vec<u8> = rows.iter().flat_map(|x| x.to_le_bytes()).collect();
            file.write_all(&bytes)?;
        }
    }
    println!("{count} rows of {} values", c + 6);
    Ok(())
}
