//! mesh-six-db
