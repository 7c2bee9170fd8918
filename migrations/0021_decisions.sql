-- What people decide about held contacts. Expanding only: the former release neither reads nor
-- writes what is new here. It keeps holding a contact that is ignored.

create table contact_decision (
    id bigint generated always as identity primary key,
    keap_contact_id bigint not null
        constraint contact_decision_keap_contact_id_check check (keap_contact_id > 0),
    -- use, create, ignore, ignore_until_changed or retry.
    decision text not null,
    -- The Intercom contact to use.
    intercom_contact_id text,
    -- It was archived when the contact was held: it is made live.
    unarchives boolean not null default false,
    -- The code of the hold that the decision answers.
    reason text not null,
    -- How the contact looked then: a change ends ignore_until_changed.
    sighting bytea,
    -- The way on which it came: page, http or command.
    decided_by text not null,
    decided_at timestamptz not null default now(),
    -- When it was carried out. It stays in force after that.
    done_at timestamptz,
    -- When it ended, and how: done, taken_back, replaced, void, changed or gone. Null: it is in
    -- force.
    ended_at timestamptz,
    ended_how text,
    -- The way on which it was taken back.
    taken_back_by text,
    constraint contact_decision_intercom_contact_id_check check ((decision = 'use') = (intercom_contact_id is not null)),
    constraint contact_decision_ended_how_check check ((ended_at is null) = (ended_how is null))
);
comment on table contact_decision is 'What people have decided about held contacts: who, when, what.';

-- A contact has one decision in force, and an Intercom contact is chosen for one Keap contact.
create unique index contact_decision_in_force on contact_decision (keap_contact_id) where ended_at is null;
create unique index contact_decision_chosen on contact_decision (intercom_contact_id) where ended_at is null;
create index contact_decision_of_contact on contact_decision (keap_contact_id, decided_at);

-- A contact that is ignored keeps its hold, and waits for nobody.
create or replace view contact_held as
select hold.* from contact_hold hold
 where not exists (select from contact_due due where due.keap_contact_id = hold.keap_contact_id and not due.held)
   and not exists (select from contact_decision decision
                    where decision.keap_contact_id = hold.keap_contact_id and decision.ended_at is null
                      and decision.decision in ('ignore', 'ignore_until_changed'));
