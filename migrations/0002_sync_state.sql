-- The state that passes stand on. Ids, digests and stamps only: no name, e-mail or phone is stored.

-- The key of all fingerprints and e-mail digests. Made once; without it every contact would look changed.
create table sync_digest_key (
    only_row boolean primary key default true
        constraint sync_digest_key_only_row_check check (only_row),
    key bytea not null
        constraint sync_digest_key_length_check check (length(key) >= 30),
    created_at timestamptz not null default now()
);
comment on table sync_digest_key is 'The one key of all keyed hashes of this installation.';
insert into sync_digest_key (key)
values (decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'));

-- The pair Keap id - Intercom id, with the fingerprint of what was last written.
create table contact_link (
    keap_contact_id bigint primary key
        constraint contact_link_keap_contact_id_check check (keap_contact_id > 0),
    intercom_contact_id text
        constraint contact_link_intercom_contact_id_key unique,
    state text not null
        constraint contact_link_state_check check (state in ('linked', 'skipped')),
    fingerprint bytea not null,
    -- How the contact looked when it was last acted on, with its stamp.
    sighting bytea not null,
    email_digest bytea,
    keap_updated_at timestamptz,
    -- When an Intercom contact that had vanished was last replaced: twice within an hour is a person deleting on purpose.
    replaced_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    -- A skipped contact is remembered so that it is told once per change; it has no Intercom contact.
    constraint contact_link_linked_has_id_check
        check ((state = 'linked') = (intercom_contact_id is not null))
);
comment on table contact_link is 'Which Intercom contact belongs to which Keap contact, and what was last written to it.';
create index contact_link_email_digest on contact_link (email_digest) where state = 'linked';

-- Contacts to look at: requests, retries and holds. One row per contact: repeats collapse.
create table contact_due (
    keap_contact_id bigint primary key
        constraint contact_due_keap_contact_id_check check (keap_contact_id > 0),
    reason text not null
        constraint contact_due_reason_check check (reason in ('manual', 'webhook', 'retry', 'again')),
    -- 0 manual, 1 webhook, 2 everything else: lower goes first.
    priority smallint not null,
    due_at timestamptz not null default now(),
    -- Counts requests. A row is removed only in the version that was looked at, so a request that comes meanwhile stays.
    version bigint not null default 1,
    attempts integer not null default 0,
    last_error text,
    held boolean not null default false,
    -- Intercom ids a person may choose from.
    candidates text[] not null default '{}',
    -- How the contact looked at the last attempt: a hold is revived by a change, not by a re-read.
    sighting bytea,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
comment on table contact_due is 'Contacts that are to be looked at again, or are held for a person.';
create index contact_due_next on contact_due (priority, due_at) where not held;
create index contact_due_held on contact_due (updated_at) where held;

-- Where each walk over Keap's contacts stands. Positions are Keap's own update stamps, never a clock's.
create table sync_cursor (
    feed text primary key
        constraint sync_cursor_feed_check check (feed in ('changed', 'backfill')),
    -- Every contact with a stamp up to here has been recorded.
    position timestamptz not null,
    -- Up to here nothing can still become visible late; polls start just after it. Never after `position`.
    settled timestamptz not null,
    -- Becomes `settled` once the overlap has passed since `settling_since`.
    settling timestamptz not null,
    settling_since timestamptz not null default now(),
    -- When a whole poll last succeeded, by Postgres's clock.
    polled_at timestamptz,
    -- The walk inside the current window; all null when none is under way.
    walking boolean not null default false,
    window_start timestamptz,
    window_end timestamptz,
    last_id bigint,
    page_token text,
    run_id uuid,
    updated_at timestamptz not null default now(),
    constraint sync_cursor_settled_check check (settled <= settling and settling <= position)
);
comment on table sync_cursor is 'How far each feed has come, and the place of the walk inside its current window.';

-- One scheduled or requested walk with its counts.
create table sync_run (
    id uuid primary key default gen_random_uuid(),
    feed text not null
        constraint sync_run_feed_check check (feed in ('changed', 'backfill', 'due')),
    reason text not null,
    state text not null
        constraint sync_run_state_check check (state in ('requested', 'running', 'done', 'failed')),
    since timestamptz,
    seen bigint not null default 0,
    created bigint not null default 0,
    linked bigint not null default 0,
    updated bigint not null default 0,
    unchanged bigint not null default 0,
    skipped bigint not null default 0,
    held bigint not null default 0,
    failed bigint not null default 0,
    keap_calls bigint not null default 0,
    intercom_calls bigint not null default 0,
    -- The last group of outcomes counted in: a commit whose answer was lost is repeated without counting twice.
    last_group uuid,
    error text,
    created_at timestamptz not null default now(),
    started_at timestamptz,
    finished_at timestamptz
);
comment on table sync_run is 'Walks over a feed, with what came of them.';
create index sync_run_open on sync_run (created_at) where state in ('requested', 'running');
create index sync_run_recent on sync_run (created_at desc);

-- Who may run passes. The epoch grows with every new holder, and every recording transaction checks it.
create table sync_lease (
    name text primary key,
    epoch bigint not null,
    holder text not null,
    expires_at timestamptz not null,
    acquired_at timestamptz not null default now()
);
comment on table sync_lease is 'The one process that may run passes, until when, and its epoch.';
