//! The alert rules and the dashboard query metrics that a running daemon exposes, and the documents
//! name every metric.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use keap_intercom_sync::contact::KeapId;
use keap_intercom_sync::outcome::HoldReason;
use serde_json::Value;
use sqlx::PgPool;

use crate::process::{HOLDS, Process, STANDS_BY, canary, command, world};
use crate::sim::{Fault, Person, Seed, What, client};
use crate::world::{World, until};

const RULES: &str = "docs/monitoring/keap-intercom-sync.rules.yml";
const DASHBOARD: &str = "docs/monitoring/keap-intercom-sync.dashboard.json";
const HTTP: &str = "docs/http.md";
const RUNBOOK: &str = "docs/runbook.md";
const README: &str = "README.md";

/// A file of the repository.
fn text(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

const PREFIX: &str = "keap_intercom_sync_";
/// The labels that Prometheus adds to every series, and `account`, which an operator adds.
const OF_TARGETS: [&str; 3] = ["job", "instance", "account"];

type Labels = BTreeMap<String, String>;

/// One scrape: the series, the values and the types of the metrics.
struct Shown {
    series: BTreeMap<String, Vec<Labels>>,
    values: BTreeMap<String, f64>,
    types: BTreeMap<String, String>,
}

impl Shown {
    fn read(text: &str) -> Self {
        let mut shown =
            Self { series: BTreeMap::new(), values: BTreeMap::new(), types: BTreeMap::new() };
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(line) = line.strip_prefix("# TYPE ") {
                let (name, kind) = line.split_once(' ').unwrap();
                shown.types.insert(name.to_owned(), kind.to_owned());
            } else if !line.starts_with('#') {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
                let labels = matchers(labels.strip_suffix('}').unwrap());
                let labels = labels.into_iter().map(|m| (m.label, m.value)).collect();
                let all = shown.series.entry(name.to_owned()).or_default();
                all.push(labels);
                shown.values.insert(series.to_owned(), value.parse().unwrap());
            }
        }
        for all in shown.series.values_mut() {
            all.sort();
        }
        shown
    }

    fn labels(&self, name: &str) -> BTreeSet<String> {
        let all = self.series.get(name).into_iter().flatten();
        all.flat_map(Labels::keys).cloned().collect()
    }

    /// The metrics as the documents name them: a histogram is one metric, without the label `le`.
    fn documented(&self) -> BTreeMap<String, (String, BTreeSet<String>)> {
        let one = |(name, kind): (&String, &String)| {
            let sample = if kind == "histogram" { format!("{name}_count") } else { name.clone() };
            (name.clone(), (kind.clone(), self.labels(&sample)))
        };
        self.types.iter().map(one).collect()
    }

    /// Whether the selector of a query would find a series.
    fn finds(&self, selector: &Selector) -> bool {
        let all = self.series.get(&selector.name).into_iter().flatten();
        let wanted: Vec<&Matcher> = selector
            .matchers
            .iter()
            .filter(|matcher| !OF_TARGETS.contains(&matcher.label.as_str()))
            .collect();
        // Each of several alternative values must exist, else the query names an unknown value.
        let choices = wanted.iter().map(|m| m.value.split('|').count()).max();
        (0..choices.unwrap_or(1)).all(|choice| {
            all.clone().any(|labels| {
                wanted.iter().all(|matcher| {
                    let mut values = matcher.value.split('|').cycle();
                    let value = values.nth(choice).unwrap();
                    labels.get(&matcher.label).is_some_and(|label| {
                        let same = match value.strip_prefix(".*") {
                            Some(end) => label.ends_with(end),
                            None => label == value,
                        };
                        same != matcher.operator.starts_with('!')
                    })
                })
            })
        })
    }
}

#[derive(Debug)]
struct Matcher {
    label: String,
    operator: String,
    value: String,
}

/// The matchers between the braces of a selector, or the labels of a series.
fn matchers(text: &str) -> Vec<Matcher> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('"') {
        let (value, after) = after.split_once('"').unwrap();
        let before = before.trim_start_matches([',', ' ']);
        let label = before.trim_end_matches(['=', '~', '!', ' ']);
        found.push(Matcher {
            label: label.to_owned(),
            operator: before[label.len()..].trim().to_owned(),
            value: value.to_owned(),
        });
        rest = after;
    }
    found
}

#[derive(Debug)]
struct Selector {
    name: String,
    matchers: Vec<Matcher>,
}

