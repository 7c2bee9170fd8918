//! Mappings: the fields in whose order links store their bases.

use std::collections::HashMap;

use sqlx::FromRow;

use super::{Result, Store, Transaction};
use crate::contact::{Bases, FieldName, FieldOrder};

/// The mappings that links have been written by. There are few.
pub(super) struct Mappings(HashMap<i32, FieldOrder>);

#[derive(FromRow)]
struct StoredMapping {
    id: i32,
    fields: Vec<String>,
    settings_digest: Vec<u8>,
}

impl Mappings {
    pub(super) async fn read(tx: &mut Transaction) -> Result<Self> {
        let rows: Vec<StoredMapping> =
            sqlx::query_as("select id, fields, settings_digest from sync_mapping")
                .fetch_all(&mut **tx)
                .await?;
        let known = rows.into_iter().filter_map(|row| {
            let names = row.fields.iter().map(|name| FieldName::from(name.as_str())).collect();
            let settings_digest = row.settings_digest.try_into().ok()?;
            Some((row.id, FieldOrder::of_stored(names, settings_digest)))
        });
        Ok(Self(known.collect()))
    }

    /// Stored bases. `None` if their mapping is not known, or does not fit.
    pub(super) fn bases(&self, mapping: Option<i32>, bytes: Vec<u8>) -> Option<Bases> {
        let order = match mapping {
            Some(id) => Some(self.0.get(&id)?.clone()),
            None => None,
        };
        Bases::of_stored(order, bytes)
    }
}

impl Store {
    /// The fields of all mappings so far, as [`FieldOrder::identities`] names them. Those of the
    /// latest mapping come first.
    pub async fn stored_fields(&self) -> Result<Vec<String>> {
        transaction!(self, tx, {
            Ok(sqlx::query_scalar("select unnest(fields) from (select fields from sync_mapping order by id desc) latest")
                .fetch_all(&mut **tx)
                .await?)
        })
    }
}

/// The id of a mapping. The first link that is written by it stores it.
pub(super) async fn id_of(tx: &mut Transaction, order: Option<&FieldOrder>) -> Result<Option<i32>> {
    let Some(order) = order else {
        return Ok(None);
    };
    let names: Vec<&str> = order.identities().iter().map(FieldName::as_str).collect();
    Ok(sqlx::query_scalar(
        "with known as (select id from sync_mapping where settings_digest = $2),
              new as (insert into sync_mapping (fields, settings_digest)
                      select $1, $2 where not exists (select from known)
                      -- Another transaction may store it at the same moment.
                      on conflict (settings_digest) do update set fields = excluded.fields returning id)
         select id from known union all select id from new",
    )
    .bind(names)
    .bind(order.settings_digest.as_slice())
    .fetch_optional(&mut **tx)
    .await?)
}
