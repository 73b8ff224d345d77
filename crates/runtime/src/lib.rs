//! mesh-six-runtime
