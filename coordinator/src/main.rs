//! The command line `outshine`.

mod commands;

use clap::{Parser, Subcommand};

/// Stellar masses, star-formation histories and dust from JWST and HST images,
/// pixel by pixel, with calibrated uncertainties.
#[derive(Parser)]
#[command(name = "outshine", version)]
struct Arguments {
    /// Logs as JSON, one object per line.
    #[arg(long, env = "OUTSHINE_JSON_LOGS", global = true)]
    json_logs: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a campaign, or go on with it: the two are the same.
    Run(commands::run::Arguments),
    /// Say what a campaign will take, before anything runs: tasks, processor
    /// time, bytes, requests. Writes nothing.
    Plan(commands::plan::Arguments),
    /// Show how far a campaign is. Writes nothing.
    Status(commands::status::Arguments),
    /// Put the failed tasks of a campaign back to work with the next run.
    Retry(commands::retry::Arguments),
    /// Check every object of a campaign against what is recorded of it.
    Verify(commands::verify::Arguments),
    /// Remove what a campaign does not need any more: files that no commit names,
    /// records of failures and losses of tasks that were done all the same, and
    /// indexes of commits of another plan.
    /// Safe at any time: what belongs to tasks that may still be committed stays.
    Gc(commands::gc::Arguments),
    /// Write the products of a campaign to a folder, or load them into a database.
    #[command(subcommand)]
    Catalogue(commands::catalogue::Command),
    /// Make maps, panels and radial profiles of a campaign's galaxies: FITS, PNG,
    /// SVG, Parquet and ECSV. Writes nothing to the store.
    #[cfg(feature = "local")]
    Maps(commands::maps::Arguments),
    /// Make one file of HTML that shows what was run, how far the model can be
    /// trusted, and what came out. Writes nothing to the store.
    #[cfg(feature = "local")]
    Report(commands::report::Arguments),
    /// Show what was inferred of pixels that you name: corner plots, star-formation
    /// histories and posterior predictive checks, as PNG, SVG, Parquet and CSV. Writes
    /// nothing to the store.
    #[cfg(feature = "local")]
    Pixel(commands::pixel::Arguments),
    /// Fit a table of pixels on this machine.
    #[cfg(feature = "local")]
    Fit(commands::fit::Arguments),
    /// Photometry of a table of parameters.
    #[cfg(feature = "local")]
    Photometry(commands::science::Photometry),
    /// Libraries of stellar populations.
    #[cfg(feature = "local")]
    #[command(subcommand)]
    Ssp(commands::science::Ssp),
    /// Noise models.
    #[cfg(feature = "local")]
    #[command(subcommand)]
    Noise(commands::science::Noise),
    /// Estimators: the project's own, and published ones.
    #[cfg(feature = "local")]
    #[command(subcommand)]
    Model(commands::science::Model),
}

#[tokio::main]
async fn main() -> std::process::ExitCode {
    let arguments = Arguments::parse();
    // Warnings only, so that logs do not tear the progress bars.
    outshine_observe::start_logs(arguments.json_logs, "warn");
    let result = match arguments.command {
        Command::Run(a) => commands::run::main(a).await,
        Command::Plan(a) => commands::plan::main(a).await,
        Command::Status(a) => commands::status::main(a).await,
        Command::Retry(a) => commands::retry::main(a).await,
        Command::Verify(a) => commands::verify::main(a).await,
        Command::Gc(a) => commands::gc::main(a).await,
        Command::Catalogue(c) => commands::catalogue::main(c).await,
        #[cfg(feature = "local")]
        Command::Maps(a) => commands::maps::main(a).await,
        #[cfg(feature = "local")]
        Command::Report(a) => commands::report::main(a).await,
        #[cfg(feature = "local")]
        Command::Pixel(a) => commands::pixel::main(a).await,
        #[cfg(feature = "local")]
        Command::Fit(a) => commands::fit::main(a).await,
        #[cfg(feature = "local")]
        Command::Photometry(a) => commands::science::photometry(&a),
        #[cfg(feature = "local")]
        Command::Ssp(c) => commands::science::ssp(&c),
        #[cfg(feature = "local")]
        Command::Noise(c) => commands::science::noise(&c),
        #[cfg(feature = "local")]
        Command::Model(c) => commands::science::model(&c),
    };
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            commands::print_error(&error);
            // At once: returning would wait for computations in hand, whose
            // outcome nobody takes in any more.
            std::process::exit(1)
        }
    }
}
