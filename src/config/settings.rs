//! Every setting: its key, its environment name, its bounds and its type, each once. The default
//! and the documentation for operators are in `config/default.toml`.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::database_url;
use super::declare::{choice, settings};
use super::forms::{
    ApiToken, BaseUrl, Events, IntercomVersion, Listen, LogFilter, Name, PostgresUrl, ProxyUrl,
    Schedule, ScheduleOrOff, TagName, Token, UiPassword, WebhookSecrets,
};
use super::kinds::{
    Choice, DaysOrForever, Flag, Key, Milliseconds, Named, OptionalText, Seconds, Secret, Setting,
    Text, Texts, Whole, read,
};
use super::mapped::{FieldTable, TagTable};
use super::notify_forms::{HookUrl, MailAddress, MailPassword, MailServer, MailUser, PageUrl};
use super::origin::Origin;
use super::values::Values;

const DAY: i64 = 86_400;

/// The most ids that one call asks for (`docs/api/keap.md`, "Contacts by id"). Larger numbers were
/// allowed once, so they are still accepted.
const MAX_IDS_AT_ONCE: usize = 100;

/// A wait of at most ten minutes.
type Wait = Milliseconds<10, 600_000>;
/// A share that always leaves at least half.
type Percent = Whole<u32, 0, 50>;

