//! Bodies of requests: read leniently where callers of the original worker may differ, refused in words where they are wrong.

use serde::de::DeserializeOwned;
use serde_json::Value;
use utoipa::openapi::schema::OneOfBuilder;
use utoipa::openapi::{KnownFormat, Object, SchemaFormat, Type};

use super::problem::Problem;
use crate::contact::KeapId;

/// Reads a JSON body. The parser's own text is not passed on, as it may quote the body.
pub fn body<T: DeserializeOwned>(body: &[u8], expected: &str) -> Result<T, Problem> {
    // An array would do for an object, field by field.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Problem::bad_request(format!(
            "the body is not a JSON object; expected {expected}"
        )));
    }
    serde_json::from_slice(body).map_err(|error| {
        let what = if error.is_data() {
            "is not of the expected form"
        } else {
            "is not valid JSON"
        };
        Problem::bad_request(format!(
            "the body {what} (line {}, column {}); expected {expected}",
            error.line(),
            error.column()
        ))
    })
}

/// What [`keap_id`] takes, for the document.
pub fn keap_id_schema() -> OneOfBuilder {
    let number = Object::builder()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .minimum(Some(1_i64))
        .maximum(Some(i64::MAX));
    let text = Object::builder()
        .schema_type(Type::String)
        .pattern(Some("^[1-9][0-9]{0,17}$"));
    OneOfBuilder::new()
        .item(number)
        .item(text)
        .examples([12345])
}

/// A Keap contact id: a positive whole number, also as text. `12345.0` is whole to JSON Schema, and to some languages one with `12345`.
pub fn keap_id(value: &Value) -> Option<KeapId> {
    /// From here on a float has neighbours that are more than 1 away.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) => number
            .as_i64()
            .or_else(|| {
                let whole = number
                    .as_f64()
                    .filter(|id| id.fract() == 0.0 && id.abs() < EXACT)?;
                #[expect(clippy::cast_possible_truncation)]
                Some(whole as i64)
            })
            .and_then(KeapId::new),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ids_are_positive_whole_numbers_in_any_spelling() {
        for right in [
            json!(12345),
            json!("12345"),
            json!(12345.0),
            json!(1.2345e4),
        ] {
            assert_eq!(keap_id(&right).map(KeapId::get), Some(12345), "{right}");
        }
        for wrong in [
            json!(0),
            json!(-1.0),
            json!(1.5),
            json!(1e300),
            json!(9_007_199_254_740_993.0),
            json!(u64::MAX),
            json!("012"),
            json!(true),
        ] {
            assert_eq!(keap_id(&wrong), None, "{wrong}");
        }
    }
}
