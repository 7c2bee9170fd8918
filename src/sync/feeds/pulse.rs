//! The pulse: tells a page that fails from a Keap that does not work at all.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::contact::KeapId;
use crate::feed::Lane;
use crate::keap::{KeapClient, Page, PageQuery, Place, Show};
use crate::remote::Failure;

/// After this many failures in a row, Keap is asked again whether it works. A few more, and the
/// client would leave Keap alone for a while.
const FAILURES_IN_A_ROW: u32 = 3;

/// Watches the calls of one reading. Its first failure leads to a harmless call, and so does a row
/// of failures.
#[derive(Default)]
pub(crate) struct Pulse {
    /// Failures since Keap last worked, plus one; zero where nothing has shown that it works.
    count: AtomicU32,
}

impl Pulse {
    /// A call worked.
    pub(crate) fn worked(&self) {
        self.count.store(1, Ordering::Relaxed);
    }

    /// A call failed. Fails with the same words if Keap does not work at all.
    pub(crate) async fn failed(
        &self,
        keap: &KeapClient,
        lane: Lane,
        why: &str,
    ) -> Result<(), Failure> {
        let count = self.count.load(Ordering::Relaxed);
        if (1..=FAILURES_IN_A_ROW).contains(&count) {
            self.count.store(count + 1, Ordering::Relaxed);
            return Ok(());
        }
        match ask_for_nobody(keap, lane).await {
            Ok(_) => {
                self.worked();
                Ok(())
            }
            Err(_) => Err(Failure::again(why)),
        }
    }
}

/// Reads a page that holds no contact, so that no bad row can make it fail.
pub(crate) async fn ask_for_nobody(keap: &KeapClient, lane: Lane) -> Result<Page, Failure> {
    let query = PageQuery {
        from: None,
        until: None,
        place: Place::After(KeapId::LAST),
        page_size: 1,
        show: Show::Stamp,
    };
    keap.page(lane, &query).await
}
