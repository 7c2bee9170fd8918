-- Defences of the second direction. Expanding only: the former release neither reads nor writes what
-- is new here.

alter table contact_link
    -- How often each side was written since writes_since, while that is less than an hour ago. More
    -- than a few writes say that another program changes the contact again and again.
    add column writes_to_keap smallint not null default 0,
    add column writes_to_intercom smallint not null default 0,
    add column writes_since timestamptz,
    -- Intercom does not show the contact: it was archived or deleted there. It is not asked again.
    add column gone_in_intercom_at timestamptz,
    -- It had left the scope when it was looked at, and waits for a person because too many had.
    add column left_at timestamptz;

-- Contacts that are gone in Intercom are few, and the audit looks for them.
create index contact_link_gone_in_intercom on contact_link (keap_contact_id) where gone_in_intercom_at is not null;

create index contact_link_left on contact_link (left_at) where left_at is not null;

-- How many contacts have left the scope since a moment, so that a mass leaving can be stopped. One
-- row, kept for a day.
create table scope_brake (
    id boolean primary key default true
        constraint scope_brake_id_check check (id),
    since timestamptz not null default now(),
    -- Their Intercom contacts were archived.
    archived bigint not null default 0,
    -- A person has lifted the brake up to then.
    lifted_until timestamptz
);
comment on table scope_brake is 'How many contacts have left the scope within a day.';
