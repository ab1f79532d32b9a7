//! Galaxies of a report: their panels, and checks of two pixels of each.

use super::super::maps::{self, Source, Tables};
use super::super::posteriors::Posteriors;
use super::super::seen::Seen;
use super::missing;
use outshine_schemas::task::Stage;
use outshine_worker::stages::again::Spot;
use outshine_worker::tools::maps::Mapper;
use outshine_worker::tools::pixel;
use outshine_worker::tools::report::html::Page;
use outshine_worker::tools::report::{self, Checked, Galaxies};

/// The galaxies to show: those that are named, or so many of the highest mass.
pub fn ids(
    page: &mut Page,
    seen: &Seen,
    (named, most): (&[i64], usize),
    galaxies: Option<&Galaxies>,
) -> Vec<i64> {
    if seen.graph().commits(Stage::Field).is_empty() {
        missing(page, Stage::Field);
        return Vec::new();
    }
    let ids = match galaxies {
        _ if !named.is_empty() => named.to_vec(),
        Some(galaxies) => galaxies.most_massive(most),
        None => {
            missing(page, Stage::Catalogue);
            return Vec::new();
        }
    };
    if ids.is_empty() {
        page.note("No galaxy has a mass.");
    }
    let mut once: Vec<i64> = Vec::new();
    for id in ids {
        if !once.contains(&id) {
            once.push(id);
        }
    }
    once
}

/// Panels of galaxies, as `outshine maps` draws them; `sources`: these, and maybe others.
///
/// # Errors
/// A campaign whose maps cannot be drawn.
pub async fn panels(
    page: &mut Page,
    seen: &Seen,
    sources: &[Source],
    ids: &[i64],
    model: &str,
) -> anyhow::Result<()> {
    let Some(field) = seen.graph().commits(Stage::Field).first() else { return Ok(()) };
    let mapper = Mapper::new(&seen.given.campaign, &seen.name(), model)
        .map_err(|e| anyhow::anyhow!("{}: {}", seen.file, e.report()))?;
    let mut tables = Tables::new(seen);
    for id in ids {
        let Some(source) = sources.iter().find(|s| s.galaxy.galaxy_id == *id) else { continue };
        let panel = match maps::pixels(&mapper, &mut tables, field, source).await {
            Ok(pixels) => mapper.panel_svg(&source.galaxy, &pixels).map_err(anyhow::Error::from),
            Err(error) => Err(error),
        };
        match panel {
            Ok(svg) => {
                let caption = format!(
                    "Galaxy {id}: colours, maps of medians, and their uncertainties below."
                );
                page.figure(&svg, &caption);
            }
            Err(error) => page.warn(&format!("Galaxy {id} has no panel: {error:#}")),
        }
    }
    Ok(())
}

/// Posterior predictive checks of the brightest pixel of each galaxy and of one beyond
/// its half-mass radius, with figures of the brightest ones.
///
/// # Errors
/// Science sections that cannot be used.
pub async fn checks(page: &mut Page, seen: &Seen, ids: &[i64]) -> anyhow::Result<Vec<Checked>> {
    let mut checked = Vec::new();
    if ids.is_empty() {
        return Ok(checked);
    }
    page.part("Posterior predictive checks");
    let mut posteriors = Posteriors::of(seen)?;
    let mut figures = Vec::new();
    for &id in ids {
        let brightest = posteriors.brightest(id).await;
        let outside = match &brightest {
            Ok(_) => posteriors.outside(id).await.ok(),
            Err(_) => None,
        };
        // A galaxy of one pixel has none outside.
        for (which, spot) in [("brightest", Some(brightest)), ("outside", outside.map(Ok))] {
            let made = match spot {
                None => continue,
                Some(Ok(spot)) => check(&mut posteriors, spot).await,
                Some(Err(error)) => Err(error),
            };
            match made {
                Ok((one, svg)) => {
                    if which == "brightest" {
                        figures.push((one.spot, svg));
                    }
                    checked.push(one);
                }
                Err(error) => page.warn(&format!("Galaxy {id}, {which} pixel: {error:#}")),
            }
        }
    }
    if !checked.is_empty() {
        report::checks(page, &checked);
    }
    for (spot, svg) in figures {
        page.figure(&svg, &format!("Observed and predicted fluxes of {spot}, the brightest one."));
    }
    Ok(checked)
}

async fn check(posteriors: &mut Posteriors<'_>, spot: Spot) -> anyhow::Result<(Checked, String)> {
    let inferred = posteriors.infer(spot).await?;
    let (prediction, figure) = pixel::checked(&posteriors.model(&inferred))?;
    Ok((Checked { spot, mean_snr: inferred.mean_snr, prediction }, figure.svg))
}
