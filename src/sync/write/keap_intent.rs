//! The intent of the writes to Keap, while they are under way.

use uuid::Uuid;

use crate::sync::under_way::UnderWay;

/// The intent of the writes of one contact to Keap. It is under way until this is dropped.
pub(crate) struct KeapIntent {
    pub id: Uuid,
    under_way: UnderWay,
}

impl KeapIntent {
    /// From now on nobody takes the intent for a write with an unknown outcome.
    pub(crate) fn begin(id: Uuid, under_way: &UnderWay) -> Self {
        under_way.add(&[id]);
        Self { id, under_way: under_way.clone() }
    }
}

impl Drop for KeapIntent {
    fn drop(&mut self) {
        self.under_way.remove(&[self.id]);
    }
}
