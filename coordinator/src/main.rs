//! The command line `outshine`.
fn main() {}
