-- What reading Keap remembers. Expanding only: the former release names none of these columns.

-- Keap's update stamp of a contact when it was held. A sweep compares it with the stamp that Keap
-- lists: another one is a change that every poll has missed. Null where nobody knows it: the next
-- sweep fills it in.
alter table contact_hold add column keap_updated_at timestamptz;

-- The contacts whose update stamps are ahead of Keap's own clock, as the last whole poll saw them:
-- how many, the id of one of them, and the furthest stamp. All null when there is none.
alter table sync_cursor
    add column ahead_contacts bigint,
    add column ahead_example bigint,
    add column ahead_until timestamptz,
    add constraint sync_cursor_ahead_check
        check ((ahead_contacts is null) = (ahead_example is null)
               and (ahead_contacts is null) = (ahead_until is null));
