-- What the HTTP surface stands on.

-- Batches that were asked for under an `Idempotency-Key`: a repeat gets the same answer and asks for nothing again.
create table sync_batch (
    -- Digests of what the caller sent: neither the key nor the body is stored.
    key_digest bytea primary key
        constraint sync_batch_key_digest_check check (length(key_digest) = 32),
    body_digest bytea not null
        constraint sync_batch_body_digest_check check (length(body_digest) = 32),
    -- Outcomes from then on belong to the batch.
    requested_at timestamptz not null default clock_timestamp(),
    -- The answer, once every contact of the batch has an outcome: ids, actions and reasons.
    answer json
);
comment on table sync_batch is 'Batches by their Idempotency-Key, kept for a day.';
create index sync_batch_requested_at on sync_batch (requested_at);

-- Our subscriptions to Keap's events: one row per event and address. Addresses hold a secret, so digests of them stand here.
create table keap_hook (
    event_key text not null,
    url_digest bytea not null
        constraint keap_hook_url_digest_check check (length(url_digest) = 32),
    -- Which of the secrets the address carries.
    secret_digest bytea not null
        constraint keap_hook_secret_digest_check check (length(secret_digest) = 32),
    -- Keap's own key of the subscription, once it is known.
    hook_key text,
    state text not null
        constraint keap_hook_state_check check (state in ('unverified', 'verified', 'inactive')),
    -- Until then a handshake is answered: somebody of ours has just asked Keap for one.
    pending_until timestamptz,
    -- Since when events may have been missed; null while all is well.
    dead_since timestamptz,
    -- When the subscription was last seen verified, by Postgres's clock.
    verified_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (event_key, url_digest)
);
comment on table keap_hook is 'Subscriptions to events in Keap that point at this installation, as they were last seen.';
create index keap_hook_pending on keap_hook (pending_until) where pending_until is not null;
