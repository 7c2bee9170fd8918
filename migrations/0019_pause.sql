-- Pauses: a person stops everything, one feed or one direction for a while. Expanding only: the
-- former release neither reads nor writes this table, and so it does not stop.
create table sync_pause (
    -- 'all', the name of a feed, or a direction.
    scope text primary key,
    -- Requests that a person or a script makes are let through.
    lets_requests boolean not null default false,
    since timestamptz not null default now(),
    -- The name that the person gave, or the account on the machine. No decision reads it.
    paused_by text not null
        constraint sync_pause_paused_by_check check (paused_by <> '' and length(paused_by) <= 64)
);
comment on table sync_pause is 'What a person has paused, since when, and who did it. Empty while everything runs.';

-- The contact waits for the end of a pause. Whoever looks at it again by another cause may leave the mark.
alter table contact_due add column paused boolean not null default false;
create index contact_due_paused on contact_due (keap_contact_id) where paused;
