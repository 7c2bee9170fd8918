-- Newcomers: users of Intercom without a link, who may be brought into Keap. Expanding only: the
-- former release neither reads nor writes what is new here.
create table intercom_due (
    intercom_contact_id text primary key,
    reason text not null
        constraint intercom_due_reason_check check (reason in ('manual', 'webhook', 'retry', 'again')),
    -- Lower goes first.
    priority smallint not null,
    -- Counts the requests, so that a look answers only those that came before it.
    version bigint not null default 1,
    attempts integer not null default 0,
    not_before timestamptz not null default now(),
    -- A keyed hash of what decides about the user. Null: nobody has looked yet.
    sighting bytea,
    -- Why it waits: for a person, or for a contact in Keap. Null: it is looked at in its turn.
    code text,
    -- The contact in Keap that the reason names.
    about bigint
        constraint intercom_due_about_check check (about > 0),
    detail text,
    -- A person has lifted the brake for it.
    released boolean not null default false,
    waits_since timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
comment on table intercom_due is 'Users of Intercom without a link, to be looked at.';
create index intercom_due_next on intercom_due (priority, not_before);

-- One open create in Keap for each user, and for each address.
create unique index contact_intent_create_of_user on contact_intent (intercom_contact_id)
    where side = 'keap' and kind = 'create';
create unique index contact_intent_create_of_email on contact_intent (email_digest)
    where side = 'keap' and kind = 'create';

-- How many contacts were made in Keap in the hour under way, and whether the brake stops the next.
create table create_brake (
    id boolean primary key default true
        constraint create_brake_id_check check (id),
    hour_began_at timestamptz not null default now(),
    created bigint not null default 0,
    braked_at timestamptz
);
comment on table create_brake is 'The brake on creating contacts in Keap.';
insert into create_brake default values;