settings! {
    /// The name of this deployment, such as `production` or `staging`.
    environment: Text<Name> = "ENVIRONMENT";

    /// The Postgres pool.
    database: Database {
        /// May hold a password. Read it with [`Database::address`].
        url: Secret<PostgresUrl> = "DATABASE_URL", needed as DatabaseUrl;
        /// Connections that the pool may hold.
        max_connections: Whole<u32, 2, 100>;
        /// What to do at start when the schema is behind.
        migrate: Choice<Migrate>;
        /// How long one statement may run.
        statement_timeout: Wait;
        /// How long to wait for a connection.
        connect_timeout: Wait;
        /// Whether statements may be prepared once per connection, where no pooler stands between.
        prepared_statements: Flag;
    }

    /// The Keap side.
    keap: Keap {
        api_key: Secret<Token> = "KEAP_API_KEY", needed as KeapApiKey;
        /// The address to which paths are appended.
        base_url: Text<BaseUrl> = "KEAP_BASE_URL";
        /// One or two secrets, separated by a comma; read them with [`Keap::webhook_secrets`].
        webhook_secret: Secret<WebhookSecrets> = "KEAP_WEBHOOK_SECRET", needed as KeapWebhookSecret;
        /// Calls to Keap that webhooks may cause in a day.
        webhook_calls_per_day: Whole<u32, 10, 1_000_000>;
        /// Contacts per list call.
        page_size: Whole<usize, 1, 1000>;
        /// Contact ids per call that reads contacts by id; read it with [`Keap::ids_at_once`].
        ids_per_call: Whole<usize, 1, 500>;
        /// Calls started in any one second.
        calls_per_second: Whole<usize, 1, 1000>;
        /// Calls started in any one minute.
        calls_per_minute: Whole<usize, 1, 60_000>;
        /// Percent of the daily quota that is left to other users of the account.
        daily_reserve_percent: Percent;
        /// How long to wait for a connection.
        connect_timeout: Wait;
        /// How long to wait for a whole answer.
        request_timeout: Wait;
    }

    /// The Intercom side.
    intercom: Intercom {
        access_token: Secret<Token> = "INTERCOM_ACCESS_TOKEN", needed as IntercomAccessToken;
        /// The client secret of the app that sends webhooks.
        client_secret: Secret<Token> = "INTERCOM_CLIENT_SECRET", needed as IntercomClientSecret;
        /// Where the workspace is hosted.
        region: Choice<Region> = "INTERCOM_REGION";
        /// Replaces the address of the region; read it with [`Intercom::base_url`].
        base_url: OptionalText<BaseUrl> = "INTERCOM_BASE_URL";
        /// The value of the `Intercom-Version` header.
        version: Text<IntercomVersion> = "INTERCOM_VERSION";
        /// Calls started in any ten seconds, until Intercom's headers show the true limit.
        calls_per_10_seconds: Whole<u32, 1, 100_000>;
        /// E-mail addresses that one search call looks up.
        emails_per_search: Whole<usize, 1, 15>;
        /// How long to wait for a connection.
        connect_timeout: Wait;
        /// How long to wait for a whole answer.
        request_timeout: Wait;
    }

    /// How both remotes are reached.
    network: Network {
        /// The proxy on the way, or `off`; may hold a password. Read it with [`Settings::proxy`].
        proxy: Secret<ProxyUrl>;
    }

    /// The daemon's own HTTP surface.
    http: Http {
        /// The address and port to listen on.
        listen: Text<Listen> = "HTTP_LISTEN";
        /// A second address, where metrics need no token.
        metrics_listen: OptionalText<Listen>;
        /// The address at which Keap reaches this daemon.
        public_url: OptionalText<BaseUrl> = "HTTP_PUBLIC_URL", needed as HttpPublicUrl;
        /// Connections open at once; if all are taken, idle ones are closed.
        max_connections: Whole<usize, 16, 10_000>;
        /// If the last complete poll is older than this, the daemon is not ready.
        ready_poll_age: Seconds<5, { 31 * DAY }>;
        /// The bearer token of the API; without one the API is closed.
        api_token: Secret<ApiToken> = "API_TOKEN", needed as ApiToken;
        /// The password of the operator's page; the API token opens it too.
        ui_password: Secret<UiPassword> = "UI_PASSWORD";
    }

    /// Our subscriptions to Keap's events.
    hooks: Hooks {
        /// The events to subscribe to.
        events: Text<Events>;
        /// When the subscriptions are checked: a cron line.
        schedule: Text<Schedule>;
    }

    /// When Keap is asked for changes.
    poll: Poll {
        /// A cron line in UTC: six fields, seconds first, and an optional year.
        schedule: Text<Schedule>;
        /// How far each poll looks back before the end of the last one.
        overlap: Seconds<0, DAY>;
        /// What the very first poll takes.
        first_run: Choice<FirstRun>;
    }

    /// The second direction: what changes in Intercom reaches Keap.
    intercom_to_keap: IntercomToKeap {
        /// Whether it does.
        enabled: Flag;
        /// When Intercom is asked for changes: a cron line.
        schedule: Text<Schedule>;
        /// How far each poll looks back before the newest change that was seen.
        overlap: Seconds<0, DAY>;
        /// When all users are compared; `None` if that never starts by itself.
        audit_schedule: Text<ScheduleOrOff>;
        /// Whether the owner's value is written again where the other side was edited.
        put_back: Flag;
        /// Edits on both sides that are no further apart count as made at the same time.
        tie: Seconds<0, 3600>;
        /// What happens in Keap to a contact that was archived or deleted in Intercom.
        archived: Choice<Archived>;
        /// The tag in Keap of such contacts.
        archived_tag: OptionalText<TagName>;
        /// Which users without a contact in Keap get one there.
        create: Choice<CreateInKeap>;
        /// The tag in Intercom of those users, if only tagged ones do.
        create_tag: OptionalText<TagName>;
        /// If more contacts than this are made in an hour, the brake stops the others.
        create_brake: Whole<i64, 1, 1_000_000>;
        /// How long a create without an answer is left alone before it is looked for.
        create_retry: Seconds<1, 3600>;
        /// How many contacts a minute are written to Keap that nobody waits for.
        writes_per_minute: Whole<u32, 1, 60_000>;
    }

    /// How deletions and merges in Keap are noticed, and what happens then.
    sweep: Sweep {
        /// A cron line in UTC; `None` if no sweep starts by itself.
        schedule: Text<ScheduleOrOff>;
        /// What happens to the Intercom contact.
        deleted: Choice<Deleted>;
        /// If more contacts than this are gone, the sweep stops.
        brake_contacts: Whole<i64, 0, 1_000_000>;
        /// If a larger share of the linked contacts than this is gone, the sweep stops.
        brake_percent: Whole<i64, 0, 100>;
    }

    /// How a person is erased.
    erase: Erase {
        /// What happens to the Intercom contact.
        mode: Choice<EraseMode>;
    }

    /// How an existing Intercom contact is recognised.
    r#match: Match {
        /// Whether an equal external id alone proves that two contacts are one person.
        trust_external_id: Flag;
    }

    /// Whether opt-outs travel.
    consent: Consent {
        /// In which direction.
        opt_out: Choice<OptOut>;
    }

    /// The linked company of a contact.
    company: Company {
        /// Whether it becomes a company in Intercom.
        object: Flag;
    }

    /// Who is in scope.
    filter: Filter {
        /// Only contacts with one of these tags; without any, everybody.
        keap_tags_any: Texts;
        /// No contact with one of these tags.
        keap_tags_none: Texts;
        /// No contact with an address of one of these domains.
        exclude_domains: Texts;
        /// What happens to the Intercom contact of somebody who leaves.
        left: Choice<Left>;
        /// The tag in Intercom of those who left.
        left_tag: OptionalText<TagName>;
    }

    /// The mapping of fields.
    mapping: Mapping {
        /// If a changed mapping would rewrite a larger share of the links, it waits.
        brake_percent: Whole<i64, 0, 100>;
        /// How often the fields of both accounts are looked at again.
        check: Seconds<10, DAY>;
    }

    /// How contacts are written to Intercom.
    sync: Sync {
        /// If a run that nobody asked for would write a larger share of the links although nothing
        /// in Keap has changed, these writes wait for a person. 0 switches the brake off.
        brake_percent: Whole<i64, 0, 100>;
        /// Contacts in work at the same time.
        concurrency: Whole<usize, 1, 512>;
        /// Whether an Intercom lead with the same e-mail address becomes a user.
        promote_leads: Flag;
        /// Whether an archived Intercom contact is brought back.
        unarchive: Flag;
        /// Attempts before a contact is held.
        max_attempts: Whole<u32, 1, 50>;
        /// The wait before the second attempt; it doubles with each further one.
        retry_base: Wait;
        /// The longest wait between two attempts.
        retry_cap: Seconds<1, DAY>;
        /// Outcomes written to the database together.
        record_group: Whole<usize, 1, 1000>;
        /// After this time a smaller group is written too.
        record_after: Wait;
        /// When a contact with a write without an answer is read once more.
        recheck: Seconds<1, DAY>;
        /// Percent of the call budget that is kept for urgent contacts.
        urgent_share_percent: Percent;
        /// The longest time between two looks whether the cause of a stop is gone.
        stop_recheck: Seconds<1, DAY>;
        /// How often to look for work when there was none.
        idle_check: Wait;
    }

    /// The lease that lets one process work at a time.
    lease: Lease {
        /// How long a lease holds without renewal.
        ttl: Seconds<5, 300>;
    }

    /// How long rows are kept.
    retention: Retention {
        /// When older rows are looked for: a cron line.
        schedule: Text<Schedule>;
        /// How long rows of the log are kept; `None` is for ever.
        log: DaysOrForever<36_500>;
        /// How long runs that have ended are kept; `None` is for ever.
        run: DaysOrForever<36_500>;
    }

    /// Alarms: who is told of what is wrong.
    notify: Notify {
        /// Takes our own JSON.
        json_url: Secret<HookUrl>;
        /// An incoming webhook of Slack.
        slack_url: Secret<HookUrl>;
        /// A workflow of Microsoft Teams.
        teams_url: Secret<HookUrl>;
        /// A webhook of Discord.
        discord_url: Secret<HookUrl>;
        /// The server that takes mail.
        smtp_server: OptionalText<MailServer>;
        /// How the way to it is encrypted.
        smtp_tls: Choice<SmtpTls>;
        /// The account at the server.
        smtp_user: OptionalText<MailUser>;
        smtp_password: Secret<MailPassword>;
        /// The sender.
        mail_from: OptionalText<MailAddress>;
        /// The recipients.
        mail_to: Texts;
        /// The address of the operator's page, for links; without one, `public_url` leads there.
        page_url: OptionalText<PageUrl>;
        /// Whether targets beyond this machine may be reached without TLS.
        allow_plain: Flag;
        /// A trouble is told when it has lasted this long, and its end as well.
        after: Seconds<0, DAY>;
        /// Contacts that may wait for a person before that is told.
        held_above: Whole<i64, 0, 1_000_000>;
        /// A pause that is longer than this is told.
        paused_after: Seconds<0, { 31 * DAY }>;
        /// How long one attempt may take.
        timeout: Wait;
    }

    /// What is logged, and how.
    log: Log {
        /// The form of a log line.
        format: Choice<LogFormat> = "LOG_FORMAT";
        /// Directives of the filter.
        filter: Text<LogFilter> = "RUST_LOG";
    }
}

