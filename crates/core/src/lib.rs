//! mesh-six-core
