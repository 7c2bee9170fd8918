-- A database of release 0.1.0: migrations 1 to 7, and the rows after it had synced the people of tests/fields.rs.
-- Made with pg_dump --inserts, without comments and session settings. Do not edit: the digests are that release's own.
CREATE TABLE public._sqlx_migrations (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);
CREATE TABLE public.contact_due (
    keap_contact_id bigint NOT NULL,
    reason text NOT NULL,
    priority smallint NOT NULL,
    due_at timestamp with time zone DEFAULT now() NOT NULL,
    version bigint DEFAULT 1 NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    last_error text,
    held boolean DEFAULT false NOT NULL,
    candidates text[] DEFAULT '{}'::text[] NOT NULL,
    sighting bytea,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT contact_due_keap_contact_id_check CHECK ((keap_contact_id > 0)),
    CONSTRAINT contact_due_reason_check CHECK ((reason = ANY (ARRAY['manual'::text, 'webhook'::text, 'retry'::text, 'again'::text])))
);
COMMENT ON TABLE public.contact_due IS 'Contacts that are to be looked at again, or are held for a person.';
CREATE TABLE public.contact_link (
    keap_contact_id bigint NOT NULL,
    intercom_contact_id text,
    state text NOT NULL,
    fingerprint bytea NOT NULL,
    sighting bytea NOT NULL,
    email_digest bytea,
    keap_updated_at timestamp with time zone,
    replaced_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT contact_link_keap_contact_id_check CHECK ((keap_contact_id > 0)),
    CONSTRAINT contact_link_linked_has_id_check CHECK (((state = 'linked'::text) = (intercom_contact_id IS NOT NULL))),
    CONSTRAINT contact_link_state_check CHECK ((state = ANY (ARRAY['linked'::text, 'skipped'::text])))
);
COMMENT ON TABLE public.contact_link IS 'Which Intercom contact belongs to which Keap contact, and what was last written to it.';
CREATE TABLE public.keap_hook (
    event_key text NOT NULL,
    url_digest bytea NOT NULL,
    secret_digest bytea NOT NULL,
    hook_key text,
    state text NOT NULL,
    pending_until timestamp with time zone,
    dead_since timestamp with time zone,
    verified_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT keap_hook_secret_digest_check CHECK ((length(secret_digest) = 32)),
    CONSTRAINT keap_hook_state_check CHECK ((state = ANY (ARRAY['unverified'::text, 'verified'::text, 'inactive'::text]))),
    CONSTRAINT keap_hook_url_digest_check CHECK ((length(url_digest) = 32))
);
COMMENT ON TABLE public.keap_hook IS 'Subscriptions to events in Keap that point at this installation, as they were last seen.';
CREATE TABLE public.keap_intercom_sync_logs (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    keap_contact_id text NOT NULL,
    intercom_contact_id text,
    sync_status text NOT NULL,
    sync_direction text NOT NULL,
    error_message text,
    synced_at timestamp with time zone NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    action text,
    feed text,
    run_id uuid,
    request_id text,
    CONSTRAINT keap_intercom_sync_logs_sync_direction_check CHECK ((sync_direction = ANY (ARRAY['keap_to_intercom'::text, 'intercom_to_keap'::text]))),
    CONSTRAINT keap_intercom_sync_logs_sync_status_check CHECK ((sync_status = ANY (ARRAY['pending'::text, 'synced'::text, 'failed'::text, 'skipped'::text])))
);
COMMENT ON TABLE public.keap_intercom_sync_logs IS 'One row per outcome worth telling; an unchanged re-read is counted in its run instead.';
CREATE TABLE public.sweep_candidate (
    keap_contact_id bigint NOT NULL,
    confirmed boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT sweep_candidate_keap_contact_id_check CHECK ((keap_contact_id > 0))
);
COMMENT ON TABLE public.sweep_candidate IS 'Contacts that the sweep under way misses in Keap; empty while none is.';
CREATE TABLE public.sync_batch (
    key_digest bytea NOT NULL,
    body_digest bytea NOT NULL,
    requested_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    answer json,
    CONSTRAINT sync_batch_body_digest_check CHECK ((length(body_digest) = 32)),
    CONSTRAINT sync_batch_key_digest_check CHECK ((length(key_digest) = 32))
);
COMMENT ON TABLE public.sync_batch IS 'Batches by their Idempotency-Key, kept for a day.';
CREATE TABLE public.sync_cursor (
    feed text NOT NULL,
    "position" timestamp with time zone NOT NULL,
    settled timestamp with time zone NOT NULL,
    settling timestamp with time zone NOT NULL,
    settling_since timestamp with time zone DEFAULT now() NOT NULL,
    polled_at timestamp with time zone,
    walking boolean DEFAULT false NOT NULL,
    window_start timestamp with time zone,
    window_end timestamp with time zone,
    last_id bigint,
    page_token text,
    run_id uuid,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT sync_cursor_feed_check CHECK ((feed = ANY (ARRAY['changed'::text, 'backfill'::text, 'sweep'::text]))),
    CONSTRAINT sync_cursor_settled_check CHECK (((settled <= settling) AND (settling <= "position")))
);
COMMENT ON TABLE public.sync_cursor IS 'How far each feed has come, and the place of the walk inside its current window.';
CREATE TABLE public.sync_digest_key (
    only_row boolean DEFAULT true NOT NULL,
    key bytea NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT sync_digest_key_length_check CHECK ((length(key) >= 30)),
    CONSTRAINT sync_digest_key_only_row_check CHECK (only_row)
);
COMMENT ON TABLE public.sync_digest_key IS 'The one key of all keyed hashes of this installation.';
CREATE TABLE public.sync_lease (
    name text NOT NULL,
    epoch bigint NOT NULL,
    holder text NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    acquired_at timestamp with time zone DEFAULT now() NOT NULL
);
COMMENT ON TABLE public.sync_lease IS 'The one process that may run passes, until when, and its epoch.';
CREATE TABLE public.sync_run (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    feed text NOT NULL,
    reason text NOT NULL,
    state text NOT NULL,
    since timestamp with time zone,
    seen bigint DEFAULT 0 NOT NULL,
    created bigint DEFAULT 0 NOT NULL,
    linked bigint DEFAULT 0 NOT NULL,
    updated bigint DEFAULT 0 NOT NULL,
    unchanged bigint DEFAULT 0 NOT NULL,
    skipped bigint DEFAULT 0 NOT NULL,
    held bigint DEFAULT 0 NOT NULL,
    failed bigint DEFAULT 0 NOT NULL,
    keap_calls bigint DEFAULT 0 NOT NULL,
    intercom_calls bigint DEFAULT 0 NOT NULL,
    last_group uuid,
    error text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    started_at timestamp with time zone,
    finished_at timestamp with time zone,
    archived bigint DEFAULT 0 NOT NULL,
    unlinked bigint DEFAULT 0 NOT NULL,
    late bigint DEFAULT 0 NOT NULL,
    CONSTRAINT sync_run_feed_check CHECK ((feed = ANY (ARRAY['changed'::text, 'backfill'::text, 'due'::text, 'sweep'::text]))),
    CONSTRAINT sync_run_state_check CHECK ((state = ANY (ARRAY['requested'::text, 'running'::text, 'done'::text, 'failed'::text])))
);
COMMENT ON TABLE public.sync_run IS 'Walks over a feed, with what came of them.';
INSERT INTO public._sqlx_migrations VALUES (1, 'sync logs', '2026-11-29 22:23:08.386598+00', true, '\x4c1af44ae62995c8be7d6e01ecf5506d6185076702e640107289821bc2cc0c5ebc053b4a3c505ca193fcef0e806c7492', 3611537);
INSERT INTO public._sqlx_migrations VALUES (2, 'sync state', '2026-11-29 22:23:08.386598+00', true, '\xad56dd0064d35741557c5a2f39c19b8163d639da0b89d19e2310b9400cddce9bbd69aa8f7253136dc7a8783e5926e6ee', 18461836);
INSERT INTO public._sqlx_migrations VALUES (3, 'http', '2026-11-29 22:23:08.386598+00', true, '\xb4eea4125b103ab42d7a7e4ee1b07c76d40f8d1da468c6d4fb257b16e1411784b692dedf0a814876d44fad21e153b916', 3546029);
INSERT INTO public._sqlx_migrations VALUES (5, 'retention', '2026-11-29 22:23:08.386598+00', true, '\x663715da6b9d0482026b318b182be6e5b18740ea5cb6f84d23bec6db4f242b9e2cbd1fdb92410c40c04644de89800bf7', 775196);
INSERT INTO public._sqlx_migrations VALUES (6, 'sweep', '2026-11-29 22:23:08.386598+00', true, '\x8e2155e1c53a84755bcdf107019d241e508ee1ee511c25c23b63e060a3cc77bf73cc9c4b7ba0418fbf3927774da87d9b', 6268572);
INSERT INTO public._sqlx_migrations VALUES (7, 'sweep runs', '2026-11-29 22:23:08.386598+00', true, '\xf52fdf035d4dca021ecbd3f4cec5ea7ba81b926c2b9771e324f24f30e39aab1a7905290304310b44a1f4676db912de03', 645994);
INSERT INTO public.contact_due VALUES (11, 'retry', 2, '2026-11-29 22:23:08.517643+00', 1, 1, 'several_users: more than one Intercom user has this e-mail', true, '{6762f0dd1bb69f9f00000001,6762f0dd1bb69f9f00000000}', '\xe79a76b35d229245c83436f90156eb36', '2026-11-29 22:23:08.517643+00', '2026-11-29 22:23:08.517643+00');
INSERT INTO public.contact_link VALUES (1, '6762f0dd1bb69f9f00000002', 'linked', '\x9c3892807dfa4f13a731759e1f6d9fd0', '\x0a7fc632e7ec931b86d1a9d703c3e20d', '\x7444c31f2ea6b39b23bcd19e769eb59c', '2026-02-03 04:06:07+00', NULL, '2026-11-29 22:23:08.517643+00', '2026-11-29 22:23:08.517643+00');
INSERT INTO public.contact_link VALUES (2, '6762f0dd1bb69f9f00000004', 'linked', '\xd7bbc2e9db6a491d88088aab7726516f', '\x2fb46143da41fcee6b3b5ba49585f042', '\xa836ebef0c3d7fc4d911efb1921db811', '2026-02-03 04:07:07+00', NULL, '2026-11-29 22:23:08.517643+00', '2026-11-29 22:23:08.517643+00');
INSERT INTO public.contact_link VALUES (3, '6762f0dd1bb69f9f00000003', 'linked', '\x47724b7620f102a4d7e268cb2306e96f', '\xda06561b59308430b93eac10a5ee57b6', '\xf35026df10345cb785368cd9abcdc4f5', '2026-02-03 04:08:07+00', NULL, '2026-11-29 22:23:08.517643+00', '2026-11-29 22:23:08.517643+00');
INSERT INTO public.contact_link VALUES (6, '6762f0dd1bb69f9f00000007', 'linked', '\xe51cb1b5a78a1e77bc1c2d96ffa78b81', '\xf65de8f91b849dc283a073625a453d43', '\x6bd534e3eb25935715e4d67b8bc5b8bf', '2026-02-03 04:11:07+00', NULL, '2026-11-29 22:23:08.517643+00', '2026-11-29 22:23:08.517643+00');
INSERT INTO public.contact_link VALUES (7, '6762f0dd1bb69f9f00000008', 'linked', '\x0cd707a8632a078f8800ffbe84f88a96', '\xf2ff6c411c132889c96d28de8af31de8', '\x7fa61c8d1d44e66364abfa8c76c83e3b', '2026-02-03 04:12:07+00', NULL, '2026-11-29 22:23:08.517643+00', '2026-11-29 22:23:08.517643+00');
INSERT INTO public.contact_link VALUES (8, NULL, 'skipped', '\xbd238b678a6da3a1801e66b1bdafd46e', '\x65665d716c56e2d4e49d6f1b03f87b16', NULL, '2026-02-03 04:13:07+00', NULL, '2026-11-29 22:23:08.517643+00', '2026-11-29 22:23:08.517643+00');
INSERT INTO public.contact_link VALUES (9, NULL, 'skipped', '\x43a76cce75ff304b6f525e944cbcec96', '\x9d950931d254e4056b42e535daaab1a3', NULL, '2026-02-03 04:14:07+00', NULL, '2026-11-29 22:23:08.517643+00', '2026-11-29 22:23:08.517643+00');
INSERT INTO public.contact_link VALUES (10, '6762f0dd1bb69f9f0000000a', 'linked', '\x178e4b5f6130e7d3eea2154a7ce26fca', '\x99a9e64acbbe5c46011ef35e3dd2952d', '\x593deffa488c120c34dc69ebda51c168', '2026-02-03 04:15:07+00', NULL, '2026-11-29 22:23:08.517643+00', '2026-11-29 22:23:08.517643+00');
INSERT INTO public.contact_link VALUES (12, '6762f0dd1bb69f9f00000009', 'linked', '\x5e10825124eee43889a1f9ba8553c4c0', '\xbfea1bc0faa3663a312cfb96cd0fd66f', '\x12e7da6a666afc4693e8ee7a2458391f', NULL, NULL, '2026-11-29 22:23:08.517643+00', '2026-11-29 22:23:08.517643+00');
INSERT INTO public.contact_link VALUES (4, '6762f0dd1bb69f9f00000005', 'linked', '\xc291819223acfc4a5f9a24dbc2b344a4', '\xdd40ac692d70a826d24a8fc2cc8afc91', NULL, '2026-02-03 04:09:07+00', NULL, '2026-11-29 22:23:08.517643+00', '2026-11-29 22:23:08.626083+00');
INSERT INTO public.contact_link VALUES (5, '6762f0dd1bb69f9f00000006', 'linked', '\x8b60ff67bc6274f4bedb53913ed7105e', '\xa94dd6ef297e0e90a2fc87e82cf5993b', NULL, '2026-02-03 04:10:07+00', NULL, '2026-11-29 22:23:08.517643+00', '2026-11-29 22:23:08.626083+00');
INSERT INTO public.keap_intercom_sync_logs VALUES ('42b34a8a-f1b0-4795-85bd-2cf37f8bf245', '8', NULL, 'skipped', 'keap_to_intercom', 'no_email: the contact has no valid e-mail address and no Intercom contact yet', '2026-11-29 22:23:08.520211+00', '2026-11-29 22:23:08.520211+00', '2026-11-29 22:23:08.520211+00', 'skipped', 'backfill', 'fbe54732-79de-4ba2-9eff-740572135920', NULL);
INSERT INTO public.keap_intercom_sync_logs VALUES ('7123560e-da87-4068-ad5a-9c7af6e150e4', '9', NULL, 'skipped', 'keap_to_intercom', 'no_email: the contact has no valid e-mail address and no Intercom contact yet', '2026-11-29 22:23:08.520528+00', '2026-11-29 22:23:08.520528+00', '2026-11-29 22:23:08.520528+00', 'skipped', 'backfill', 'fbe54732-79de-4ba2-9eff-740572135920', NULL);
INSERT INTO public.keap_intercom_sync_logs VALUES ('6beae55f-33bb-4b36-8b29-382a7b5032bd', '11', '6762f0dd1bb69f9f00000001', 'failed', 'keap_to_intercom', 'several_users: more than one Intercom user has this e-mail', '2026-11-29 22:23:08.520542+00', '2026-11-29 22:23:08.520542+00', '2026-11-29 22:23:08.520542+00', 'held', 'backfill', 'fbe54732-79de-4ba2-9eff-740572135920', NULL);
INSERT INTO public.keap_intercom_sync_logs VALUES ('d990b94e-a70c-47fe-86c4-66128b37db67', '1', '6762f0dd1bb69f9f00000002', 'synced', 'keap_to_intercom', NULL, '2026-11-29 22:23:08.520554+00', '2026-11-29 22:23:08.520554+00', '2026-11-29 22:23:08.520554+00', 'created', 'backfill', 'fbe54732-79de-4ba2-9eff-740572135920', '000000000000000000000002');
INSERT INTO public.keap_intercom_sync_logs VALUES ('ace9e824-f268-4ab7-acb7-77fc660b0914', '3', '6762f0dd1bb69f9f00000003', 'synced', 'keap_to_intercom', NULL, '2026-11-29 22:23:08.520562+00', '2026-11-29 22:23:08.520562+00', '2026-11-29 22:23:08.520562+00', 'created', 'backfill', 'fbe54732-79de-4ba2-9eff-740572135920', '000000000000000000000003');
INSERT INTO public.keap_intercom_sync_logs VALUES ('345c06c6-a22f-45c4-9d83-b0196f173a79', '2', '6762f0dd1bb69f9f00000004', 'synced', 'keap_to_intercom', NULL, '2026-11-29 22:23:08.520568+00', '2026-11-29 22:23:08.520568+00', '2026-11-29 22:23:08.520568+00', 'created', 'backfill', 'fbe54732-79de-4ba2-9eff-740572135920', '000000000000000000000004');
INSERT INTO public.keap_intercom_sync_logs VALUES ('82767a0e-5f69-48de-9c03-d44429f5dafb', '4', '6762f0dd1bb69f9f00000005', 'synced', 'keap_to_intercom', NULL, '2026-11-29 22:23:08.520575+00', '2026-11-29 22:23:08.520575+00', '2026-11-29 22:23:08.520575+00', 'created', 'backfill', 'fbe54732-79de-4ba2-9eff-740572135920', '000000000000000000000005');
INSERT INTO public.keap_intercom_sync_logs VALUES ('7fdcfc66-85b8-46ba-8bf9-be60c04ac925', '5', '6762f0dd1bb69f9f00000006', 'synced', 'keap_to_intercom', NULL, '2026-11-29 22:23:08.520581+00', '2026-11-29 22:23:08.520581+00', '2026-11-29 22:23:08.520581+00', 'created', 'backfill', 'fbe54732-79de-4ba2-9eff-740572135920', '000000000000000000000006');
INSERT INTO public.keap_intercom_sync_logs VALUES ('07e0fab8-1525-4902-97ff-3fc409ba25ac', '6', '6762f0dd1bb69f9f00000007', 'synced', 'keap_to_intercom', NULL, '2026-11-29 22:23:08.520587+00', '2026-11-29 22:23:08.520587+00', '2026-11-29 22:23:08.520587+00', 'created', 'backfill', 'fbe54732-79de-4ba2-9eff-740572135920', '000000000000000000000007');
INSERT INTO public.keap_intercom_sync_logs VALUES ('42e9ff14-0ad3-461b-9208-ce954ae35dca', '7', '6762f0dd1bb69f9f00000008', 'synced', 'keap_to_intercom', NULL, '2026-11-29 22:23:08.520595+00', '2026-11-29 22:23:08.520595+00', '2026-11-29 22:23:08.520595+00', 'created', 'backfill', 'fbe54732-79de-4ba2-9eff-740572135920', '000000000000000000000008');
INSERT INTO public.keap_intercom_sync_logs VALUES ('9053bd20-eff8-4249-b43a-525126d21f04', '12', '6762f0dd1bb69f9f00000009', 'synced', 'keap_to_intercom', NULL, '2026-11-29 22:23:08.520601+00', '2026-11-29 22:23:08.520601+00', '2026-11-29 22:23:08.520601+00', 'created', 'backfill', 'fbe54732-79de-4ba2-9eff-740572135920', '000000000000000000000009');
INSERT INTO public.keap_intercom_sync_logs VALUES ('68c7b4b8-36f7-4f15-a59b-b0049b844eb9', '10', '6762f0dd1bb69f9f0000000a', 'synced', 'keap_to_intercom', NULL, '2026-11-29 22:23:08.520607+00', '2026-11-29 22:23:08.520607+00', '2026-11-29 22:23:08.520607+00', 'created', 'backfill', 'fbe54732-79de-4ba2-9eff-740572135920', '00000000000000000000000a');
INSERT INTO public.keap_intercom_sync_logs VALUES ('88cd3991-a6da-4a01-9e10-86e0ddd852c3', '4', '6762f0dd1bb69f9f00000005', 'synced', 'keap_to_intercom', NULL, '2026-11-29 22:23:08.645875+00', '2026-11-29 22:23:08.645875+00', '2026-11-29 22:23:08.645875+00', 'updated', 'backfill', '7e498b2a-c425-46b7-8906-1fa3ddd78e11', '00000000000000000000000b');
INSERT INTO public.keap_intercom_sync_logs VALUES ('914398ab-86fd-46ed-a33a-644b60ec7bac', '5', '6762f0dd1bb69f9f00000006', 'synced', 'keap_to_intercom', 'the e-mail in Keap is not a valid address: Intercom keeps its own, the other fields were written', '2026-11-29 22:23:08.646039+00', '2026-11-29 22:23:08.646039+00', '2026-11-29 22:23:08.646039+00', 'updated', 'backfill', '7e498b2a-c425-46b7-8906-1fa3ddd78e11', '00000000000000000000000c');
INSERT INTO public.sync_cursor VALUES ('changed', '2026-02-03 04:16:07+00', '2026-02-03 04:16:05+00', '2026-02-03 04:16:05+00', '2026-11-29 22:23:08.769355+00', '2026-11-29 22:23:08.774257+00', false, NULL, NULL, NULL, NULL, NULL, '2026-11-29 22:23:08.774257+00');
INSERT INTO public.sync_cursor VALUES ('backfill', '1970-01-01 00:00:00+00', '1970-01-01 00:00:00+00', '1970-01-01 00:00:00+00', '2026-11-29 22:23:08.47186+00', '2026-11-29 22:23:08.929441+00', false, NULL, NULL, NULL, NULL, NULL, '2026-11-29 22:23:08.929441+00');
INSERT INTO public.sync_digest_key VALUES (true, '\x4089e5dd56ad4f65b7abb57fc4e94e72d32731cd042347c0aa909b66f6680ea4', '2026-11-29 22:23:08.386598+00');
INSERT INTO public.sync_lease VALUES ('writer', 4, 'a process of the former release', '2026-11-29 22:23:07.941818+00', '2026-11-29 22:23:08.881819+00');
INSERT INTO public.sync_run VALUES ('fbe54732-79de-4ba2-9eff-740572135920', 'backfill', 'manual', 'done', NULL, 12, 9, 0, 0, 0, 2, 1, 0, 2, 10, 'b588f9b4-fb9f-4905-8c4d-0a27b9e77ac5', NULL, '2026-11-29 22:23:08.455342+00', '2026-11-29 22:23:08.467226+00', '2026-11-29 22:23:08.517643+00', 0, 0, 0);
INSERT INTO public.sync_run VALUES ('7e498b2a-c425-46b7-8906-1fa3ddd78e11', 'backfill', 'manual', 'done', NULL, 12, 0, 0, 2, 7, 2, 1, 0, 2, 2, 'c7a1d313-2547-406b-9225-394e1488f093', NULL, '2026-11-29 22:23:08.576766+00', '2026-11-29 22:23:08.602022+00', '2026-11-29 22:23:08.626083+00', 0, 0, 0);
INSERT INTO public.sync_run VALUES ('a77838ac-f1e6-4063-b3cf-a4abafdef6e5', 'changed', 'manual', 'done', NULL, 1, 0, 0, 0, 0, 0, 1, 0, 2, 0, '130ab1ab-5002-4b6c-b47f-96bfa77cc71c', NULL, '2026-11-29 22:23:08.740215+00', '2026-11-29 22:23:08.765158+00', '2026-11-29 22:23:08.774257+00', 0, 0, 0);
INSERT INTO public.sync_run VALUES ('3adb3ea7-26f6-44b7-a910-6623a6b0310c', 'backfill', 'first_run', 'done', NULL, 12, 0, 0, 0, 9, 2, 1, 0, 2, 0, '9f1fd51b-7c41-42ae-b1be-3edee3933d74', NULL, '2026-11-29 22:23:08.768689+00', '2026-11-29 22:23:08.768689+00', '2026-11-29 22:23:08.790972+00', 0, 0, 0);
INSERT INTO public.sync_run VALUES ('0875f7e4-17d7-4086-b836-e8787a1c34cd', 'backfill', 'manual', 'done', NULL, 12, 0, 0, 0, 9, 2, 1, 0, 2, 0, 'f5f9d20c-4a39-4a81-a099-e9ff09d48ef4', NULL, '2026-11-29 22:23:08.879272+00', '2026-11-29 22:23:08.9159+00', '2026-11-29 22:23:08.929441+00', 0, 0, 0);
ALTER TABLE ONLY public._sqlx_migrations
    ADD CONSTRAINT _sqlx_migrations_pkey PRIMARY KEY (version);
