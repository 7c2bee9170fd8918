//! The addresses of a contact's pages in both products.

use crate::contact::KeapId;

/// Keap's page of a contact. `tenant`: what Keap calls the account, `xy123` or
/// `xy123.infusionsoft.com`. `None`: that is no name of an account.
pub fn in_keap(tenant: &str, id: KeapId) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    let begins_well = tenant.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !begins_well || !tenant.chars().all(is_plain) {
        return None;
    }
    let host = match tenant.split_once('.') {
        None => format!("{tenant}.infusionsoft.com"),
        Some((_, "infusionsoft.com" | "keap.com")) => tenant.to_owned(),
        Some(_) => return None,
    };
    Some(format!("https://{host}/Contact/manageContact.jsp?view=edit&ID={id}"))
}

/// Intercom's page of a contact. `workspace` and `region`: what Intercom calls the workspace, and
/// where it is hosted. `None`: that is no code of a workspace, or no known region.
pub fn in_intercom(workspace: &str, region: &str, id: &str) -> Option<String> {
    let is_plain = |text: &str| {
        !text.is_empty()
            && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    };
    if !is_plain(workspace) || !is_plain(id) {
        return None;
    }
    let host = match region.to_ascii_lowercase().as_str() {
        "us" => "app.intercom.com",
        "eu" => "app.eu.intercom.com",
        "au" => "app.au.intercom.com",
        _ => return None,
    };
    Some(format!("https://{host}/a/apps/{workspace}/users/{id}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keaps_page_is_on_the_host_of_the_account() {
        let id = KeapId::new(12).unwrap();
        let page = Some("https://xy123.infusionsoft.com/Contact/manageContact.jsp?view=edit&ID=12");

        for tenant in ["xy123", "xy123.infusionsoft.com"] {
            assert_eq!(in_keap(tenant, id).as_deref(), page);
        }
        for evil in
            ["", "evil.example", "x/y", "a@b", ".infusionsoft.com", "xy123.infusionsoft.com.evil"]
        {
            assert_eq!(in_keap(evil, id), None, "{evil}");
        }
    }

    #[test]
    fn intercoms_page_is_on_the_host_of_the_region() {
        for (region, host) in [("US", ""), ("eu", ".eu"), ("AU", ".au")] {
            let page = format!("https://app{host}.intercom.com/a/apps/abc123/users/67f0");
            assert_eq!(in_intercom("abc123", region, "67f0"), Some(page));
        }
        for (workspace, region, id) in
            [("", "us", "1"), ("a/b", "us", "1"), ("a", "mars", "1"), ("a", "us", "../1")]
        {
            assert_eq!(in_intercom(workspace, region, id), None);
        }
    }
}
