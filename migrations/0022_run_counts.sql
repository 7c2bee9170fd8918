-- What a run did in the other direction. Expanding only: the former release neither reads nor writes
-- what is new here.

alter table sync_run
    -- Contacts in Intercom that got their owner's value back.
    add column restored bigint not null default 0,
    -- Contacts with a field that was edited on both sides. They count among the others, too.
    add column conflicts bigint not null default 0,
    -- Contacts that were made in Keap for users that this audit has found.
    add column created_in_keap bigint not null default 0;

-- The audit that has found the contact, or the user. What comes of it counts in that run.
alter table contact_due add column run_id uuid;
alter table intercom_due add column run_id uuid;
