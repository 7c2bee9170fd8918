-- What people watch of the second direction. Expanding only: the former release neither reads nor
-- writes what is new here.

alter table intercom_cursor
    -- The longest time within a day until a list showed a write of ours, and when that was seen.
    add column search_lag_seconds integer,
    add column search_lag_at timestamptz,
    -- When Intercom sent its last notification.
    add column notified_at timestamptz,
    -- Polls have found changes since then that no notification had announced: the first, the last.
    add column missed_since timestamptz,
    add column missed_at timestamptz;

-- How many fields of the contact were edited on both sides. Null: none.
alter table keap_intercom_sync_logs add column conflicts smallint;

create index keap_intercom_sync_logs_conflicts on keap_intercom_sync_logs (created_at) where conflicts is not null;

create index sync_run_audit on sync_run (finished_at) where feed = 'audit' and finished_at is not null;