choice! {
    /// What to do when the database schema is behind.
    Migrate {
        /// Migrate, then start.
        Auto = "auto",
        /// Refuse to start.
        Refuse = "refuse",
    }
}

choice! {
    /// Where the Intercom workspace is hosted.
    Region {
        Us = "us",
        Eu = "eu",
        Au = "au",
    }
}

choice! {
    /// What the very first poll takes.
    FirstRun {
        /// Every contact of the account.
        Everything = "everything",
        /// Only contacts that change after the first start.
        FromNow = "from_now",
    }
}

choice! {
    /// What happens to the Intercom contact when Keap no longer has its contact.
    Deleted {
        /// It is archived.
        Archive = "archive",
        /// It stays; only the link is removed.
        Unlink = "unlink",
        /// Nothing.
        Ignore = "ignore",
    }
}

choice! {
    /// What happens to the Intercom contact of a person who is erased.
    EraseMode {
        /// It is deleted for good.
        Delete = "delete",
        /// It is archived; its data stay in Intercom.
        Archive = "archive",
    }
}

choice! {
    /// What happens to the Intercom contact of a contact that leaves the scope.
    Left {
        /// It stays as it is; only an opt-out still travels.
        Nothing = "nothing",
        /// It gets the tag `left_tag`.
        Tag = "tag",
        /// It is archived.
        Archive = "archive",
    }
}

