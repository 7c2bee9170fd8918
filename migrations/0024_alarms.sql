-- Alarms: what was told of troubles, and to whom. Expanding only: the former release neither reads
-- nor writes these tables, and so it tells nobody.

create table alarm (
    -- What is wrong, in a word that stays the same while it lasts: 'poll_late', 'refused:keap'.
    code text primary key
        constraint alarm_code_check check (code <> '' and length(code) <= 128),
    -- What people are told: ids and counts at most.
    what text not null,
    todo text not null,
    -- It keeps contacts from flowing.
    stops boolean not null,
    since timestamptz not null default now(),
    -- When it was first seen to be gone; null while it lasts.
    gone_at timestamptz,
    -- The targets that are told of it. The end is told to these.
    told_to text[] not null default '{}'
);
comment on table alarm is 'Troubles that are there, or ended a moment ago. Empty while all is well.';

create table alarm_message (
    target text not null,
    code text not null,
    what text not null,
    todo text not null,
    stops boolean not null,
    since timestamptz not null,
    -- When the trouble ended; null for its beginning.
    over_at timestamptz,
    -- Grows when another message takes the place of this one.
    version bigint not null default 1,
    primary key (target, code)
);
comment on table alarm_message is 'What a target is still to be told, at most one message for each trouble.';

create table alarm_target (
    target text primary key,
    failures integer not null,
    failing_since timestamptz not null default now(),
    next_at timestamptz not null,
    error text not null
);
comment on table alarm_target is 'Targets that could not be reached, with the next try. Empty while all can be reached.';