fn is_name_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The selectors of our metrics in a query.
fn selectors(query: &str) -> Vec<Selector> {
    let mut found = Vec::new();
    for (at, _) in query.match_indices(PREFIX) {
        let rest = &query[at..];
        let end = rest.find(|c| !is_name_character(c)).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        let inside = rest
            .strip_prefix('{')
            .and_then(|rest| rest.split_once('}'))
            .map_or("", |(inside, _)| inside);
        found.push(Selector { name: name.to_owned(), matchers: matchers(inside) });
    }
    found
}

/// The labels by which a query groups or joins.
fn groupings(query: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for word in ["by (", "on ("] {
        for (at, _) in query.match_indices(word) {
            let (inside, _) = query[at + word.len()..].split_once(')').unwrap();
            found.extend(inside.split(',').map(|label| label.trim().to_owned()));
        }
    }
    found
}

/// The expressions of the rules.
fn rules() -> Vec<String> {
    let rules = text(RULES);
    let parts = rules.split("expr:").skip(1);
    let expression = |part: &str| part.split("for:").next().unwrap().to_owned();
    parts.map(expression).collect()
}

/// The queries of the dashboard, each with the format of its legend.
fn queries() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&text(DASHBOARD)).unwrap();
    let string = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let mut queries: Vec<(String, String)> =
        targets.map(|target| (string(&target["expr"]), string(&target["legendFormat"]))).collect();
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if variable["type"] == "query" {
            queries.push((string(&variable["query"]["query"]), String::new()));
        }
    }
    queries
}

fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// A daemon that serves its metrics at an address of their own and has logged `line`.
async fn daemon(world: &mut World, line: &str) -> (Process, SocketAddr) {
    let (address, numbers) = (free(), free());
    world
        .set("HTTP_LISTEN", address)
        .set("HTTP_PUBLIC_URL", format!("http://{address}/"))
        .set("HTTP__METRICS_LISTEN", numbers);
    let mut daemon = Process::daemon(world);
    daemon.says(line).await;
    (daemon, numbers)
}

async fn scrape(address: SocketAddr) -> Shown {
    let url = format!("http://{address}/metrics");
    let reply = client::send("GET", &url, &[], "").await.unwrap();
    assert_eq!(reply.status, 200);
    Shown::read(std::str::from_utf8(&reply.body).unwrap())
}

/// The metrics in the table of docs/http.md, each with its type and its labels.
fn documented(http: &str) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let mut documented = BTreeMap::new();
    for line in http.lines().filter(|line| line.starts_with("| `keap_")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let kind = cells[2].split(',').next().unwrap();
        let labels = cells[3].split(',').map(|label| label.trim().trim_matches('`'));
        let labels = labels.filter(|label| !label.is_empty());
        documented.insert(
            cells[1].trim_matches('`').to_owned(),
            (kind.to_owned(), labels.map(str::to_owned).collect()),
        );
        assert!(!cells[4].is_empty() && !cells[5].is_empty(), "{line}");
    }
    documented
}

/// Every selector of the rules and the dashboard finds a series, and every label that a query or a
/// legend names exists.
fn assert_queries_find_series(shown: &Shown) {
    let all: Vec<(String, String)> =
        rules().into_iter().map(|rule| (rule, String::new())).chain(queries()).collect();
    let mut found = 0;
    for (query, legend) in &all {
        let mut known: BTreeSet<String> = OF_TARGETS.map(str::to_owned).into();
        for selector in selectors(query) {
            assert!(shown.finds(&selector), "{selector:?} finds nothing");
            known.extend(shown.labels(&selector.name));
            found += 1;
        }
        if query.contains("ALERTS{") {
            continue;
        }
        let named: BTreeSet<String> = legend
            .split("{{")
            .skip(1)
            .map(|part| part.split("}}").next().unwrap().to_owned())
            .collect();
        let unknown: Vec<_> = groupings(query).union(&named).cloned().collect();
        let unknown: Vec<_> = unknown.iter().filter(|label| !known.contains(*label)).collect();
        assert!(unknown.is_empty(), "{query}: {unknown:?}");
    }
    assert!(found > 50, "{found}");
}

