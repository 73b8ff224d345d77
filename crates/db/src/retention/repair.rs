//! The default partition, once it has caught rows.

use diesel::sql_types::Text;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::{error::DbResult, owner::patiently, statement::Statement};

/// Gives the rows of the default partition a partition of their months, without deleting any, and makes a new, empty
/// default one. Returns the partitions that were made; none where there was nothing to repair. Writers and readers
/// wait while the rows are checked. Tries again while open readers are in the way.
pub async fn repair_default(conn: &mut AsyncPgConnection) -> DbResult<Vec<String>> {
    let made: Vec<(String,)> = patiently(conn, async |conn| {
        Ok(Statement::<(Text,)>::new("SELECT * FROM mesh_six_repair_default()").load(conn).await?)
    })
    .await?;
    Ok(made.into_iter().map(|(name,)| name).collect())
}
