-- The sweep: which linked contacts Keap does not have any more.
alter table sync_cursor
    drop constraint sync_cursor_feed_check,
    add constraint sync_cursor_feed_check check (feed in ('changed', 'backfill', 'sweep'));
alter table sync_run
    drop constraint sync_run_feed_check,
    add constraint sync_run_feed_check check (feed in ('changed', 'backfill', 'due', 'sweep')),
    add column archived bigint not null default 0,
    add column unlinked bigint not null default 0,
    -- Contacts that the sweep found in Keap and that every poll had missed.
    add column late bigint not null default 0;

-- Linked contacts that the walk under way did not find in Keap's lists. Nothing is done to them before the walk is whole.
create table sweep_candidate (
    keap_contact_id bigint primary key
        constraint sweep_candidate_keap_contact_id_check check (keap_contact_id > 0),
    -- Keap has answered 404 for it: only that says that it is gone.
    confirmed boolean not null default false,
    created_at timestamptz not null default now()
);
comment on table sweep_candidate is 'Contacts that the sweep under way misses in Keap; empty while none is.';
