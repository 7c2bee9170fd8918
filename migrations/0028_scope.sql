-- Who is out of the scope of [filter]. What is edited in Intercom meanwhile does not travel, and is
-- looked at when the contact comes back. Expanding only: the former release neither reads nor writes
-- the column.

alter table contact_link add column is_out boolean not null default false;
comment on column contact_link.is_out is 'The filter left the contact out when it was last looked at.';
