//! mesh-six
fn main() {}
