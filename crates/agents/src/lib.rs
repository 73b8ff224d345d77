//! mesh-six-agents
