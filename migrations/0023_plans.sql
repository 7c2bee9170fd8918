-- Plans: what a look has found, which a person approves before it is carried out. Expanding only: the
-- former release neither reads nor writes what is new here. It leaves the runs of the feed `plan` alone.

-- A run carries an approved plan out.
alter table sync_run
    drop constraint sync_run_feed_check,
    add constraint sync_run_feed_check check (feed in ('changed', 'backfill', 'due', 'sweep', 'audit', 'plan'));

create table sync_plan (
    id uuid primary key default gen_random_uuid(),
    -- What it is about: all, changed, sweep, audit, mapping, leaving, create or unexplained.
    kind text not null,
    -- The way on which it was asked for: page, http or command; or brake.
    asked_by text not null,
    state text not null
        constraint sync_plan_state_check check (state in ('requested', 'waiting', 'approved', 'done', 'dropped', 'replaced', 'failed')),
    -- A keyed hash of the mapping and of the two accounts. Null: nobody has looked yet.
    mark bytea,
    -- A keyed hash of all its contacts: tells whether a second look shows the same.
    picture bytea,
    -- The contacts that were looked at, and those of them that the plan does not list.
    seen bigint not null default 0,
    unchanged bigint not null default 0,
    skipped bigint not null default 0,
    -- What the brake says, or why the plan failed.
    why text,
    -- The run that the brake has stopped.
    found_by uuid,
    -- The run that carries it out.
    run_id uuid,
    made_at timestamptz not null default now(),
    -- The way on which it was approved or dropped.
    decided_by text,
    decided_at timestamptz,
    ended_at timestamptz
);
comment on table sync_plan is 'Plans: what a look has found, who has approved or dropped it, and what came of it.';
create index sync_plan_made on sync_plan (made_at);
create index sync_plan_ended on sync_plan (ended_at);
create index sync_plan_run on sync_plan (run_id) where run_id is not null;
-- While the plan of a brake waits, there is no second one of its kind.
create unique index sync_plan_of_brake on sync_plan (kind) where asked_by = 'brake' and state = 'waiting';

create table plan_contact (
    plan_id uuid not null references sync_plan (id) on delete cascade,
    number bigint not null,
    keap_contact_id bigint
        constraint plan_contact_keap_contact_id_check check (keap_contact_id > 0),
    intercom_contact_id text,
    action text not null,
    -- A keyed hash of the decision. Null: only the action and the Intercom contact are compared.
    digest bytea,
    -- What came of it: done, or changed if the decision was another one by then. Null: nothing yet.
    outcome text
        constraint plan_contact_outcome_check check (outcome in ('done', 'changed')),
    primary key (plan_id, number),
    constraint plan_contact_ids_check check (keap_contact_id is not null or intercom_contact_id is not null)
);
comment on table plan_contact is 'The contacts of a plan by what is to be done. No values, only ids and digests.';
create unique index plan_contact_of_contact on plan_contact (plan_id, keap_contact_id) where keap_contact_id is not null;
create index plan_contact_left on plan_contact (plan_id, number) where outcome is null;
create index plan_contact_changed on plan_contact (plan_id) where outcome = 'changed';
create index plan_contact_action on plan_contact (plan_id, action, number);
-- An erasure looks for the contact.
create index plan_contact_keap on plan_contact (keap_contact_id);
create index plan_contact_intercom on plan_contact (intercom_contact_id);

create table plan_count (
    plan_id uuid not null references sync_plan (id) on delete cascade,
    -- What is counted: action, to_intercom or to_keap.
    what text not null,
    -- The action, or the field that is to be written to that side.
    word text not null,
    contacts bigint not null,
    primary key (plan_id, what, word)
);
comment on table plan_count is 'How many contacts of a plan have an action, and in how many each field is to be written.';
