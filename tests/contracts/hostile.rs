//! Hostile bodies, headers and times: whatever a remote answers, the client says what it is worth,
//! and no text of ours quotes a person.

use keap_intercom_sync::contact::{Contact, Email, Fields, Form, IntercomId, KeapId};
use keap_intercom_sync::intercom::Wanted;
use keap_intercom_sync::remote::{Failure, Lane};
use proptest::prelude::*;
use serde_json::{Value, json};
use wiremock::matchers::any as every_call;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{intercom, keap};

/// An answer as a remote, a gateway or somebody else would send it.
#[derive(Clone, Debug)]
struct Hostile {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

/// Each body holds a person.
const PERSON: &str = "canary@canary.example";

/// Forms of a time that are odd, wrong, or far away.
const TIMES: [&str; 12] = [
    "2026-08-19T16:20:60Z",
    "2026-02-30T25:61:61Z",
    "+262143-12-31T23:59:59Z",
    "-999999-01-01T00:00:00Z",
    "0000-00-00T00:00:00.000+0000",
    "2026-08-19T16:20:31.123456789123+99:99",
    "Thu, 01 Jan 1970 00:00:00 GMT",
    "Fri, 31 Dec 9999 23:59:60 GMT",
    "9223372036854775807",
    "-9223372036854775808",
    "1e308",
    "",
];

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(TIMES.as_slice()).prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        Just(json!(PERSON)),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec(("[a-z_]{1,8}", inner), 0..3)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

/// Replaces one value, somewhere below `value`. Each number of `way` chooses a branch.
fn replaced(mut value: Value, way: &[usize], new: Value) -> Value {
    let Some((here, rest)) = way.split_first() else {
        return new;
    };
    let child = match &mut value {
        Value::Array(items) if !items.is_empty() => {
            let at = here % items.len();
            items.get_mut(at)
        }
        Value::Object(fields) if !fields.is_empty() => {
            let at = here % fields.len();
            fields.values_mut().nth(at)
        }
        _ => None,
    };
    match child {
        Some(child) => *child = replaced(child.take(), rest, new),
        None => return new,
    }
    value
}

fn hostile_body(valid: Value) -> impl Strategy<Value = Vec<u8>> {
    let changed = (prop::collection::vec(any::<usize>(), 0..5), json_value())
        .prop_map(move |(way, new)| replaced(valid.clone(), &way, new).to_string())
        .boxed();
    prop_oneof![
        4 => changed.clone().prop_map(String::into_bytes),
        2 => (changed, any::<prop::sample::Index>()).prop_map(|(text, at)| {
            let bytes = text.into_bytes();
            bytes[..at.index(bytes.len())].to_vec()
        }),
        1 => prop::collection::vec(any::<u8>(), 0..64),
        1 => Just([b"[".repeat(50_000), PERSON.into()].concat()),
        1 => Just(format!("\u{feff}<html>{PERSON}</html>").into_bytes()),
    ]
}

fn hostile(valid: Value) -> impl Strategy<Value = Hostile> {
    // 429 makes the client wait. The tests of the limits give it hostile headers.
    let status = prop::sample::select(vec![
        200, 200, 200, 200, 201, 204, 206, 301, 400, 400, 401, 403, 404, 409, 409, 410, 413, 418,
        422, 500, 502, 503, 599,
    ]);
    let names = prop::sample::select(vec![
        "date",
        "link",
        "location",
        "content-encoding",
        "x-request-id",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "x-keap-product-quota-limit",
        "x-keap-product-quota-available",
        "x-keap-product-quota-expiry-time",
        "x-keap-tenant-id",
    ]);
    let text = prop_oneof![
        prop::sample::select(TIMES.as_slice()).prop_map(str::to_owned),
        any::<i64>().prop_map(|number| number.to_string()),
        "[!-~]{0,30}",
        Just(format!("<https://x.example/contacts/{PERSON}>; rel=\"alternate\"")),
    ];
    let headers = prop::collection::vec((names, text), 0..6);
    (status, headers, hostile_body(valid)).prop_map(|(status, headers, body)| Hostile {
        status,
        headers,
        body,
    })
}

async fn answering(hostile: &Hostile) -> MockServer {
    let server = MockServer::start().await;
    let mut response = ResponseTemplate::new(hostile.status).set_body_bytes(hostile.body.clone());
    for (name, text) in &hostile.headers {
        response = response.append_header(*name, text.as_str());
    }
    Mock::given(every_call()).respond_with(response).mount(&server).await;
    server
}

/// Fails if a failure quotes the body.
fn assert_quotes_nobody<T>(answer: Result<T, Failure>, hostile: &Hostile) {
    if let Err(failure) = answer {
        let text = format!("{failure:?}");
        assert!(!text.to_lowercase().contains("canary"), "{text}: {hostile:?}");
    }
}

fn run(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future);
}

