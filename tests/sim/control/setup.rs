//! Control routes of what contacts refer to: custom fields and attributes, owners, consent, tags.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Refusal, Stage};
use crate::sim::intercom::attributes::DATA_TYPES;
use crate::sim::keap::consent::OptStatus;
use crate::sim::keap::details::TEXTS;
use crate::sim::keap::model::FIELD_TYPES;

fn refused(why: &str) -> Refusal {
    (StatusCode::BAD_REQUEST, format!("{why}\n"))
}

fn texts(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CustomFieldOrder {
    /// Changes this field. Else adds one.
    id: Option<i64>,
    label: Option<String>,
    field_type: Option<String>,
    #[serde(default)]
    options: Vec<String>,
    #[serde(default)]
    deleted: bool,
}

pub(super) async fn set_custom_field(
    State(stage): State<Stage>,
    Json(order): Json<CustomFieldOrder>,
) -> Result<Json<Value>, Refusal> {
    if let Some(id) = order.id {
        let changed = match order.label {
            _ if order.deleted => stage.keap.delete_custom_field(id),
            Some(label) => stage.keap.rename_custom_field(id, &label),
            None => return Err(refused("a change needs label or deleted")),
        };
        return Ok(Json(json!({"changed": changed})));
    }
    let field_type = order.field_type.unwrap_or_else(|| "TEXT".to_owned());
    match order.label {
        Some(label) if FIELD_TYPES.contains(&field_type.as_str()) => {
            let id = stage.keap.add_custom_field(&label, &field_type, &texts(&order.options));
            Ok(Json(json!({"id": id})))
        }
        _ => Err(refused("a custom field needs a label and a type of Keap's contract")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CustomOrder {
    contact: i64,
    field: i64,
    content: Value,
}

pub(super) async fn set_custom(
    State(stage): State<Stage>,
    Json(order): Json<CustomOrder>,
) -> Json<Value> {
    Json(json!({"changed": stage.keap.set_custom(order.contact, order.field, order.content)}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CompanyOrder {
    id: i64,
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DetailsOrder {
    contact: i64,
    #[serde(default)]
    texts: BTreeMap<String, Option<String>>,
    owner_id: Option<i64>,
    company: Option<CompanyOrder>,
}

pub(super) async fn set_details(
    State(stage): State<Stage>,
    Json(order): Json<DetailsOrder>,
) -> Result<Json<Value>, Refusal> {
    if let Some(unknown) = order.texts.keys().find(|name| !TEXTS.contains(&name.as_str())) {
        return Err(refused(&format!("{unknown} is no text property of a contact")));
    }
    let changed = stage.keap.edit(order.contact, |person| {
        for (name, value) in &order.texts {
            person.set(name, value.as_deref());
        }
        person.details.owner_id = order.owner_id.or(person.details.owner_id);
    });
    if let Some(company) = order.company {
        stage.keap.set_company(order.contact, company.id, &company.name);
    }
    Ok(Json(json!({"changed": changed})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EmailOrder {
    email: String,
}

pub(super) async fn add_user(
    State(stage): State<Stage>,
    Json(order): Json<EmailOrder>,
) -> Json<Value> {
    Json(json!({"id": stage.keap.add_user(&order.email)}))
}

pub(super) async fn add_admin(
    State(stage): State<Stage>,
    Json(order): Json<EmailOrder>,
) -> Json<Value> {
    Json(json!({"id": stage.intercom.add_admin(&order.email)}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OptStatusOrder {
    email: String,
    status: String,
}

pub(super) async fn set_opt_status(
    State(stage): State<Stage>,
    Json(order): Json<OptStatusOrder>,
) -> Result<Json<Value>, Refusal> {
    if OptStatus::named(&order.status).is_none() {
        return Err(refused("there is no such status"));
    }
    stage.keap.set_opt_status(&order.email, &order.status);
    Ok(Json(json!({})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TagOrder {
    name: String,
    #[serde(default)]
    apply: Vec<i64>,
    #[serde(default)]
    remove: Vec<i64>,
}

pub(super) async fn set_tag(
    State(stage): State<Stage>,
    Json(order): Json<TagOrder>,
) -> Json<Value> {
    let tag = stage.keap.add_tag(&order.name);
    let applied = order.apply.into_iter().filter(|id| stage.keap.apply_tag(*id, tag)).count();
    let removed = order.remove.into_iter().filter(|id| stage.keap.remove_tag(*id, tag)).count();
    Json(json!({"id": tag, "applied": applied, "removed": removed}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AttributeOrder {
    name: String,
    /// Adds the attribute. Without a type, changes it.
    data_type: Option<String>,
    #[serde(default)]
    options: Vec<String>,
    archived: Option<bool>,
}

pub(super) async fn set_attribute(
    State(stage): State<Stage>,
    Json(order): Json<AttributeOrder>,
) -> Result<Json<Value>, Refusal> {
    if let Some(data_type) = &order.data_type {
        if !DATA_TYPES.contains(&data_type.as_str()) {
            return Err(refused("there is no such type of an attribute"));
        }
        stage.intercom.add_attribute(&order.name, data_type, &texts(&order.options));
    }
    let changed = stage.intercom.edit_attribute(&order.name, |attribute| {
        attribute.archived = order.archived.unwrap_or(attribute.archived);
    });
    Ok(Json(json!({"changed": changed})))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::super::serve_router;
    use super::*;
    use crate::sim::client;
    use crate::sim::keap::person::Person;

    #[tokio::test]
    async fn what_contacts_refer_to_is_set_up_over_http() {
        let stage = Stage::start(0, 0).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/control", listener.local_addr().unwrap());
        tokio::spawn(serve_router(listener, stage.router()));
        let post = async |path: &str, body: Value| {
            let headers = [("content-type", "application/json")];
            let url = format!("{base}{path}");
            client::send("POST", &url, &headers, body.to_string()).await.unwrap()
        };
        let contact = stage.keap.add(Person::named("Ann", "Lee").email("ann@example.org"));

        let field = json!({"label": "Plan", "field_type": "DROPDOWN", "options": ["a", "b"]});
        let field = post("/keap/custom_field", field).await.json()["id"].as_i64().unwrap();
        post("/keap/custom", json!({"contact": contact, "field": field, "content": "a"})).await;
        post("/keap/custom_field", json!({"id": field, "label": "Plan of care"})).await;
        assert_eq!(stage.keap.custom_field(field).unwrap().label, "Plan of care");
        assert_eq!(
            post("/keap/custom_field", json!({"label": "X", "field_type": "Y"})).await.status,
            400
        );

        let user =
            post("/keap/user", json!({"email": "uma@example.org"})).await.json()["id"].clone();
        let company = json!({"id": 5, "name": "Glass"});
        let details = json!({
            "contact": contact, "texts": {"website": "https://example.org"}, "owner_id": user,
            "company": company,
        });
        assert_eq!(post("/keap/details", details).await.json()["changed"], true);
        let tag = post("/keap/tag", json!({"name": "VIP", "apply": [contact]})).await.json();
        assert_eq!(tag["applied"], 1);
        let status = json!({"email": "ann@example.org", "status": "MANUAL"});
        assert_eq!(post("/keap/opt_status", status).await.status, 200);
        let person = stage.keap.person(contact).unwrap();
        assert_eq!(person.details.custom_fields[&field], "a");
        assert_eq!(
            (person.details.owner_id, person.company_name.as_deref()),
            (user.as_i64(), Some("Glass"))
        );
        assert_eq!(stage.keap.opt_status("ann@example.org").word(), "MANUAL");

        post("/intercom/attribute", json!({"name": "plan", "data_type": "string"})).await;
        post("/intercom/attribute", json!({"name": "plan", "archived": true})).await;
        assert!(stage.intercom.attribute("plan").unwrap().archived);
        assert!(
            post("/intercom/admin", json!({"email": "uma@example.org"})).await.json()["id"]
                .is_string()
        );
        let found = post("/could_subscribe", json!({})).await.json();
        assert_eq!(found, json!({"keap": [], "intercom": []}));
        post("/reset", json!({})).await;
        assert!(
            stage.intercom.attribute("plan").is_none() && stage.keap.custom_field(field).is_none()
        );
    }
}
