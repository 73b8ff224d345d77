//! mesh-six-llm