ALTER TABLE ONLY public.contact_due
    ADD CONSTRAINT contact_due_pkey PRIMARY KEY (keap_contact_id);
ALTER TABLE ONLY public.contact_link
    ADD CONSTRAINT contact_link_intercom_contact_id_key UNIQUE (intercom_contact_id);
ALTER TABLE ONLY public.contact_link
    ADD CONSTRAINT contact_link_pkey PRIMARY KEY (keap_contact_id);
ALTER TABLE ONLY public.keap_hook
    ADD CONSTRAINT keap_hook_pkey PRIMARY KEY (event_key, url_digest);
ALTER TABLE ONLY public.keap_intercom_sync_logs
    ADD CONSTRAINT keap_intercom_sync_logs_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.sweep_candidate
    ADD CONSTRAINT sweep_candidate_pkey PRIMARY KEY (keap_contact_id);
ALTER TABLE ONLY public.sync_batch
    ADD CONSTRAINT sync_batch_pkey PRIMARY KEY (key_digest);
ALTER TABLE ONLY public.sync_cursor
    ADD CONSTRAINT sync_cursor_pkey PRIMARY KEY (feed);
ALTER TABLE ONLY public.sync_digest_key
    ADD CONSTRAINT sync_digest_key_pkey PRIMARY KEY (only_row);
