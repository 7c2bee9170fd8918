//! Chromium without a window, driven by ChromeDriver.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use thirtyfour::{
    By, CapabilitiesHelper, ChromiumLikeCapabilities, DesiredCapabilities, WebDriver, WebElement,
};
use url::Url;

/// What the browser would ask on its own is switched off: the tests talk to this machine only.
const QUIET: [&str; 9] = [
    "--headless",
    "--disable-gpu",
    "--hide-scrollbars",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-prefers-reduced-motion",
];

/// A browser with a profile of its own.
pub(super) struct Chromium {
    pub client: WebDriver,
    _driver: Driver,
    _profile: tempfile::TempDir,
}

/// ChromeDriver. It ends the browser when it is told to end.
struct Driver(Child);

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How a page is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub width: u32,
    pub height: u32,
    pub is_dark: bool,
}

impl Chromium {
    pub(super) async fn start() -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("ChromeDriver starts; tests/browser.test installs it");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let driver = Driver(driver);
        let port = lines.find_map(|line| {
            let line = line.unwrap();
            line.rsplit_once("successfully on port ")
                .map(|(_, port)| port.trim_end_matches('.').to_owned())
        });
        let port = port.expect("ChromeDriver names its port");
        // What else it writes must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let profile = tempfile::tempdir().unwrap();
        let mut wishes = DesiredCapabilities::chrome();
        for word in QUIET {
            wishes.add_arg(word).unwrap();
        }
        wishes.add_arg(&format!("--user-data-dir={}", profile.path().display())).unwrap();
        if rustix::process::geteuid().is_root() {
            // Chromium refuses its sandbox to root.
            wishes.add_arg("--no-sandbox").unwrap();
        }
        let logs = json!({ "browser": "ALL", "performance": "ALL" });
        wishes.set("goog:loggingPrefs", logs).unwrap();
        let client = WebDriver::new(&format!("http://127.0.0.1:{port}"), wishes).await;
        Self { client: client.expect("Chromium starts"), _driver: driver, _profile: profile }
    }

    /// Sends a command of the browser's own protocol.
    pub(super) async fn order(&self, name: &str, params: Value) {
        let answer = self.client.cdp().send_raw(name, params).await;
        answer.unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    pub(super) async fn goto(&self, url: &str) {
        self.client.goto(url).await.unwrap_or_else(|error| panic!("{url}: {error}"));
    }

    pub(super) async fn find(&self, selector: &str) -> WebElement {
        let found = self.client.find(By::Css(selector)).await;
        found.unwrap_or_else(|error| panic!("{selector} is missing: {error}"))
    }

    pub(super) async fn look(&self, look: Look) {
        let size = json!({
            "width": look.width, "height": look.height, "deviceScaleFactor": 1, "mobile": false,
        });
        self.order("Emulation.setDeviceMetricsOverride", size).await;
        let scheme = if look.is_dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.order("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// What the console says since the last call: errors of scripts, violations of the policy,
    /// files that are missing.
    pub(super) async fn console(&self) -> Vec<String> {
        self.log("browser").await
    }

    /// The messages of a log since the last call.
    async fn log(&self, name: &str) -> Vec<String> {
        let entries = self.client.get_log(name).await.unwrap();
        entries.into_iter().map(|entry| entry.message).collect()
    }

    /// The origins that were asked since the last call.
    pub(super) async fn origins(&self) -> BTreeSet<String> {
        let entries = self.log("performance").await;
        let messages =
            entries.iter().map(|message| serde_json::from_str::<Value>(message).unwrap());
        let urls = messages.filter_map(|message| {
            let message = &message["message"];
            (message["method"] == "Network.requestWillBeSent")
                .then(|| message["params"]["request"]["url"].as_str().unwrap().to_owned())
        });
        // The others are parts of the page or of the browser.
        let is_remote = |url: &Url| ["http", "https", "ws", "wss"].contains(&url.scheme());
        let urls = urls.map(|url| Url::parse(&url).unwrap()).filter(is_remote);
        urls.map(|url| url.origin().ascii_serialization()).collect()
    }

    pub(super) async fn run(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap().json().clone()
    }

    /// Waits for what a click or a key brings.
    pub(super) async fn until(&self, what: &str, script: &str) {
        for _ in 0..200 {
            // While a page is exchanged for the next one, there is nothing to ask.
            let answer = self.client.execute(script, Vec::new()).await;
            if answer.is_ok_and(|answer| *answer.json() == true) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{what}: it does not come: {}", self.client.source().await.unwrap());
    }

    pub(super) async fn end(self) {
        self.client.quit().await.unwrap();
    }
}
