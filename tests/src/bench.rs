//! A folder with a campaign, and the program as a user calls it there.

use crate::processes::{files, outshine, outshine_error, outshine_ok};
use anyhow::Context;
use std::path::PathBuf;
use std::process::Output;

/// Variables of the environment.
pub type Environment<'a> = &'a [(&'a str, String)];

/// A folder with a campaign file and, once it was run, its store.
pub struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    /// With the text of a campaign.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new(campaign: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("campaign.toml"), campaign)?;
        Ok(Self { folder })
    }

    /// A place in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same as text.
    pub fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// `COMMAND campaign.toml --store store MORE`; a command may have several words.
    fn arguments(&self, command: &str, more: &[&str]) -> Vec<String> {
        let own = [self.text("campaign.toml"), "--store".to_owned(), self.text("store")];
        let words = command.split_whitespace().map(str::to_owned);
        words.chain(own).chain(more.iter().map(|&word| word.to_owned())).collect()
    }

    fn call<T>(
        &self,
        command: &str,
        more: &[&str],
        call: impl FnOnce(&[&str]) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let arguments = self.arguments(command, more);
        call(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Calls `outshine`, however it ends.
    ///
    /// # Errors
    /// When it cannot be called.
    pub fn output(&self, command: &str, more: &[&str]) -> anyhow::Result<Output> {
        self.call(command, more, |all| outshine(all, &[]))
    }

    /// As [`outshine_ok`].
    ///
    /// # Errors
    /// What it said, if it failed.
    pub fn ok(&self, command: &str, more: &[&str]) -> anyhow::Result<String> {
        self.ok_in(command, more, &[])
    }

    /// As [`Bench::ok`], in an environment.
    ///
    /// # Errors
    /// What it said, if it failed.
    pub fn ok_in(
        &self,
        command: &str,
        more: &[&str],
        environment: Environment<'_>,
    ) -> anyhow::Result<String> {
        self.call(command, more, |all| outshine_ok(all, environment))
    }

    /// As [`outshine_error`].
    ///
    /// # Errors
    /// When it succeeded.
    pub fn error(&self, command: &str, more: &[&str]) -> anyhow::Result<String> {
        self.error_in(command, more, &[])
    }

    /// As [`Bench::error`], in an environment.
    ///
    /// # Errors
    /// When it succeeded.
    pub fn error_in(
        &self,
        command: &str,
        more: &[&str],
        environment: Environment<'_>,
    ) -> anyhow::Result<String> {
        self.call(command, more, |all| outshine_error(all, environment))
    }

    /// Flips a bit of the first object of the store whose name ends so; returns its
    /// name.
    ///
    /// # Errors
    /// When there is none, or it cannot be written.
    pub fn damage(&self, ending: &str) -> anyhow::Result<String> {
        let mut all = files(&self.path("store"))?.into_iter();
        let found = all.find(|(name, _)| name.ends_with(ending));
        let (name, bytes) = found.with_context(|| format!("no {ending}"))?;
        let mut bytes = bytes.to_vec();
        bytes[100] ^= 1;
        std::fs::write(self.path("store").join(&name), bytes)?;
        Ok(name)
    }
}
