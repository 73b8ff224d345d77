//! mesh-six-orchestrator
