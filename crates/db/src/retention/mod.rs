//! Retention: whole months go, never single rows, and only once they are closed, sealed and exported (events.md §5).
//! Also the repair of the default partition. All but [`plan`] and [`check_position`] run as the owner
//! ([`crate::owner`]).

mod buckets;
mod drop;
mod plan;
mod position;
mod repair;

pub use buckets::{Bucket, drop_buckets};
pub use drop::{Dropped, drop_month, export_range, record_export};
pub use plan::{Candidate, Plan, plan};
pub use position::check_position;
pub use repair::repair_default;
