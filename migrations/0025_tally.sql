-- Counters of what happened, for the charts and for the history of each field. Expanding only: the
-- former release neither reads nor writes what is new here.
create table sync_tally (
    -- The beginning of the hour, in UTC. The hours of a day that is over are added up: then it is
    -- the beginning of the day.
    since timestamptz not null,
    -- The side that was written, or was to be written. For calls, the side that was called.
    side text not null
        constraint sync_tally_side_check check (side in ('keap', 'intercom')),
    -- What is counted: a code of the program.
    what text not null,
    -- The field; or the seconds that a change took at most. Empty where there is neither.
    detail text not null default '',
    count bigint not null,
    constraint sync_tally_pkey primary key (since, side, what, detail)
    -- The rows of an hour are updated in place.
) with (fillfactor = 50);
comment on table sync_tally is 'How often something happened in each hour, or in each day: numbers only.';

-- Decisions that have ended are deleted like old log rows, in small batches.
create index contact_decision_ended on contact_decision (ended_at) where ended_at is not null;