/// Everything that a daemon counts happens here: contacts of every kind, a remote that fails,
/// webhooks, late arrivals and the brake.
#[sqlx::test(migrations = false)]
async fn alerts_and_panels_query_existing_metrics_and_each_metric_is_documented(pool: PgPool) {
    let mut world = world(pool, 12).await;
    world
        .set("SWEEP__BRAKE_CONTACTS", 3)
        .set("SWEEP__BRAKE_PERCENT", 100)
        .set("HOOKS__SCHEDULE", "* * * * * *")
        .set("INTERCOM_TO_KEAP__ENABLED", "true");
    world.keap.knobs(|knobs| {
        knobs.per_minute = Some(60_000);
        knobs.per_day = Some(1_000_000);
        knobs.tenant_headers = true;
        knobs.hook_time_scale = 0.001;
    });
    for external_id in ["x", "y"] {
        let seed = Seed::with_email("canary.20@canary.example");
        world.intercom.add_user(seed.external_id(external_id));
    }
    world.keap.add(canary(20));
    world.keap.add(Person::named("Canary", "Canarysson"));
    world.intercom.fault(Fault::on("create").what(What::Status(500, "{}".into())));

    let (leader, numbers) = daemon(&mut world, HOLDS).await;
    let ids = world.keap.ids();
    until("everybody is linked, or held, or skipped", async || {
        world.intercom.by_external_id(&ids[11].to_string()).len() == 1
            && world.store().count_due().await.is_ok_and(|due| due == (0, 1))
            && world.store().count_linked().await.unwrap() == 12
    })
    .await;
    until("three subscriptions are verified", async || {
        let shown = scrape(numbers).await;
        shown.values["keap_intercom_sync_hooks{state=\"verified\"}"] == 3.0
    })
    .await;
    world.keap.edit(ids[0], |person| *person = canary(30));
    until("a delivery is counted", async || {
        scrape(numbers).await.series.contains_key("keap_intercom_sync_deliveries_total")
    })
    .await;

    // No poll finds this contact: it becomes visible half an hour after its stamp, when the cursor
    // has moved on and settled.
    world.keap.knobs(|knobs| {
        knobs.hook_deliveries = false;
        knobs.visibility_delay_ms = 1_800_000;
    });
    let late = world.keap.add(canary(40));
    world.keap.knobs(|knobs| knobs.visibility_delay_ms = 0);
    world.keap.clock().advance_ms(60_000);
    world.keap.edit(ids[1], |person| *person = canary(31));
    until("the cursor is settled after its stamp", async || {
        sqlx::query_scalar("select settled = position and settled > to_timestamp($1::float8 / 1000) from sync_cursor where feed = 'changed'")
            .bind(world.keap.stamp_ms(late).unwrap())
            .fetch_one(&world.pool)
            .await
            .unwrap()
    })
    .await;
    world.keap.clock().advance_ms(1_800_000);

    let shown = scrape(numbers).await;
    assert_eq!(shown.values["keap_intercom_sync_late_total"], 0.0);
    command(&world, &["sync", "--sweep"]).await.expect(0);
    let shown = scrape(numbers).await;
    assert_eq!(shown.values["keap_intercom_sync_late_total"], 1.0);
    assert_eq!(shown.values["keap_intercom_sync_sweep_braked"], 0.0);

    for id in &ids[2..7] {
        world.keap.delete(*id);
    }
    command(&world, &["sync", "--sweep"]).await.expect(2);
    // A scrape may be a second old.
    until("the brake is shown", async || {
        scrape(numbers).await.values["keap_intercom_sync_sweep_braked"] == 1.0
    })
    .await;
    let shown = scrape(numbers).await;

    let http = text(HTTP);
    assert_eq!(shown.documented(), documented(&http));
    assert_queries_find_series(&shown);

    // A standby exposes what Postgres knows, and that it runs no passes.
    let (standby, other) = daemon(&mut world, STANDS_BY).await;
    let stands_by = scrape(other).await;
    let of_postgres = http.lines().filter(|line| line.contains("| gauge, Postgres |"));
    let of_postgres: Vec<&str> = of_postgres.map(|line| line.split('`').nth(1).unwrap()).collect();
    assert_eq!(of_postgres.len(), 14);
    for name in &of_postgres {
        assert_eq!(stands_by.series[*name], shown.series[*name], "{name}");
    }
    for (name, value) in [("lease_held", 0.0), ("database_up", 1.0), ("late_total", 0.0)] {
        assert_eq!(stands_by.values[&format!("{PREFIX}{name}")], value, "{name}");
    }
    assert!(!stands_by.series.contains_key("keap_intercom_sync_limit_left"));
    standby.stop().await;

    // An unknown value is not exposed: an old age would hide that nothing is synced.
    let mut lock = world.pool.begin().await.unwrap();
    sqlx::query("lock table contact_due, sync_cursor in access exclusive mode")
        .execute(&mut *lock)
        .await
        .unwrap();
    let mut last = None;
    until("the database is down", async || {
        let now = scrape(numbers).await;
        let down = now.values["keap_intercom_sync_database_up"] == 0.0;
        last = Some(now);
        down
    })
    .await;
    let last = last.unwrap();
    for name in &of_postgres {
        assert!(!last.series.contains_key(*name), "{name} is still shown");
    }
    assert!(last.series.contains_key("keap_intercom_sync_remote_up"));

    lock.rollback().await.unwrap();
    until("the database is back", async || {
        let now = scrape(numbers).await;
        of_postgres.iter().all(|name| now.series.contains_key(*name))
    })
    .await;

    command(&world, &["sync", "--sweep", "--force"]).await.expect(0);
    until("the brake is no longer shown", async || {
        scrape(numbers).await.values["keap_intercom_sync_sweep_braked"] == 0.0
    })
    .await;
    leader.stop().await;
}

