//! Agreement: whether what two sides show can be one person. An equal number alone proves nothing.

use super::{Fields, Reading, Value};

/// A number with fewer digits is no phone number of one person.
const MIN_PHONE_DIGITS: usize = 5;

/// A number that ends like the other one is the same phone number from so many digits on: one side
/// leaves out the country.
const LOCAL_DIGITS: usize = 7;

/// Whether a field that both sides show has the same canonical value on both.
pub(super) fn agree(one: &Fields, other: &Fields) -> bool {
    one.iter().any(|(name, reading)| match (reading, other.get(name.as_str())) {
        (Reading::Is(one), Some(Reading::Is(other))) => same(one, other),
        _ => false,
    })
}

fn same(one: &Value, other: &Value) -> bool {
    if let (Value::Email(one), Value::Email(other)) = (one, other) {
        return one.folded() == other.folded();
    }
    let (one, other) = (one.as_str(), other.as_str());
    match (phone_digits(one), phone_digits(other)) {
        (Some(one), Some(other)) => same_phone(&one, &other),
        _ => folded(one) == folded(other),
    }
}

/// The digits of a phone number without zeros before it, which one side may write and the other
/// leave out. `None`: the text is no phone number.
fn phone_digits(text: &str) -> Option<String> {
    let is_mark = |c: char| c.is_whitespace() || "+()-./".contains(c);
    if !text.chars().all(|c| c.is_ascii_digit() || is_mark(c)) {
        return None;
    }
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let digits = digits.trim_start_matches('0');
    (digits.len() >= MIN_PHONE_DIGITS).then(|| digits.to_owned())
}

fn same_phone(one: &str, other: &str) -> bool {
    let (short, long) = if one.len() < other.len() { (one, other) } else { (other, one) };
    short == long || (short.len() >= LOCAL_DIGITS && long.ends_with(short))
}

/// Lower case, with one blank between words.
fn folded(text: &str) -> String {
    text.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contact::Form;

    fn person(email: &str, name: &str, phone: &str) -> Fields {
        Fields::from_iter([
            ("email", Form::Email.read(Some(email))),
            ("name", Form::Text.read(Some(name))),
            ("phone", Form::Text.read(Some(phone))),
        ])
    }

    #[test]
    fn one_equal_field_is_enough_and_its_spelling_does_not_matter() {
        let ann = person("Ann@Example.org", "Ann  Lee", "+1 (602) 555-0144");
        for (other, expected) in [
            (person("ann@example.ORG", "", ""), true),
            (person("x@example.org", "ANN LEE ", ""), true),
            (person("x@example.org", "X", "602.555.0144"), true),
            (person("x@example.org", "X", "0016025550144"), true),
            (person("", "", "+16025550144"), true),
            (person("x@example.org", "Ann", "5550145"), false),
            (person("x@example.org", "Ann Leeds", "0144"), false),
            (person("", "", ""), false),
        ] {
            assert_eq!(agree(&ann, &other), expected, "{:?}", other.iter().count());
            assert_eq!(agree(&other, &ann), expected);
        }
    }

    #[test]
    fn nothing_agrees_with_nothing_and_a_filler_is_no_phone() {
        assert!(!agree(&person("", "", ""), &person("", "", "")));
        assert!(!agree(&person("", "", "0000000"), &person("", "", "00-00-00-1")));
        assert!(!agree(&Fields::default(), &person("a@b.co", "Ann", "")));
    }

    #[test]
    fn an_invalid_address_agrees_with_nothing() {
        assert!(!agree(&person("n/a", "", ""), &person("n/a", "", "")));
    }
}
