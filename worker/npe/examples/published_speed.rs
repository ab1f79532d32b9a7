//! Times draws of a published estimator on one core: 500 per pixel.
//!
//! ```text
//! published_speed                             # random 5 x 128 and 15 x 500
//! published_speed export BLOCKS HIDDEN DIR    # such a network as a new folder
//! published_speed time DIR [SECONDS]          # the network of a folder
//! ```
//!
//! Prints `RATE published <blocks>x<hidden> <ms per pixel>`: the median pixel
//! of about SECONDS (2), after one that is not counted. A folder is first
//! compared with its vectors.
#![allow(missing_docs)]

use outshine_kernels::random::{Purpose, Stream};
use outshine_npe::sbi::{PublishedModel, Sampler, Scratch, Vectors};
use std::path::Path;
use std::time::Instant;

const DRAWS: usize = 500;
const PARAMETERS: usize = 7;
const CONTEXT: usize = 39;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => {
            for (blocks, hidden) in [(5, 128), (15, 500)] {
                time(&PublishedModel::random(PARAMETERS, CONTEXT, blocks, hidden, 1), 2.0)?;
            }
        }
        ["export", blocks, hidden, folder] => {
            let (blocks, hidden) = (blocks.parse()?, hidden.parse()?);
            let model = PublishedModel::random(PARAMETERS, CONTEXT, blocks, hidden, 1);
            let vectors = Vectors::of(&model, 20, 100, 1)?.to_safetensors();
            std::fs::create_dir(folder)?;
            let folder = Path::new(folder);
            std::fs::write(folder.join("model.json"), model.to_json(Some(&vectors)))?;
            std::fs::write(folder.join("model.safetensors"), model.to_safetensors())?;
            std::fs::write(folder.join("vectors.safetensors"), vectors)?;
        }
        ["time", folder, rest @ ..] => {
            let folder = Path::new(folder);
            let json = std::fs::read_to_string(folder.join("model.json"))?;
            let model = PublishedModel::from_files(
                &json,
                &std::fs::read(folder.join("model.safetensors"))?,
            )?;
            let vectors = std::fs::read(folder.join("vectors.safetensors"))?;
            let deviations = Vectors::from_bytes(&vectors, &model)?.check(&model)?;
            assert!(deviations.beyond().is_empty(), "{deviations}");
            time(&model, rest.first().map_or(Ok(2.0), |s| s.parse())?)?;
        }
        _ => return Err("see the head of this example for its arguments".into()),
    }
    Ok(())
}

fn time(model: &PublishedModel, seconds: f64) -> Result<(), Box<dyn std::error::Error>> {
    let sampler = Sampler::new(model);
    let mut scratch = Scratch::default();
    let mut theta = vec![0.0; DRAWS * model.dims()];
    let mut pixels_ms = Vec::new();
    let started = Instant::now();
    for pixel in 0.. {
        let mut stream = Stream::new(1, Purpose::Draw, 0, pixel);
        let context: Vec<f32> = (0..model.context_len()).map(|_| stream.normal() as f32).collect();
        let start = Instant::now();
        sampler.draw(&context, &mut stream, DRAWS, &mut scratch, &mut theta)?;
        if pixel > 0 {
            pixels_ms.push(start.elapsed().as_secs_f64() * 1e3);
        }
        assert!(theta.iter().all(|x| x.is_finite()), "pixel {pixel}");
        if pixel >= 3 && started.elapsed().as_secs_f64() > seconds {
            break;
        }
    }
    pixels_ms.sort_by(f64::total_cmp);
    let median = pixels_ms[pixels_ms.len() / 2];
    println!("RATE published {}x{} {median:.3}", model.blocks(), model.hidden());
    Ok(())
}