/// The first column of the table below a heading.
fn rows(document: &str, heading: &str, first_cell: &str) -> Vec<String> {
    let document = text(document);
    let (_, rest) = document.split_once(heading).unwrap();
    let rest = &rest[rest.find(first_cell).unwrap()..];
    let table = rest.lines().take_while(|line| line.starts_with('|'));
    table.skip(2).map(|line| line.split('|').nth(1).unwrap().trim().to_owned()).collect()
}

/// A new reason compiles here only with an example, and then it needs a row.
#[test]
fn each_hold_reason_has_its_row_in_the_documents() {
    let next = |reason: Option<&HoldReason>| match reason {
        None => Some(HoldReason::EmailLinkedTo(KeapId::new(1).unwrap())),
        Some(HoldReason::EmailLinkedTo(_)) => {
            Some(HoldReason::EmailInKeap(KeapId::new(1).unwrap()))
        }
        Some(HoldReason::EmailInKeap(_)) => Some(HoldReason::SeveralInKeap),
        Some(HoldReason::SeveralInKeap) => Some(HoldReason::CreateRefused(String::new())),
        Some(HoldReason::CreateRefused(_)) => Some(HoldReason::CreateUnsure),
        Some(HoldReason::CreateUnsure) => Some(HoldReason::ExternalIdTaken),
        Some(HoldReason::ExternalIdTaken) => Some(HoldReason::ExternalIdUnproven),
        Some(HoldReason::ExternalIdUnproven) => Some(HoldReason::SeveralUsers),
        Some(HoldReason::SeveralUsers) => Some(HoldReason::Archived),
        Some(HoldReason::Archived) => Some(HoldReason::NotRestorable),
        Some(HoldReason::NotRestorable) => Some(HoldReason::DeletedAgain),
        Some(HoldReason::DeletedAgain) => Some(HoldReason::Conflict),
        Some(HoldReason::Conflict) => Some(HoldReason::DecisionOutdated(String::new())),
        Some(HoldReason::DecisionOutdated(_)) => Some(HoldReason::PingPong { in_keap: true }),
        Some(HoldReason::PingPong { .. }) => Some(HoldReason::Refused(String::new())),
        Some(HoldReason::Refused(_)) => Some(HoldReason::LastTry(String::new())),
        Some(HoldReason::LastTry(_)) => None,
    };
    let words: Vec<String> = std::iter::successors(next(None), |reason| next(Some(reason)))
        .map(|reason| {
            let text = reason.to_string();
            let word: String = text.chars().take_while(|c| is_name_character(*c)).collect();
            word
        })
        .collect();
    let word = |cell: String| {
        let cell = cell.trim_matches('`');
        cell.split(' ').next().unwrap().to_owned()
    };
    let of_runbook: Vec<String> =
        rows(RUNBOOK, "## Holds", "| reason |").into_iter().map(word).collect();
    assert_eq!(of_runbook, words);
    let of_readme = rows(README, "## What each outcome means", "| reason |");
    let of_readme: Vec<String> = of_readme.into_iter().map(word).collect();
    // Seven skips stand before the holds.
    assert_eq!(of_readme[7..], words);
}

#[test]
fn each_exit_status_has_its_row_in_the_runbook() {
    let program: String =
        ["src/commands/mod.rs", "src/commands/run.rs", "src/config/error.rs"].map(text).concat();
    let mut statuses = BTreeSet::new();
    for line in program.lines() {
        let constant = line.split_once(": u8 = ");
        if let Some((_, value)) = constant.or_else(|| line.split_once("process::exit(")) {
            statuses.insert(value.trim_end_matches([')', ';']).to_owned());
        }
    }
    let expected: BTreeSet<String> = ["0", "1", "2", "78", "130"].map(str::to_owned).into();
    assert_eq!(statuses, expected, "what the program ends with");
    // The other rows are about signals and systemd.
    let mut rows = rows(RUNBOOK, "## Exit statuses", "| status |");
    rows.retain(|status| status.chars().all(|c| c.is_ascii_digit()));
    assert_eq!(BTreeSet::from_iter(rows), expected);
}
