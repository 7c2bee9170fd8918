-- Old rows go in small batches, oldest first; without these each batch would read the whole table.
create index if not exists keap_intercom_sync_logs_created_at on keap_intercom_sync_logs (created_at);
create index if not exists sync_run_finished_at on sync_run (finished_at) where finished_at is not null;
