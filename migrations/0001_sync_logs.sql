-- What came of each contact, one row per outcome worth telling.
-- The columns, checks and indexes are those of the worker that this daemon replaces, and a table that it left is
-- taken over with its rows: dashboards that read it keep working.
create table if not exists keap_intercom_sync_logs (
    id uuid primary key default gen_random_uuid(),
    keap_contact_id text not null,
    intercom_contact_id text,
    sync_status text not null
        constraint keap_intercom_sync_logs_sync_status_check
        check (sync_status in ('pending', 'synced', 'failed', 'skipped')),
    sync_direction text not null
        constraint keap_intercom_sync_logs_sync_direction_check
        check (sync_direction in ('keap_to_intercom', 'intercom_to_keap')),
    error_message text,
    synced_at timestamptz not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

create index if not exists idx_keap_intercom_sync_logs_keap_contact_id
    on keap_intercom_sync_logs (keap_contact_id);
create index if not exists idx_keap_intercom_sync_logs_intercom_contact_id
    on keap_intercom_sync_logs (intercom_contact_id);
create index if not exists idx_keap_intercom_sync_logs_sync_status
    on keap_intercom_sync_logs (sync_status);

-- New, nullable columns: what was done, why the contact was looked at, in which run, and Intercom's request id.
alter table keap_intercom_sync_logs
    add column if not exists action text,
    add column if not exists feed text,
    add column if not exists run_id uuid,
    add column if not exists request_id text;

comment on table keap_intercom_sync_logs is 'One row per outcome worth telling; an unchanged re-read is counted in its run instead.';
