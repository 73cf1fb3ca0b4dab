//! Build tool of this workspace.
fn main() {}