fn keap_page() -> Value {
    json!({
        "contacts": [{
            "id": "7", "given_name": "Canary", "family_name": "Canarysson",
            "email_addresses": [{ "email": PERSON, "field": "EMAIL1" }],
            "phone_numbers": [{ "number": "(777) 555-0001", "field": "PHONE1", "number_e164": "+17775550001" }],
            "update_time": "2026-08-19T16:20:31Z",
        }],
        "next_page_token": "",
    })
}

fn intercom_answer() -> Value {
    json!({
        "type": "contact", "id": "6762f0dd1bb69f9f2193bb83", "role": "user", "external_id": "7",
        "email": PERSON, "name": "Canary", "created_at": 5, "updated_at": 6,
        "data": [{ "type": "contact", "id": "6762f0dd1bb69f9f2193bb83", "role": "user", "email": PERSON }],
        "pages": { "type": "pages", "next": { "starting_after": "x" } },
        "errors": [{ "code": "conflict", "message": format!("A contact matching those details already exists with id=6762f0dd1bb69f9f2193bb83 {PERSON}") }],
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    // F17 F21 F22 F25 F35 S20
    #[test]
    fn no_answer_of_keap_is_a_panic_or_quotes_a_person(hostile in hostile(keap_page())) {
        run(async {
            let server = answering(&hostile).await;
            let client = keap::client(&server);
            let id = KeapId::new(7).unwrap();
            assert_quotes_nobody(client.page(Lane::Bulk, &keap::everything()).await, &hostile);
            assert_quotes_nobody(client.by_id(Lane::Urgent, id).await, &hostile);
            assert_quotes_nobody(client.by_ids(Lane::Urgent, &[id]).await, &hostile);
            assert_quotes_nobody(client.newest(Lane::Bulk).await, &hostile);
        });
    }

    // F21 F22 F35 F49 S20
    #[test]
    fn no_answer_of_intercom_is_a_panic_or_quotes_a_person(hostile in hostile(intercom_answer())) {
        run(async {
            let server = answering(&hostile).await;
            let client = intercom::client(&server);
            let keap = KeapId::new(7).unwrap();
            let id = IntercomId::new("6762f0dd1bb69f9f2193bb83").unwrap();
            let fields = Fields::from_iter([("email", Form::Email.read(Some(PERSON)))]);
            let contact = Contact::showing(keap, fields);
            let wanted = [Wanted { keap, email: Email::new(PERSON).unwrap() }];
            assert_quotes_nobody(client.create(Lane::Bulk, &contact).await, &hostile);
            let update = client.update(Lane::Bulk, &id, &contact, &super::intercom::all_cleared()).await;
            assert_quotes_nobody(update, &hostile);
            assert_quotes_nobody(client.read(Lane::Urgent, &id).await, &hostile);
            assert_quotes_nobody(client.search(Lane::Bulk, &wanted).await, &hostile);
            assert_quotes_nobody(client.unarchive(Lane::Urgent, &id, keap).await, &hostile);
        });
    }
}
