//! `outshine model import` and `check` on the paper's own network, as a user
//! runs them.

use anyhow::Context;
use outshine_tests::processes::{outshine_error, outshine_ok};
use outshine_tests::reference;
use std::path::Path;

const FILES: [&str; 3] = ["model.json", "model.safetensors", "vectors.safetensors"];

#[test]
fn the_papers_network_is_imported_and_checked() -> anyhow::Result<()> {
    let Some(weights) = reference::file("sbipix_maf/model.safetensors") else { return Ok(()) };
    let published = weights.parent().context("a folder")?;
    let folder = tempfile::tempdir()?;
    let text = |path: &Path| path.display().to_string();
    let imported = folder.path().join("imported");
    outshine_ok(&["model", "import", &text(published), &text(&imported)], &[])?;
    let said = outshine_ok(&["model", "check", &text(&imported)], &[])?;
    for word in ["log_mass_stellar", "dust2", "log_prob"] {
        assert!(said.contains(word), "{said}");
    }
    let error = outshine_error(&["model", "import", &text(published), &text(&imported)], &[])?;
    assert!(error.contains("imported"), "an existing folder is kept: {error}");

    // Some weights changed, as by a bad disk: masks or vectors tell.
    let damaged = folder.path().join("damaged");
    std::fs::create_dir(&damaged)?;
    for file in FILES {
        std::fs::copy(published.join(file), damaged.join(file))?;
    }
    let mut bytes = std::fs::read(damaged.join(FILES[1]))?;
    let data = 8 + u64::from_le_bytes(*bytes.first_chunk().context("a header")?) as usize;
    for i in (data + 3..bytes.len()).step_by(4000) {
        bytes[i] ^= 0x01;
    }
    std::fs::write(damaged.join(FILES[1]), &bytes)?;
    let error = outshine_error(&["model", "check", &text(&damaged)], &[])?;
    assert!(error.contains("model.safetensors") || error.contains("deviate"), "{error}");

    bytes.truncate(1000);
    std::fs::write(damaged.join(FILES[1]), &bytes)?;
    let error = outshine_error(&["model", "check", &text(&damaged)], &[])?;
    assert!(error.contains("model.safetensors"), "{error}");
    Ok(())
}
