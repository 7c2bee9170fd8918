//! What a large mapping costs: 20 fields, 3 tags and a company, against the three built-in fields.

use anyhow::Context;
use serde_json::{Value, json};

use crate::database::Databases;
use crate::measure::{End, Goal, Site, Spent};
use crate::phases::{Sizes, WITHIN, finished, peak, site};
use crate::stand_ins::StandIns;
use crate::table::Table;

/// Beside the three built-in fields.
const CUSTOMS: usize = 17;
const TAGS: [&str; 3] = ["Customer", "Newsletter", "VIP"];
/// A large mapping may take so many times the CPU of the built-in one.
const CPU_GOAL: f64 = 1.5;

/// What both accounts have beside people.
struct Model {
    customs: Vec<i64>,
    tags: Vec<i64>,
}

impl Model {
    async fn set_up(stand_ins: &StandIns) -> anyhow::Result<Self> {
        let id = |reply: Value| reply["id"].as_i64().context("no id");
        let (mut customs, mut tags) = (Vec::new(), Vec::new());
        for n in 0..CUSTOMS {
            let field = json!({"label": format!("Field {n}"), "field_type": "TEXT"});
            customs.push(id(stand_ins.order("keap/custom_field", field).await?)?);
            let attribute = json!({"name": format!("field_{n}"), "data_type": "string"});
            stand_ins.order("intercom/attribute", attribute).await?;
        }
        for name in TAGS {
            tags.push(id(stand_ins.order("keap/tag", json!({"name": name})).await?)?);
        }
        Ok(Self { customs, tags })
    }

    /// The settings file of the large mapping.
    fn file(&self) -> String {
        let built_in = ["email", "name", "phone"].map(|name| (name.to_owned(), name.to_owned()));
        let custom =
            |(n, id): (usize, &i64)| (format!("custom:{id}"), format!("attribute:field_{n}"));
        let fields = built_in.into_iter().chain(self.customs.iter().enumerate().map(custom));
        let field =
            |(keap, intercom)| format!("[[field]]\nkeap = {keap:?}\nintercom = {intercom:?}\n");
        let tag = |name: &str| format!("[[tag]]\nkeap = {name:?}\nintercom = {name:?}\n");
        let lists: String = fields.map(field).chain(TAGS.map(tag)).collect();
        format!("[company]\nobject = true\n{lists}")
    }

    /// People who have all of it. `related`: also the tags and the company.
    async fn add_people(
        &self,
        stand_ins: &StandIns,
        count: u64,
        related: bool,
    ) -> anyhow::Result<()> {
        let mut order = json!({"count": count, "customs": self.customs});
        if related {
            order["tags"] = json!(self.tags);
            order["company"] = json!([77, "Okafor Glass"]);
        }
        stand_ins.order("keap/seed", order).await.map(drop)
    }
}

/// A site, with the large mapping or without, and what a daemon spent there on new and on changed
/// contacts.
async fn spent(
    databases: &Databases,
    count: u64,
    is_large: bool,
) -> anyhow::Result<(Spent, Spent)> {
    let mut site: Site = site(databases).await?;
    let model = Model::set_up(&site.stand_ins).await?;
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile()?;
    if is_large {
        std::io::Write::write_all(&mut file, model.file().as_bytes())?;
        site.stand_ins.map_by(file.path().to_owned());
    }
    model.add_people(&site.stand_ins, count, true).await?;
    let new = finished(site.daemon(Goal::Written(count), End::Stop, WITHIN).await?)?;
    site.stand_ins.edit(count, "phone").await?;
    let changed = finished(site.daemon(Goal::Written(count), End::Stop, WITHIN).await?)?;
    Ok((new, changed))
}

pub(crate) async fn mapping(
    table: &mut Table,
    databases: &Databases,
    sizes: &Sizes,
) -> anyhow::Result<()> {
    eprintln!("A mapping of 20 fields, 3 tags and a company:");
    let count = sizes.counted / 3;
    let (_, small) = spent(databases, count, false).await?;
    let (new, large) = spent(databases, count, true).await?;
    let calls = |spent: &Spent| spent.per_contact(spent.calls.intercom.calls);
    let found = calls(&large);
    table.count(
        "20 fields, 3 tags, company: Intercom calls per changed contact",
        format!("{found:.3}"),
        "1.00",
        found <= 1.0005,
    );
    let found = calls(&new);
    table.count(
        "… per new contact that has all of them",
        format!("{found:.3}"),
        "≤ 5.07",
        found <= 5.07,
    );
    table.row("… changed contacts a second, no remote limits", format!("{:.0}", large.rate()));
    let ratio = large.cpu_per_contact() / small.cpu_per_contact();
    table.goal(
        "… CPU time per changed contact, against the three built-in fields",
        format!("{:.3} ms, {ratio:.2} times", large.cpu_per_contact()),
        &format!("≤ {CPU_GOAL} times"),
        ratio <= CPU_GOAL,
    );
    peak(table, "… peak memory", count, large.peak_kb.max(new.peak_kb));
    let Some((million, within)) = sizes.resumed else {
        return Ok(());
    };
    let mut site = site(databases).await?;
    let model = Model::set_up(&site.stand_ins).await?;
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile()?;
    std::io::Write::write_all(&mut file, model.file().as_bytes())?;
    site.stand_ins.map_by(file.path().to_owned());
    model.add_people(&site.stand_ins, million, false).await?;
    let spent = finished(site.daemon(Goal::Written(million), End::Stop, within).await?)?;
    peak(table, "20 fields: peak memory", million, spent.peak_kb);
    Ok(())
}
