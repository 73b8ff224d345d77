//! mesh-six-sidecar
