-- Monitoring asks at every look how the last sweep ended; among the polls, which are many, it would be found slowly.
create index if not exists sync_run_sweep on sync_run (finished_at) where feed = 'sweep' and finished_at is not null;
