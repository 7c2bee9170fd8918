-- Erasure: a person is deleted in Intercom, every row of the contact goes, and keyed digests say that
-- nobody may be brought back. Expanding only: the former release neither reads nor writes what is new
-- here, so it does not know whom it must not bring back.

-- The deletion has an intent, like every remote write.
alter table contact_intent
    drop constraint contact_intent_kind_check,
    add constraint contact_intent_kind_check check (kind in ('create', 'update', 'archive', 'delete'));

-- One row for each erasure. It blocks the contact from the request on. Once it is done, it holds no id:
-- it is the proof, and it says whom nobody may bring back.
create table erasure (
    -- A keyed digest of the Keap id.
    keap_digest bytea primary key
        constraint erasure_keap_digest_check check (length(keap_digest) = 16),
    -- The id itself, until the erasure is done.
    keap_contact_id bigint
        constraint erasure_keap_contact_id_key unique
        constraint erasure_keap_contact_id_check check (keap_contact_id > 0),
    -- By which door it was asked for: the door names no person.
    asked_by text not null
        constraint erasure_asked_by_check check (asked_by in ('command', 'http', 'page')),
    requested_at timestamptz not null default now(),
    -- A person says that Intercom does not have the contact, although no record explains it.
    accepts_absence boolean not null default false,
    attempts integer not null default 0,
    not_before timestamptz not null default now(),
    -- Why the last attempt failed: ids, statuses and codes only. It goes when the erasure is done.
    last_error text,
    -- It is not tried again by itself: a person must act.
    waits boolean not null default false,
    done_at timestamptz,
    -- How the contact went in Intercom, and what proves it: the codes of the program.
    mode text
        constraint erasure_mode_check check (mode in ('delete', 'archive')),
    proof text[] not null default '{}',
    constraint erasure_done_check
        check ((done_at is null) = (keap_contact_id is not null) and (done_at is null) = (mode is null)
               and (done_at is null or (last_error is null and not waits)))
);
comment on table erasure is 'Contacts that were erased, or are about to be: digests, and the proof.';
create index erasure_open on erasure (not_before) where done_at is null;
create index erasure_recent on erasure (requested_at);

-- The addresses that an erased contact had. Nobody with one of them is brought back.
create table erased_email (
    -- A keyed digest, as in contact_link.
    email_digest bytea not null
        constraint erased_email_digest_check check (length(email_digest) = 16),
    keap_digest bytea not null
        constraint erased_email_keap_digest_fkey references erasure (keap_digest) on delete cascade,
    primary key (email_digest, keap_digest)
);
comment on table erased_email is 'Digests of the addresses that erased contacts had.';
create index erased_email_of on erased_email (keap_digest);
