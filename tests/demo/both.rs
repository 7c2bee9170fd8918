//! The second direction: the demo switches it on for the two accounts as they are then, people edit
//! on both sides, and both sides fall silent again.

use std::cell::RefCell;
use std::time::Instant;

use crate::process::Process;
use crate::report::{Check, check, thousands};
use crate::sim::{Call, people};
use crate::{Demo, PHASE_TIMEOUT, POLL_INTERVAL, daemon};

/// What switches it on. So that the demo is short, Intercom is asked every second instead of every
/// minute, and a poll does not read the changes of the whole demo again.
const SETTINGS: [(&str, &str); 4] = [
    ("INTERCOM_TO_KEAP__ENABLED", "true"),
    ("CONSENT__OPT_OUT", "both"),
    ("INTERCOM_TO_KEAP__SCHEDULE", "* * * * * *"),
    ("INTERCOM_TO_KEAP__OVERLAP_SECONDS", "5"),
];
/// At the end, so many polls of each side must add no write. One more may have begun before.
const QUIET_POLLS: usize = 2;

/// People whom nothing else in the demo changes: by their numbers, which are their Keap ids.
const CORRECTED: i64 = 500;
const CONTESTED: i64 = 501;
const RENAMED: i64 = 502;
const UNSUBSCRIBED: i64 = 504;

/// How many writes each side has received.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Writes {
    keap: usize,
    intercom: usize,
}

/// What the people want to see in the end.
struct Wanted {
    corrected: String,
    contested: String,
    name: Option<String>,
}

