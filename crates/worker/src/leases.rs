//! Which partitions this process works on: its fair share of them, each under
//! a lease that others take over when it is not renewed.

use std::collections::BTreeSet;

use kernel::{Partition, Uuid, crash};
use readmodel::{ReadError, leases};

use crate::context::WorkerContext;

/// How long a lease outlives its last renewal.
pub const LEASE_SECONDS: u32 = 5;

/// Renews what is held, gives back what is too much, takes what is free; and
/// returns what is held now.
pub(crate) async fn share(
    context: &WorkerContext,
    owner: Uuid,
    name: &str,
    partitions: u16,
) -> Result<BTreeSet<Partition>, ReadError> {
    let pool = context.pool();
    let workers = leases::announce(pool, owner, name, LEASE_SECONDS).await?;
    crash::point("lease.renew");
    let mut held = leases::renew(pool, owner, LEASE_SECONDS).await?;
    let fair = usize::from(partitions).div_ceil(workers.max(1));
    while held.len() > fair {
        if let Some(partition) = held.pop_last() {
            leases::release(pool, owner, &[partition]).await?;
        }
    }
    if held.len() < fair {
        let wanted = fair - held.len();
        held.extend(leases::take(pool, owner, partitions, wanted, LEASE_SECONDS).await?);
    }
    Ok(held)
}
