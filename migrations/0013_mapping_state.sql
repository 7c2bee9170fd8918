-- How far the mapping of now has been brought to the contacts that are linked already. Expanding
-- only: the former release neither reads nor writes this table.
create table mapping_state (
    -- One row.
    id boolean primary key default true
        constraint mapping_state_id_check check (id),
    -- The fields that a walk over every contact has brought to Intercom.
    walked text[] not null,
    -- The fields that a walk under way, or a waiting one, is for; and its run.
    target text[] not null default '{}',
    run_id uuid,
    -- The brake stopped it: how many of how many linked contacts it would rewrite.
    would_rewrite bigint,
    links bigint,
    -- A person lifted the brake for this target.
    forced boolean not null default false,
    -- The fields that are held for every contact, each with its reason. No value of a person.
    unfit text[] not null default '{}',
    updated_at timestamptz not null default now()
);
comment on table mapping_state is 'How far a changed mapping has been brought to linked contacts.';

-- Polls of mapped tags: a tag may move no stamp of its contact, so each is asked for on its own.
create table tag_cursor (
    -- Keap's id of the tag.
    tag_id text primary key,
    -- The latest application that was seen.
    applied_at timestamptz not null,
    updated_at timestamptz not null default now()
);
comment on table tag_cursor is 'Places of the polls of mapped tags.';
