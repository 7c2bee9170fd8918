//! Finds the contact that Keap cannot show: seen on v2 lists, a single bad row fails every page that holds it (`api/keap.md` 4).

use crate::contact::KeapId;
use crate::keap::{KeapClient, PageQuery};
use crate::remote::{Failure, Lane};

/// The first id after `last` whose page fails. `query` asks for one row after `last`, up to an id. `None`: the page works again.
///
/// Costs about two calls a doubling of the gap between the ids.
pub async fn find(
    keap: &KeapClient,
    lane: Lane,
    last: Option<KeapId>,
    query: impl Fn(KeapId) -> PageQuery,
) -> Result<Option<KeapId>, Failure> {
    let start = last.map_or(0, KeapId::get);
    // Nothing lies in (start, start + clear]; something fails in (start, start + fails].
    let (mut clear, mut fails) = (0_i64, None);
    let mut step = 1_i64;
    loop {
        let reach = match fails {
            None => clear.saturating_add(step),
            Some(fails) if fails - clear <= 1 => {
                return Ok(start.checked_add(fails).and_then(KeapId::new));
            }
            Some(fails) => clear + (fails - clear) / 2,
        };
        let Some(up_to) = start.checked_add(reach).and_then(KeapId::new) else {
            return Ok(None);
        };
        match keap.page(lane, &query(up_to)).await {
            Ok(page) if page.rows.is_empty() => {
                clear = reach;
                step = step.saturating_mul(2);
            }
            Ok(_) => return Ok(None),
            Err(Failure::Again { .. }) => fails = Some(reach),
            Err(failure) => return Err(failure),
        }
    }
}
