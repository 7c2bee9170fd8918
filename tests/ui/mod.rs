//! The operator's page: real requests to the whole application, with a database for each test.

mod access;
mod browser;
mod decide;
mod held;
mod history;
mod hostile;
mod html;
mod lists;
mod pages;
mod settings;
mod slow_down;

use std::collections::BTreeMap;

use serde_json::json;
use sqlx::PgPool;
use url::form_urlencoded::Serializer;

use crate::http::{self, TOKEN, url};
use crate::sim::client::{self, Reply};
use crate::sim::{Person, Seed};
use crate::world::{Daemon, World};
use html::Element;

pub(crate) const PASSWORD: &str = "canary page password";

/// A world whose daemon has a page.
pub(crate) async fn world(pool: PgPool) -> World {
    let mut world = http::world(pool).await;
    world.set("UI_PASSWORD", PASSWORD);
    world
}

/// A browser without script: it keeps cookies and sends forms.
pub(crate) struct Browser<'a> {
    daemon: &'a Daemon,
    cookies: BTreeMap<String, String>,
    /// Further headers of each request.
    headers: Vec<(&'static str, &'static str)>,
}

impl<'a> Browser<'a> {
    fn new(daemon: &'a Daemon) -> Self {
        Self { daemon, cookies: BTreeMap::new(), headers: Vec::new() }
    }

    /// A browser in which somebody has signed in.
    pub(crate) async fn signed_in(daemon: &'a Daemon) -> Self {
        let mut browser = Self::new(daemon);
        let reply = browser.sign_in(PASSWORD).await;
        assert_eq!((reply.status, reply.header("location")), (303, Some("/ui")));
        browser
    }

    async fn sign_in(&mut self, password: &str) -> Reply {
        self.post("/ui/sign-in", &[("password", password)]).await
    }

    pub(crate) async fn get(&mut self, path: &str) -> Reply {
        self.send("GET", path, String::new()).await
    }

    pub(crate) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Reply {
        let form = Serializer::new(String::new()).extend_pairs(fields).finish();
        self.send("POST", path, form).await
    }

    async fn send(&mut self, method: &str, path: &str, body: String) -> Reply {
        let cookies: Vec<_> =
            self.cookies.iter().map(|(n, value)| format!("{n}={value}")).collect();
        let cookies = cookies.join("; ");
        let mut headers = vec![("cookie", cookies.as_str())];
        headers.extend(&self.headers);
        if method == "POST" {
            headers.push(("content-type", "application/x-www-form-urlencoded"));
        }
        let reply = client::send(method, &url(self.daemon, path), &headers, body).await.unwrap();
        for cookie in reply.headers.get_all("set-cookie") {
            let (name, value) = cookie.to_str().unwrap().split_once('=').unwrap();
            let value = value.split(';').next().unwrap();
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        reply
    }

    /// A page that must be there, as a person sees it.
    pub(crate) async fn page(&mut self, path: &str) -> Page {
        let reply = self.get(path).await;
        assert_eq!(reply.status, 200, "{path}: {}", text(&reply));
        Page::of(path, &reply)
    }

    /// The token of the forms.
    pub(crate) async fn token(&mut self) -> String {
        let page = self.page("/ui").await;
        page.elements
            .iter()
            .find(|element| element.get("name") == Some("token"))
            .and_then(|element| element.get("value"))
            .unwrap()
            .to_owned()
    }
}

/// A page that has been read.
pub(crate) struct Page {
    html: String,
    elements: Vec<Element>,
}

impl Page {
    fn of(path: &str, reply: &Reply) -> Self {
        let html = text(reply);
        let elements = html::read(&html).unwrap_or_else(|why| panic!("{path}: {why}\n{html}"));
        Self { html, elements }
    }

    /// The text of the page's main part.
    pub(crate) fn text(&self) -> &str {
        &self.elements.iter().find(|element| element.name == "main").unwrap().text
    }

    pub(crate) fn of_name<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.elements.iter().filter(move |element| element.name == name)
    }

    /// The targets of all links.
    pub(crate) fn links(&self) -> Vec<String> {
        self.of_name("a").filter_map(|link| link.get("href").map(str::to_owned)).collect()
    }
}

fn text(reply: &Reply) -> String {
    String::from_utf8(reply.body.to_vec()).unwrap()
}

/// Contacts that are held, because each has two Intercom users with its e-mail.
async fn hold(world: &World, daemon: &Daemon, count: usize) -> Vec<i64> {
    let ids: Vec<i64> = (0..count)
        .map(|n| {
            let email = format!("canary.twins.{n}@example.org");
            for _ in 0..2 {
                world.intercom.add_user(Seed::with_email(&email));
            }
            world.keap.add(Person::named("Canaryann", "Lee").email(&email))
        })
        .collect();
    world.intercom.reindex_now();
    let reply = http::post(daemon, "/sync/batch", &json!({ "keapContactIds": ids })).await;
    assert_eq!(reply.json()["failed"], count, "{}", reply.json());
    ids
}

/// What opens the page, with a name for messages.
const SECRETS: [(&str, &str); 2] = [("UI_PASSWORD", PASSWORD), ("API_TOKEN", TOKEN)];
