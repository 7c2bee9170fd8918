//! Removes every row that names a contact, from every table. What the rows of other contacts say of
//! it goes, too. Whoever adds a column with an id adds it here: a test looks through all columns.

use super::due::put_again;
use super::{Result, Transaction, keap_ids, link};
use crate::contact::{IntercomId, KeapId};
use crate::outcome::{NAMED_AN_ERASED_CONTACT, patterns_naming};

/// Removes the rows of a contact. Contacts that waited for it become due.
pub(super) async fn remove(
    tx: &mut Transaction,
    keap: KeapId,
    intercom: &[IntercomId],
) -> Result<()> {
    let intercom: Vec<&str> = intercom.iter().map(IntercomId::as_str).collect();
    release(tx, keap, &intercom).await?;
    link::remove(tx, &[keap]).await?;
    remove_own(tx, keap, &intercom).await?;
    remove_log(tx, keap, &intercom).await?;
    clean_texts(tx, keap, &intercom).await?;
    clean_places(tx, keap).await
}

/// Ends the holds that name the contact, and takes its Intercom contacts from others' choices.
async fn release(tx: &mut Transaction, keap: KeapId, intercom: &[&str]) -> Result<()> {
    let waiting: Vec<i64> =
        sqlx::query_scalar("delete from contact_hold where about = $1 returning keap_contact_id")
            .bind(keap.get())
            .fetch_all(&mut **tx)
            .await?;
    let waiting = waiting.into_iter().filter(|id| *id != keap.get()).collect();
    put_again(tx, &keap_ids(waiting)?).await?;
    for table in ["contact_hold", "contact_due"] {
        let sql = format!(
            "update {table} set candidates = array(select id from unnest(candidates) as id where id <> all($1))
              where candidates && $1"
        );
        sqlx::query(sqlx::AssertSqlSafe(sql)).bind(intercom).execute(&mut **tx).await?;
    }
    Ok(())
}

/// Removes the rows that are about the contact alone, in both directions.
async fn remove_own(tx: &mut Transaction, keap: KeapId, intercom: &[&str]) -> Result<()> {
    for table in ["contact_due", "contact_hold", "sweep_candidate"] {
        let sql = format!("delete from {table} where keap_contact_id = $1");
        sqlx::query(sqlx::AssertSqlSafe(sql)).bind(keap.get()).execute(&mut **tx).await?;
    }
    for (table, own) in [
        ("former_link", "keap_contact_id = $1"),
        ("contact_decision", "keap_contact_id = $1"),
        ("contact_intent", "keap_contact_id = $1 or keap_id_made = $1"),
        ("intercom_due", "about = $1"),
        ("plan_contact", "keap_contact_id = $1"),
    ] {
        let sql = format!("delete from {table} where {own} or intercom_contact_id = any($2)");
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(keap.get())
            .bind(intercom)
            .execute(&mut **tx)
            .await?;
    }
    sqlx::query("update contact_intent set borrowed_id = null where borrowed_id = any($1)")
        .bind(intercom)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Removes the contact's log. A row of another contact loses the Intercom id.
async fn remove_log(tx: &mut Transaction, keap: KeapId, intercom: &[&str]) -> Result<()> {
    sqlx::query("delete from keap_intercom_sync_logs where keap_contact_id = $1")
        .bind(keap.to_string())
        .execute(&mut **tx)
        .await?;
    sqlx::query(
        "update keap_intercom_sync_logs set intercom_contact_id = null where intercom_contact_id = any($1)",
    )
    .bind(intercom)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Replaces the texts that name the contact. It reads whole tables: no index leads to a text.
async fn clean_texts(tx: &mut Transaction, keap: KeapId, intercom: &[&str]) -> Result<()> {
    let mut patterns: Vec<String> = patterns_naming(keap).into();
    // `_` is a wildcard of `like`, and an id may have one.
    patterns.extend(intercom.iter().map(|id| format!("%{}%", id.replace('_', "\\_"))));
    for (table, column) in [
        ("keap_intercom_sync_logs", "error_message"),
        ("contact_due", "last_error"),
        ("contact_hold", "detail"),
        ("intercom_due", "detail"),
        ("sync_run", "error"),
        ("sync_plan", "why"),
        ("erasure", "last_error"),
    ] {
        let sql = format!("update {table} set {column} = $2 where {column} like any($1)");
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(&patterns)
            .bind(NAMED_AN_ERASED_CONTACT)
            .execute(&mut **tx)
            .await?;
    }
    // The answer of a batch is kept for a day, so that a repeat gets it again.
    let named = patterns.iter().map(|pattern| format!("%{}%", pattern.trim_matches('%')));
    let listed = ["}", ","].map(|end| format!("%\"keapContactId\":{keap}{end}%"));
    sqlx::query("delete from sync_batch where answer::text like any($1)")
        .bind(named.chain(listed).collect::<Vec<_>>())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// A poll names one contact whose stamp is ahead of Keap's clock. The next poll counts them again.
async fn clean_places(tx: &mut Transaction, keap: KeapId) -> Result<()> {
    sqlx::query(
        "update sync_cursor set ahead_contacts = null, ahead_example = null, ahead_until = null
          where ahead_example = $1",
    )
    .bind(keap.get())
    .execute(&mut **tx)
    .await?;
    Ok(())
}
