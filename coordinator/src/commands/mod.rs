//! One file per subcommand.

pub mod catalogue;
#[cfg(feature = "local")]
pub mod fit;
pub mod gc;
#[cfg(feature = "local")]
pub mod maps;
#[cfg(feature = "local")]
pub mod pixel;
pub mod plan;
#[cfg(feature = "local")]
mod posteriors;
#[cfg(feature = "local")]
pub mod report;
pub mod retry;
pub mod run;
#[cfg(feature = "local")]
pub mod science;
#[cfg(feature = "local")]
mod seen;
pub mod status;
pub mod verify;

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use outshine_coordinator::export::Sky;
use outshine_coordinator::look::Look;
use outshine_schemas::campaign::{Campaign, ResolvedCampaign};
use outshine_store::Store;
use std::path::PathBuf;

/// A campaign and where it lives.
#[derive(Args, Clone)]
pub struct Place {
    /// The campaign file.
    pub campaign: PathBuf,
    /// Sets a key of the campaign, such as `fit.draws=200`; repeat for more.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
    /// Store: a folder, file:///path or s3://bucket/prefix.
    #[arg(long, env = "OUTSHINE_STORE", default_value = "outshine-store")]
    pub store: String,
}

impl Place {
    /// Opens the store and stores the campaign, if it is new.
    pub async fn open(&self) -> anyhow::Result<(Store, ResolvedCampaign)> {
        let campaign = self.check()?;
        let store = outshine_store::open(&self.store).await?;
        let resolved = outshine_coordinator::prepare::prepare(&store, campaign).await?;
        Ok((store, resolved))
    }

    /// Reads the campaign, with the sections that the science reads where it is
    /// linked in.
    pub fn check(&self) -> anyhow::Result<Campaign> {
        let campaign = Campaign::load(&self.campaign, &self.settings)?;
        #[cfg(feature = "local")]
        outshine_worker::stages::Science::new(&campaign)
            .map_err(|e| anyhow::anyhow!("{}: {}", self.campaign.display(), e.report()))?;
        Ok(campaign)
    }

    /// The campaign, its inputs, and the store if there is one: makes no folder
    /// and writes nothing.
    pub async fn peek(&self) -> anyhow::Result<(Option<Store>, ResolvedCampaign, Vec<Bytes>)> {
        let campaign = Campaign::load(&self.campaign, &self.settings)?;
        let (campaign, inputs) = outshine_coordinator::prepare::resolve(campaign).await?;
        Ok((outshine_store::open_existing(&self.store).await?, campaign, inputs))
    }

    /// How the field lies on the sky: as the file has it now, which is no part of what
    /// was stored first.
    pub fn sky(&self) -> anyhow::Result<Sky> {
        let campaign = Campaign::load(&self.campaign, &self.settings)?;
        Ok(Sky::of(campaign.field.image.as_ref()))
    }

    /// As [`Place::peek`], of a store that is there.
    pub async fn find(&self) -> anyhow::Result<(Store, ResolvedCampaign)> {
        let (store, campaign, _) = self.peek().await?;
        let store = store.with_context(|| {
            let (store, id) = (&self.store, campaign.id());
            format!("there is no folder {store}: run campaign {id} first, or give its --store")
        })?;
        Ok((store, campaign))
    }

    /// As [`Place::find`], of a campaign that is there.
    pub async fn look(&self) -> anyhow::Result<(Store, Look)> {
        let (store, campaign) = self.find().await?;
        let look = Look::find(&store, &campaign).await?;
        Ok((store, look.with_context(|| self.absent(&campaign))?))
    }

    /// What to do about a campaign that the store does not have.
    pub fn absent(&self, campaign: &ResolvedCampaign) -> String {
        format!(
            "campaign {} is not in the store {}: run it first, or give its --store and --set",
            campaign.id(),
            self.store
        )
    }
}

/// One line, causes joined, without repeating what an outer error quotes.
#[allow(clippy::print_stderr)]
pub fn print_error(error: &anyhow::Error) {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
    }
    eprintln!("outshine: {text}");
}
