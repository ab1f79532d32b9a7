//! A field whose truth is known.

use super::Pixel;
use crate::stages::draws::truth;
use crate::stages::{Job, StageError, parallel};
use outshine_kernels::random::{Purpose, Stream};
use outshine_sps::Components;

/// Pixels of the campaign's mock galaxies, observed with noise that is keyed
/// by galaxy and pixel.
pub fn pixels(job: &Job) -> Result<Vec<Pixel>, StageError> {
    let science = &job.science;
    let seed = job.campaign.campaign.seed;
    let bands = job.campaign.campaign.bands.len();
    let Some(mock) = &science.mock else { return Ok(Vec::new()) };
    let galaxies = mock.galaxies(seed, &science.prior, &science.forward, &science.noise)?;
    let members: Vec<_> =
        galaxies.iter().flat_map(|g| g.pixels.iter().map(move |p| (g, p))).collect();
    parallel::map(
        members.len(),
        job.threads,
        || science.forward.workspace(),
        |workspace, i| {
            let (galaxy, pixel) = members[i];
            let mut noiseless = vec![0.0; bands];
            let derived = science.forward.photometry(
                &pixel.parameters,
                Components::Full,
                workspace,
                &mut noiseless,
            )?;
            let place = (u64::from(pixel.y as u32) << 32) | u64::from(pixel.x as u32);
            let mut stream = Stream::new(seed, Purpose::MockPixel, galaxy.galaxy_id as u64, place);
            let conditions = mock.conditions(&science.noise, pixel.x, pixel.y);
            let (mut flux_njy, mut err_njy) = (vec![0.0; bands], vec![0.0; bands]);
            let noise = &science.noise;
            noise.observe(&noiseless, &conditions, &mut stream, &mut flux_njy, &mut err_njy);
            let mut free = vec![0.0; science.free.len()];
            science.prior.to_free(&pixel.parameters, stream.uniform(), &mut free)?;
            Ok(Pixel {
                galaxy_id: galaxy.galaxy_id,
                x: pixel.x,
                y: pixel.y,
                redshift: Some(galaxy.redshift),
                flux_njy,
                err_njy,
                truth: Some(truth(science, &free, &pixel.parameters, &derived)),
            })
        },
    )
}
