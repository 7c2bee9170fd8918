-- Holds and former links get tables of their own: the queue and the log no longer carry state.
-- Expanding only: the former release keeps working beside this schema. What it still writes in its
-- own way is taken over by the process that takes the lease next.

-- Contacts that need a person.
create table contact_hold (
    keap_contact_id bigint primary key
        constraint contact_hold_keap_contact_id_check check (keap_contact_id > 0),
    -- The reason: its code, the Keap contact that stands in the way, and what a remote answered.
    code text not null,
    about bigint,
    detail text,
    -- Intercom ids a person may choose from.
    candidates text[] not null default '{}',
    attempts integer not null default 0,
    -- How the contact looked when it was held: a change ends the hold, a re-read does not.
    sighting bytea,
    -- Since when it is held for this reason, and when it was last held.
    held_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    -- Copied by the migration, and the original still stands in contact_due.
    copied boolean not null default false
);
comment on table contact_hold is 'Contacts that need a person, each with its reason.';
create index contact_hold_about on contact_hold (about) where about is not null;

insert into contact_hold (keap_contact_id, code, about, detail, candidates, attempts, sighting, held_at, updated_at, copied)
select keap_contact_id,
       substring(coalesce(last_error, '') from '^[a-z_]*'),
       substring(last_error from '^email_linked_to ([0-9]{1,18}):')::bigint,
       substring(last_error from '^[a-z_]+: (.*)$'),
       candidates, attempts, sighting, updated_at, updated_at, true
  from contact_due where held;

-- A hold waits for a person while its contact is not due: a due row is the leave to look again.
create view contact_held as
select hold.* from contact_hold hold
 where not exists (select from contact_due due where due.keap_contact_id = hold.keap_contact_id and not due.held);
comment on view contact_held is 'The holds that wait for a person.';

-- Which Keap contact had an Intercom contact when Keap lost it and the link was removed.
create table former_link (
    intercom_contact_id text primary key,
    keap_contact_id bigint not null
        constraint former_link_keap_contact_id_check check (keap_contact_id > 0),
    released_at timestamptz not null default now()
);
comment on table former_link is 'Intercom contacts whose Keap contact is gone: it gets them back if it is created again.';

-- The few log rows that let go of a link. The index also serves the take-over of what a former release logs.
create index keap_intercom_sync_logs_released on keap_intercom_sync_logs (created_at)
    where action in ('archived', 'unlinked');
insert into former_link (intercom_contact_id, keap_contact_id, released_at)
select distinct on (intercom_contact_id) intercom_contact_id, keap_contact_id::bigint, created_at
  from keap_intercom_sync_logs
 where action in ('archived', 'unlinked') and intercom_contact_id is not null and keap_contact_id ~ '^[1-9][0-9]{0,17}$'
 order by intercom_contact_id, synced_at desc;

-- A run's failure by its code, so that nothing is read out of its text.
alter table sync_run add column error_code text;
update sync_run set error_code = 'brake' where starts_with(error, 'brake: ');