ALTER TABLE ONLY public.sync_lease
    ADD CONSTRAINT sync_lease_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.sync_run
    ADD CONSTRAINT sync_run_pkey PRIMARY KEY (id);
CREATE INDEX contact_due_held ON public.contact_due USING btree (updated_at) WHERE held;
CREATE INDEX contact_due_next ON public.contact_due USING btree (priority, due_at) WHERE (NOT held);
CREATE INDEX contact_link_email_digest ON public.contact_link USING btree (email_digest) WHERE (state = 'linked'::text);
CREATE INDEX idx_keap_intercom_sync_logs_intercom_contact_id ON public.keap_intercom_sync_logs USING btree (intercom_contact_id);
CREATE INDEX idx_keap_intercom_sync_logs_keap_contact_id ON public.keap_intercom_sync_logs USING btree (keap_contact_id);
CREATE INDEX idx_keap_intercom_sync_logs_sync_status ON public.keap_intercom_sync_logs USING btree (sync_status);
CREATE INDEX keap_hook_pending ON public.keap_hook USING btree (pending_until) WHERE (pending_until IS NOT NULL);
CREATE INDEX keap_intercom_sync_logs_created_at ON public.keap_intercom_sync_logs USING btree (created_at);
CREATE INDEX sync_batch_requested_at ON public.sync_batch USING btree (requested_at);
CREATE INDEX sync_run_finished_at ON public.sync_run USING btree (finished_at) WHERE (finished_at IS NOT NULL);
CREATE INDEX sync_run_open ON public.sync_run USING btree (created_at) WHERE (state = ANY (ARRAY['requested'::text, 'running'::text]));
CREATE INDEX sync_run_recent ON public.sync_run USING btree (created_at DESC);
CREATE INDEX sync_run_sweep ON public.sync_run USING btree (finished_at) WHERE ((feed = 'sweep'::text) AND (finished_at IS NOT NULL));