choice! {
    /// What happens in Keap to a contact that was archived or deleted in Intercom. Nothing is ever
    /// deleted there.
    Archived {
        /// It gets the tag `archived_tag`, for a person to look at.
        Tag = "tag",
        /// It stays as it is.
        Ignore = "ignore",
    }
}

choice! {
    /// Which users of Intercom get a contact in Keap.
    CreateInKeap {
        /// None.
        Never = "never",
        /// Those with the tag `create_tag`.
        Tagged = "tagged",
        /// All with an e-mail address.
        Users = "users",
    }
}

choice! {
    /// In which direction opt-outs travel. Opt-ins never travel.
    OptOut {
        Off = "off",
        ToIntercom = "to_intercom",
        ToKeap = "to_keap",
        /// Until the program can write to Keap, the same as `to_intercom`.
        Both = "both",
    }
}

choice! {
    /// How the way to the mail server is encrypted.
    SmtpTls {
        /// The connection begins plain, and must turn to TLS.
        StartTls = "starttls",
        /// TLS from the first byte.
        Implicit = "implicit",
        /// Not at all.
        Off = "off",
    }
}

choice! {
    /// The form of a log line.
    LogFormat {
        /// For people.
        Text = "text",
        /// One JSON object per line.
        Json = "json",
    }
}

impl Database {
    /// The address of the database, in the one form that the store reads.
    pub fn address(&self) -> Option<SecretString> {
        let address = database_url::read(self.url.as_ref()?.expose_secret()).ok()?;
        Some(SecretString::from(address.url()))
    }

    /// The names of parameters in the address that this program does not use.
    pub(super) fn ignored_parameters(&self) -> Vec<String> {
        let address = self.url.as_ref().map(|url| database_url::read(url.expose_secret()));
        address.and_then(Result::ok).map(|address| address.ignored).unwrap_or_default()
    }
}

impl Keap {
    /// How many contacts one call reads by their ids.
    pub fn ids_at_once(&self) -> usize {
        self.ids_per_call.min(MAX_IDS_AT_ONCE)
    }

    /// The accepted webhook secrets: none, one, or two while one replaces the other.
    pub fn webhook_secrets(&self) -> Vec<SecretString> {
        self.webhook_secret.as_ref().map_or_else(Vec::new, |both| {
            both.expose_secret().split(',').map(|one| SecretString::from(one.trim())).collect()
        })
    }
}

impl Intercom {
    /// The address to call: the one that is set, else that of the region.
    pub fn base_url(&self) -> Url {
        self.base_url.clone().unwrap_or_else(|| self.region.url())
    }
}

impl Region {
    /// The API address of the region.
    pub fn url(self) -> Url {
        let address = match self {
            Self::Us => "https://api.intercom.io",
            Self::Eu => "https://api.eu.intercom.io",
            Self::Au => "https://api.au.intercom.io",
        };
        Url::parse(address).expect("the three addresses above are URLs")
    }
}
