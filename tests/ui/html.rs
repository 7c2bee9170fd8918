//! A strict reader of our pages: it accepts less than a browser does, so a page that it reads is
//! well formed.

use std::collections::BTreeSet;

/// Elements that have no end.
const VOID: [&str; 5] = ["br", "input", "link", "meta", "rect"];

/// An element with its attributes, and the text that stands inside it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Element {
    pub name: String,
    pub attributes: Vec<(String, String)>,
    pub text: String,
}

impl Element {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// All elements of a page, in the order of their ends. The error says what is not well formed.
pub(crate) fn read(html: &str) -> Result<Vec<Element>, String> {
    let mut rest = html
        .strip_prefix("<!doctype html>")
        .ok_or_else(|| "the page does not begin with its type".to_owned())?;
    let (mut open, mut done) = (Vec::<Element>::new(), Vec::new());
    while !rest.is_empty() {
        let Some(after) = rest.strip_prefix('<') else {
            let end = rest.find('<').unwrap_or(rest.len());
            let text = unescaped(&rest[..end])?;
            if open.is_empty() && !text.trim().is_empty() {
                return Err(format!("text outside of every element: {text:?}"));
            }
            open.iter_mut().for_each(|element| element.text.push_str(&text));
            rest = &rest[end..];
            continue;
        };
        if let Some(after) = after.strip_prefix('/') {
            let (name, after) = after.split_once('>').ok_or("an end without >")?;
            let element = open.pop().ok_or_else(|| format!("</{name}> ends nothing"))?;
            if element.name != name {
                return Err(format!("</{name}> ends <{}>", element.name));
            }
            done.push(element);
            rest = after;
            continue;
        }
        let (element, after, is_closed) = tag(after)?;
        let is_void = VOID.contains(&element.name.as_str());
        if is_closed && !is_void {
            return Err(format!("<{}/> needs an end of its own", element.name));
        }
        if is_void {
            done.push(element)
        } else {
            open.push(element)
        }
        rest = after;
    }
    match open.last() {
        Some(element) => Err(format!("<{}> has no end", element.name)),
        None => unique_ids(done),
    }
}

fn unique_ids(elements: Vec<Element>) -> Result<Vec<Element>, String> {
    let mut ids = BTreeSet::new();
    for id in elements.iter().filter_map(|element| element.get("id")) {
        if !ids.insert(id) {
            return Err(format!("two elements have the id {id:?}"));
        }
    }
    Ok(elements)
}

/// Reads a tag behind its `<`: the element, the rest behind its `>`, and whether it ends itself.
fn tag(text: &str) -> Result<(Element, &str, bool), String> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
    let (name, mut rest) = text.split_at(end);
    if name.is_empty() || name.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(format!("a < that begins no tag: {:?}", text.get(..20).unwrap_or(text)));
    }
    let mut element = Element { name: name.to_owned(), ..Element::default() };
    loop {
        let trimmed = rest.trim_start();
        if let Some(after) = trimmed.strip_prefix("/>") {
            return Ok((element, after, true));
        }
        if let Some(after) = trimmed.strip_prefix('>') {
            return Ok((element, after, false));
        }
        if trimmed.len() == rest.len() {
            return Err(format!("<{name}> has attributes that touch each other"));
        }
        let end = trimmed
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
            .ok_or_else(|| format!("<{name}> has no >"))?;
        let (attribute, after) = trimmed.split_at(end);
        if attribute.is_empty() {
            return Err(format!("<{name}> has an odd attribute"));
        }
        if element.get(attribute).is_some() {
            return Err(format!("<{name}> has {attribute} twice"));
        }
        let (value, after) = match after.strip_prefix("=\"") {
            Some(after) => after.split_once('"').ok_or("a value without an end")?,
            None if after.starts_with('=') => return Err("a value without quotes".to_owned()),
            None => ("", after),
        };
        if value.contains('<') {
            return Err(format!("{attribute} of <{name}> holds a <"));
        }
        element.attributes.push((attribute.to_owned(), unescaped(value)?));
        rest = after;
    }
}

/// A text without its escapes. Each `&` must begin one.
fn unescaped(text: &str) -> Result<String, String> {
    let mut parts = text.split('&');
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, after) =
            part.split_once(';').ok_or_else(|| format!("a bare & before {part:?}"))?;
        let letter = match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            _ => name
                .strip_prefix('#')
                .and_then(|number| char::from_u32(number.parse().ok()?))
                .ok_or_else(|| format!("an unknown escape &{name};"))?,
        };
        whole.push(letter);
        whole.push_str(after);
    }
    Ok(whole)
}

#[test]
fn what_is_not_well_formed_is_refused() {
    let page = |inside: &str| format!("<!doctype html>\n<html>{inside}</html>\n");
    let text = read(&page("<p id=\"a\" hidden>1 &#60; 2<br></p>")).unwrap();
    assert_eq!(text.last().unwrap().text, "1 < 2");

    for wrong in [
        "<p>",
        "</p>",
        "<p><b></p></b>",
        "<p a=b></p>",
        "<p a=\"1\"b=\"2\"></p>",
        "<p a=\"1\" a=\"2\"></p>",
        "<p a=\"<\"></p>",
        "<p/>",
        "a & b",
        "a < b",
        "<p id=\"x\"></p><p id=\"x\"></p>",
    ] {
        assert!(read(&page(wrong)).is_err(), "{wrong}");
    }
    assert!(read("<html></html>").is_err());
}
