-- Intents: what is about to be written to a remote. A row is stored before the call, and removed
-- with the record of a certain answer. A row that is found says that the remote's side of this
-- contact is unknown. Expanding only: the former release neither reads nor writes this table.
create table contact_intent (
    id uuid primary key,
    created_at timestamptz not null default now(),
    -- The lease under which it was stored.
    epoch bigint not null,
    -- The contact, as far as its ids are known.
    keap_contact_id bigint
        constraint contact_intent_keap_contact_id_check check (keap_contact_id > 0),
    intercom_contact_id text,
    -- The side that is written, and what is done there. A link, an unarchive, a tag and a consent
    -- are updates.
    side text not null
        constraint contact_intent_side_check check (side in ('keap', 'intercom')),
    kind text not null
        constraint contact_intent_kind_check check (kind in ('create', 'update', 'archive')),
    -- The fields that are written, and an 8-byte keyed digest of each value, in the same order.
    fields text[] not null default '{}',
    sent bytea not null default '',
    -- The e-mail of a create in Keap, and the id that Keap gave.
    email_digest bytea,
    keap_id_made bigint,
    -- An archived Intercom contact of somebody else that is live only to be looked at.
    borrowed_id text,
    -- When the call ends at the latest, and when the contact is read once more because the call may
    -- land late. Null: the contact was not read yet.
    deadline timestamptz not null,
    recheck_at timestamptz
);
comment on table contact_intent is 'Writes that are under way, or whose outcome is unknown.';
create index contact_intent_keap on contact_intent (keap_contact_id);
create index contact_intent_recheck on contact_intent (recheck_at) where recheck_at is not null;
