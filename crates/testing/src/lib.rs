//! mesh-six-testing
