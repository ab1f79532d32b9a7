//! Reference data that lie beside the project on some machines and are no
//! part of it.

use std::path::PathBuf;

/// Names the folder of reference data.
pub const VARIABLE: &str = "OUTSHINE_REFERENCE";

/// A file of the reference data, or `None`, said loudly, where it is absent.
#[must_use]
#[allow(clippy::print_stderr)]
pub fn file(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os(VARIABLE).map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/reference"),
        PathBuf::from,
    );
    let path = folder.join(name);
    if path.is_file() {
        return Some(path);
    }
    eprintln!("SKIPPED: no {name}: set {VARIABLE} to the folder of reference data");
    None
}
