//! One file per subcommand.

pub mod catalogue;
#[cfg(feature = "local")]
pub mod fit;
pub mod gc;
#[cfg(feature = "local")]
pub mod maps;
pub mod plan;
pub mod retry;
pub mod run;
#[cfg(feature = "local")]
pub mod science;
pub mod status;
pub mod verify;

use bytes::Bytes;
use clap::Args;
use outshine_coordinator::progress;
use outshine_coordinator::stage_graph::StageGraph;
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

    /// Opens the store and finds the campaign in it; writes nothing.
    pub async fn find(&self) -> anyhow::Result<(Store, ResolvedCampaign)> {
        let campaign = Campaign::load(&self.campaign, &self.settings)?;
        let store = outshine_store::open(&self.store).await?;
        let (campaign, _) = outshine_coordinator::prepare::resolve(campaign).await?;
        Ok((store, campaign))
    }

    /// As [`Place::find`], with the campaign's inputs; makes no folder where
    /// there is none, and then has no store.
    pub async fn peek(&self) -> anyhow::Result<(Option<Store>, ResolvedCampaign, Vec<Bytes>)> {
        let campaign = Campaign::load(&self.campaign, &self.settings)?;
        let (campaign, inputs) = outshine_coordinator::prepare::resolve(campaign).await?;
        let is_folder = !self.store.contains(':');
        if is_folder && !std::path::Path::new(&self.store).exists() {
            return Ok((None, campaign, inputs));
        }
        Ok((Some(outshine_store::open(&self.store).await?), campaign, inputs))
    }

    /// As [`Place::open`], with all that is known of the campaign's progress.
    pub async fn look(&self) -> anyhow::Result<(Store, ResolvedCampaign, StageGraph)> {
        let (store, campaign) = self.open().await?;
        let mut graph = StageGraph::new(campaign.clone());
        progress::refresh(&store, &campaign.id(), &mut graph).await?;
        Ok((store, campaign, graph))
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
