-- The second direction: what changes in Intercom reaches Keap. Expanding only: the former release
-- neither reads nor writes what is new here.

-- Intercom's stamp of the contact when it was last written or read. An older picture of it is stale.
alter table contact_link add column intercom_updated_at timestamptz;

-- A change in Intercom made the contact due, so Intercom is read before anything is decided.
alter table contact_due add column looks_at_intercom boolean not null default false;

-- A walk over all users can be asked for.
alter table sync_run
    drop constraint sync_run_feed_check,
    add constraint sync_run_feed_check check (feed in ('changed', 'backfill', 'due', 'sweep', 'audit'));

-- How far the lists of Intercom's users were read.
create table intercom_cursor (
    feed text primary key
        constraint intercom_cursor_feed_check check (feed in ('changed', 'audit')),
    -- Intercom's own stamp, never a clock's: every user that changed up to here was seen.
    position timestamptz,
    -- When the last whole walk ended, by Postgres's clock.
    walked_at timestamptz,
    updated_at timestamptz not null default now()
);
comment on table intercom_cursor is 'How far the lists of users in Intercom were read.';