impl Demo<'_> {
    /// Switches the second direction on, lets people edit, and checks what came of it.
    pub(crate) async fn both_ways(
        &mut self,
        process: Process,
    ) -> anyhow::Result<(Process, Vec<Check>)> {
        println!(
            "4. The second direction is switched on: what changes in Intercom reaches Keap, too."
        );
        let (process, switched_on) = self.switch_on(process).await?;
        self.report.phase("Second direction, switched on", self.keap, self.intercom);

        let before = self.writes();
        println!("   People edit on both sides:");
        let wanted = self.let_people_edit();
        self.wait(&process, "the edits do not arrive", async || self.have_rows().await).await?;
        let written = self.writes().since(before);
        println!(
            "   Done: Keap has received {} writes, and Intercom {}.",
            written.keap, written.intercom
        );
        self.report.phase("Edits on both sides", self.keap, self.intercom);

        let silence = self.listen(&process).await?;
        self.report.phase("Silence afterwards", self.keap, self.intercom);
        let mut checks = vec![switched_on];
        checks.extend(self.outcomes(&wanted, written));
        checks.push(silence);
        Ok((process, checks))
    }

    /// Switches it off again, which is the default.
    pub(crate) async fn one_way_again(&mut self, process: Process) -> anyhow::Result<Process> {
        self.report.stop(process).await?;
        self.settings.retain(|(name, _)| !SETTINGS.iter().any(|(own, _)| own == name));
        daemon::start(&self.settings)
    }

    /// Starts the daemon with it, and waits until all users are compared.
    async fn switch_on(&mut self, process: Process) -> anyhow::Result<(Process, Check)> {
        self.report.stop(process).await?;
        // So that nobody waits a minute: from here on, search shows each change at once.
        self.intercom.knobs(|knobs| knobs.search_lag_ms = 0);
        self.intercom.reindex_now();
        let before = self.writes();
        self.settings.extend(SETTINGS.map(|(name, value)| (name, value.to_owned())));
        let process = daemon::start(&self.settings)?;
        let sql = "select exists (select from intercom_cursor where feed = 'audit' and walked_at is not null)
                      and not exists (select from contact_due where not held)";
        self.wait(&process, "the users are not compared", async || {
            Ok(sqlx::query_scalar(sql).fetch_one(&self.database.pool).await?)
        })
        .await?;
        let linked: i64 =
            sqlx::query_scalar("select count(*) from contact_link where intercom_base is not null")
                .fetch_one(&self.database.pool)
                .await?;
        let linked = thousands(usize::try_from(linked)?);
        println!("   Both sides of {linked} people are compared once.");
        let written = self.writes().since(before);
        let check = check(
            written == Writes { keap: 0, intercom: 0 },
            format!(
                "Switched on: {linked} people are the same on both sides, and that cost {} writes.",
                written.keap + written.intercom
            ),
        );
        Ok((process, check))
    }

    /// People edit, all at once.
    fn let_people_edit(&self) -> Wanted {
        let (keap, number) = (self.keap, |number: u64| people::e164(7_800_000 + number));
        let wanted = Wanted {
            corrected: number(1),
            contested: number(2),
            name: keap.person(RENAMED).and_then(|person| person.wanted_name()),
        };
        println!("   - an agent corrects the phone number of person {CORRECTED} in Intercom");
        self.edit_in_intercom(CORRECTED, |user| user.phone = Some(wanted.corrected.clone()));
        println!(
            "   - Keap and an agent give person {CONTESTED} different numbers, at the same moment"
        );
        keap.edit(CONTESTED, |person| {
            person.phones.clear();
            let phone = people::phone(7_800_002);
            *person = std::mem::take(person).phone(&phone, Some(&wanted.contested));
        });
        self.edit_in_intercom(CONTESTED, |user| user.phone = Some(number(3)));
        println!("   - an agent changes the name of person {RENAMED}, which Keap owns");
        self.edit_in_intercom(RENAMED, |user| user.name = Some("Nobody".to_owned()));
        println!("   - person {UNSUBSCRIBED} unsubscribes from a mail that Intercom has sent");
        self.edit_in_intercom(UNSUBSCRIBED, |user| user.unsubscribed_from_emails = true);
        wanted
    }

    /// Whether each edit has its row in the log, and nobody waits.
    async fn have_rows(&self) -> anyhow::Result<bool> {
        let sql = "select not exists (select from contact_due where not held) and
                          exists (select from keap_intercom_sync_logs
                                   where keap_contact_id = $1 and action = 'updated' and sync_direction = 'intercom_to_keap') and
                          exists (select from keap_intercom_sync_logs
                                   where keap_contact_id = $2 and error_message like 'conflict phone:%') and
                          exists (select from keap_intercom_sync_logs
                                   where keap_contact_id = $3 and action = 'restored') and
                          exists (select from keap_intercom_sync_logs
                                   where keap_contact_id = $4 and action = 'updated' and sync_direction = 'intercom_to_keap')";
        let is_there = sqlx::query_scalar(sql)
            .bind(CORRECTED.to_string())
            .bind(CONTESTED.to_string())
            .bind(RENAMED.to_string())
            .bind(UNSUBSCRIBED.to_string())
            .fetch_one(&self.database.pool)
            .await?;
        Ok(is_there)
    }

    /// What came of the edits.
    fn outcomes(&self, wanted: &Wanted, written: Writes) -> Vec<Check> {
        let in_keap = |id| self.keap.person(id).and_then(|person| person.wanted_phone());
        let user = |id: i64| self.intercom.by_external_id(&id.to_string()).pop();
        let in_intercom = |id| user(id).and_then(|user| user.phone);
        let are_both = |id, phone: &String| {
            in_keap(id).as_ref() == Some(phone) && in_intercom(id).as_ref() == Some(phone)
        };
        vec![
            check(
                are_both(CORRECTED, &wanted.corrected) && self.writes_to_keap_of(CORRECTED) == 1,
                "An edit in Intercom: the corrected phone number is in Keap, by one write."
                    .to_owned(),
            ),
            check(
                are_both(CONTESTED, &wanted.contested) && written.intercom == 2,
                "A conflict: both sides show Keap's number, because the edits were close; the log names the field."
                    .to_owned(),
            ),
            check(
                user(RENAMED).and_then(|user| user.name) == wanted.name,
                "An edit of what Keap owns: Keap's name is put back in Intercom.".to_owned(),
            ),
            check(
                self.is_out_in_keap(UNSUBSCRIBED) && written.keap == 2,
                "An opt-out travels: who unsubscribes in Intercom gets no marketing from Keap; nobody is ever opted in."
                    .to_owned(),
            ),
        ]
    }

    /// The writes to a contact in Keap since the direction is on.
    fn writes_to_keap_of(&self, id: i64) -> usize {
        let calls = self.keap.ledger();
        let is_of = |call: &&Call| {
            call.kind == "write" && call.key.as_deref() == Some(id.to_string().as_str())
        };
        calls.iter().filter(is_of).count()
    }

    /// Whether the address of a contact may get no marketing from Keap.
    fn is_out_in_keap(&self, id: i64) -> bool {
        let address =
            self.keap.person(id).and_then(|person| person.first_email().map(str::to_owned));
        address.is_some_and(|address| !self.keap.opt_status(&address).is_opt_in())
    }

    /// Waits for some polls of each side, and compares the write logs before and after.
    async fn listen(&self, process: &Process) -> anyhow::Result<Check> {
        let (before, lists) = (self.writes(), self.keap.count("list"));
        // When each poll of Intercom ended; the first one had begun before.
        let ends = RefCell::new(Vec::<String>::new());
        let sql = "select walked_at::text from intercom_cursor where feed = 'changed'";
        self.wait(process, "the daemon does not poll", async || {
            let end: String = sqlx::query_scalar(sql).fetch_one(&self.database.pool).await?;
            let mut ends = ends.borrow_mut();
            if ends.last() != Some(&end) {
                ends.push(end);
            }
            let polls_of_keap = self.keap.count("list") - lists;
            Ok(ends.len().min(polls_of_keap + 1) > QUIET_POLLS + 1)
        })
        .await?;
        let waits: i64 = sqlx::query_scalar("select count(*) from contact_due where not held")
            .fetch_one(&self.database.pool)
            .await?;
        let added = self.writes().since(before);
        println!(
            "   Two more polls of each side: {} writes to Keap, {} to Intercom.\n",
            added.keap, added.intercom
        );
        Ok(check(
            added == Writes { keap: 0, intercom: 0 } && waits == 0,
            format!(
                "Silence: two more polls of each side added {} writes to Keap and {} to Intercom.",
                added.keap, added.intercom
            ),
        ))
    }

    fn edit_in_intercom(&self, id: i64, edit: impl FnOnce(&mut crate::sim::StoredContact)) {
        if let Some(user) = self.intercom.by_external_id(&id.to_string()).pop() {
            self.intercom.edit(&user.id, edit);
        }
    }

    fn writes(&self) -> Writes {
        // A search is a POST, too.
        let is_write = |call: &&Call| call.method != "GET" && call.kind != "search";
        let count = |calls: Vec<Call>| calls.iter().filter(is_write).count();
        Writes { keap: count(self.keap.ledger()), intercom: count(self.intercom.ledger()) }
    }

    async fn wait(
        &self,
        process: &Process,
        otherwise: &str,
        is_done: impl AsyncFn() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let began = Instant::now();
        while !is_done().await? {
            if began.elapsed() > PHASE_TIMEOUT {
                return Err(process.log.blame(otherwise));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }
}

impl Writes {
    fn since(self, before: Writes) -> Writes {
        Writes { keap: self.keap - before.keap, intercom: self.intercom - before.intercom }
    }
}
