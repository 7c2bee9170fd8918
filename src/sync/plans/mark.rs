//! The mark of a plan: tells the mapping and the two accounts that it was made for.

use super::super::context::Context;
use super::super::result::Halt;
use crate::contact::Digest;

/// The mark of this process. It costs a call to each side, once.
pub(in crate::sync) async fn mark(context: &Context) -> Result<Digest, Halt> {
    let learn = async || {
        let account = context.keap.account().await.map_err(Halt::of_reading)?;
        let workspace = context.intercom.workspace().await.map_err(Halt::of_reading)?;
        let mapping = context.fields.settings_digest.map(|byte| format!("{byte:02x}")).concat();
        let both = context.policy.direction.to_keap.then_some("both");
        let parts = [
            Some(mapping.as_str()),
            both,
            account.tenant.as_deref(),
            workspace.id_code.as_deref(),
            workspace.region.as_deref(),
        ];
        Ok::<_, Halt>(context.key.plan(parts))
    };
    context.board.mark.get_or_try_init(learn).await.copied()
}
