//! The pages of contacts in both products. Each account is asked once for its name.

use std::sync::Arc;

use tokio::sync::OnceCell;

use super::{intercom_client_of, keap_client};
use crate::config::Settings;
use crate::contact::KeapId;
use crate::intercom::IntercomClient;
use crate::keap::KeapClient;
use crate::report::pages;

/// Finds the pages of contacts.
pub struct Pages {
    keap: Arc<KeapClient>,
    intercom: Arc<IntercomClient>,
    /// The region of the settings, for a workspace that does not name its own.
    region: String,
    tenant: OnceCell<String>,
    /// The code of the workspace, and its region.
    workspace: OnceCell<(String, String)>,
}

impl Pages {
    /// With clients of its own.
    pub fn build(settings: &Settings) -> anyhow::Result<Self> {
        let (keap, intercom) = (keap_client(settings)?, intercom_client_of(settings)?);
        Ok(Self::of(Arc::new(keap), Arc::new(intercom), settings))
    }

    pub fn of(keap: Arc<KeapClient>, intercom: Arc<IntercomClient>, settings: &Settings) -> Self {
        let region = format!("{:?}", settings.intercom.region);
        Self { keap, intercom, region, tenant: OnceCell::new(), workspace: OnceCell::new() }
    }

    /// The page in Keap. `Err` says why it is not known.
    pub async fn in_keap(&self, id: KeapId) -> Result<String, String> {
        let missing = || "Keap does not name the account of the key".to_owned();
        let ask = async || {
            let account = self.keap.account().await.map_err(|failure| failure.to_string())?;
            account.tenant.ok_or_else(missing)
        };
        let tenant = self.tenant.get_or_try_init(ask).await?;
        pages::in_keap(tenant, id).ok_or_else(missing)
    }

    /// The page in Intercom. `Err` says why it is not known.
    pub async fn in_intercom(&self, id: &str) -> Result<String, String> {
        let ask = async || {
            let asked = self.intercom.workspace().await.map_err(|failure| failure.to_string())?;
            let region = asked.region.unwrap_or_else(|| self.region.clone());
            Ok::<_, String>((asked.id_code.unwrap_or_default(), region))
        };
        let (code, region) = self.workspace.get_or_try_init(ask).await?;
        pages::in_intercom(code, region, id)
            .ok_or_else(|| "Intercom does not name the workspace of the token".to_owned())
    }
}
