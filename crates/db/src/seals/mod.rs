//! Seals: a hash chain over the log, so that whoever changes rows behind the application's back is found out
//! (events.md §5). `docs/seal-format.md` says how a stranger recomputes it.

mod close;
mod difference;
mod format;
mod locate;
mod model;
mod month;
mod rows;
mod run;
mod seal;
mod unsealed;
mod verify;

pub use difference::{Difference, RowChange, RowDifference};
pub use format::Hash;
pub use model::Head;
pub use month::Month;
pub use run::{EVERY, run};
pub use seal::{SealOptions, SealReport, head, is_closed, record_dropped, seal};
pub use unsealed::Unsealed;
pub use verify::{Expected, Progress, VerifyOptions, VerifyReport, verify};
