//! Reads bodies of requests. Forms that callers of the original worker may send are accepted; a
//! wrong body gets an answer that names the mistake.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use utoipa::openapi::schema::OneOfBuilder;
use utoipa::openapi::{KnownFormat, Object, SchemaFormat, Type};

use super::code::Code;
use super::problem::Problem;
use crate::contact::KeapId;

/// A field of a body.
pub(super) struct Field {
    pub name: &'static str,
    /// Another spelling, which callers of the original worker use. It is accepted for ever.
    pub former: Option<&'static str>,
}

/// Reads a JSON body. The answer never holds the parser's own text, because it may quote the body.
/// A form that ignores unknown fields still gets them named when something else is missing.
pub(super) fn body<T: DeserializeOwned>(
    body: &[u8],
    fields: &[Field],
    expected: &str,
) -> Result<T, Problem> {
    let invalid =
        |why: String| Problem::new(Code::InvalidBody, format!("{why}; expected {expected}"));
    // serde would take an array for an object, field by field.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(invalid("the body is not a JSON object".into()));
    }
    serde_json::from_slice(body).map_err(|error| {
        let at = format!("(line {}, column {})", error.line(), error.column());
        if !error.is_data() {
            return invalid(format!("the body is not valid JSON {at}"));
        }
        let keys = serde_json::from_slice::<Map<String, Value>>(body).unwrap_or_default();
        misplaced(&keys, fields, expected)
            .unwrap_or_else(|| invalid(format!("the body is not of the expected form {at}")))
    })
}

/// A field that does not belong into the body, or stands there twice.
fn misplaced(body: &Map<String, Value>, fields: &[Field], expected: &str) -> Option<Problem> {
    let twice = |field: &&Field| {
        field.former.is_some_and(|former| body.contains_key(former))
            && body.contains_key(field.name)
    };
    if let Some(Field { name, former }) = fields.iter().find(twice) {
        let former = former.unwrap_or_default();
        let why = format!("{name} and {former} are the same field; give it once");
        return Some(Problem::new(Code::DuplicateField, why));
    }
    let is_known = |key: &String| {
        fields.iter().any(|field| field.name == key || field.former == Some(key.as_str()))
    };
    let unknown = body.keys().find(|key| !is_known(key))?;
    // Any other text may be a person's, put in the wrong place.
    let is_plain = unknown.len() <= 40
        && unknown.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    let name = if is_plain { format!(" {unknown:?}") } else { String::new() };
    let why = format!("the body has an unknown field{name}; expected {expected}");
    Some(Problem::new(Code::UnknownField, why))
}

/// What [`keap_id`] accepts, for the OpenAPI document.
pub(super) fn keap_id_schema() -> OneOfBuilder {
    let number = Object::builder()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .minimum(Some(1_i64))
        .maximum(Some(i64::MAX));
    let text = Object::builder().schema_type(Type::String).pattern(Some("^[1-9][0-9]{0,17}$"));
    OneOfBuilder::new().item(number).item(text).examples([12345])
}

/// A Keap contact id: a positive whole number, also as text. JSON Schema calls `12345.0` whole, and
/// some languages write `12345` so.
pub(super) fn keap_id(value: &Value) -> Option<KeapId> {
    /// From here on, a float cannot show every whole number.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) => number
            .as_i64()
            .or_else(|| {
                let whole = number.as_f64().filter(|id| id.fract() == 0.0 && id.abs() < EXACT)?;
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
        for right in [json!(12345), json!("12345"), json!(12345.0), json!(1.2345e4)] {
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
