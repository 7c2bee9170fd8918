-- Holds that can end without a change in Keap, and what Keap showed when a link was last written.
-- Expanding only: the former release keeps working beside this schema.

-- When the contact is looked at again by itself. Null: a change in Keap or a person ends the hold.
alter table contact_hold add column recheck_at timestamptz;
create index contact_hold_recheck on contact_hold (recheck_at) where recheck_at is not null;

create or replace view contact_held as
select hold.* from contact_hold hold
 where not exists (select from contact_due due where due.keap_contact_id = hold.keap_contact_id and not due.held);

-- The order in which the bases of a link stand. A changed mapping is a new row, and old bases are
-- read by their own row.
create table sync_mapping (
    id integer generated always as identity primary key,
    fields text[] not null,
    -- A hash of the whole mapping, places included. It holds names of fields and no person.
    settings_digest bytea not null
        constraint sync_mapping_settings_digest_key unique,
    created_at timestamptz not null default now()
);
comment on table sync_mapping is 'Mappings of fields, in whose order contact_link stores bases.';

-- Keyed digests of the values that a side showed when the link was last written, 8 bytes for each
-- field of the mapping. Null: a former release wrote the link. Empty: the side has shown nothing.
alter table contact_link
    add column mapping_id integer
        constraint contact_link_mapping_id_fkey references sync_mapping (id),
    add column keap_base bytea,
    add column intercom_base bytea,
    -- When the bases were written. They count only while this equals updated_at: a former release
    -- that runs beside this one writes a link without them.
    add column based_at timestamptz;
