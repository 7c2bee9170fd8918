//! Forms of an answer that nobody documents: the knobs change the body before it is sent.

use chrono::DateTime;
use serde_json::{Value, json};

use super::knobs::{IntercomKnobs, TimeForm};
use crate::sim::message::Answer;

/// The answer in the form that the knobs ask for.
pub(super) fn drifted(mut answer: Answer, knobs: &IntercomKnobs) -> Answer {
    if knobs.time_form == TimeForm::Seconds && !knobs.null_in_data {
        return answer;
    }
    let Ok(mut body) = serde_json::from_slice::<Value>(&answer.body) else {
        return answer;
    };
    if knobs.null_in_data
        && let Some(Value::Array(data)) = body.get_mut("data")
    {
        data.insert(0, Value::Null);
    }
    change_times(&mut body, knobs.time_form);
    answer.body = body.to_string().into_bytes();
    answer
}

fn change_times(value: &mut Value, form: TimeForm) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| change_times(item, form)),
        Value::Object(entries) => {
            for (name, value) in entries {
                match (name.as_str(), value.as_i64()) {
                    ("created_at" | "updated_at", Some(seconds)) => *value = time(seconds, form),
                    _ => change_times(value, form),
                }
            }
        }
        _ => {}
    }
}

fn time(seconds: i64, form: TimeForm) -> Value {
    match form {
        TimeForm::Seconds => json!(seconds),
        TimeForm::Text => json!(seconds.to_string()),
        TimeForm::Float => json!(seconds as f64 + 0.5),
        TimeForm::Millis => json!(seconds * 1000),
        TimeForm::Iso => {
            let at = DateTime::from_timestamp(seconds, 0).unwrap_or_default();
            json!(at.format("%Y-%m-%dT%H:%M:%S%.3f+00:00").to_string())
        }
    }
}
