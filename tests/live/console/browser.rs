//! Debian's Chromium on a worker's console. It ends with its owner, however that ends.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::webdriver::{Element, Session};
use crate::support::LONG;

/// Two at a time: each is as large as everything else together, and waits most of its time.
static TURNS: Semaphore = Semaphore::const_new(2);

/// A window on a worker's console.
pub struct Browser {
    pub session: Session,
    base: String,
    driver: Child,
    folder: tempfile::TempDir,
    _turn: SemaphorePermit<'static>,
}

impl Browser {
    /// A window that has not been anywhere.
    pub async fn open(base: &str) -> Self {
        Self::start(base, json!({})).await
    }

    /// One that runs no scripts of pages.
    pub async fn without_scripts(base: &str) -> Self {
        Self::start(base, json!({ "profile.managed_default_content_settings.javascript": 2 })).await
    }

    async fn start(base: &str, preferences: Value) -> Self {
        let turn = TURNS.acquire().await.unwrap();
        drop(rustls::crypto::ring::default_provider().install_default());
        let folder = tempfile::Builder::new().prefix("sluice-chromium-").tempdir().unwrap();
        let (driver, port) = start_driver().await;
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1280,1000",
            &format!("--user-data-dir={}", folder.path().display()),
        ];
        let wanted = json!({
            "browserName": "chrome",
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": { "args": arguments, "prefs": preferences },
        });
        let session = Session::begin(&format!("http://127.0.0.1:{port}"), wanted).await;
        Self { session, base: base.to_owned(), driver, folder, _turn: turn }
    }

    /// Goes to a page of the console.
    pub async fn go(&self, path: &str) {
        self.session.go(&format!("{}{path}", self.base)).await;
    }

    /// Signs in on the page that is there.
    pub async fn sign_in(&self, token: &str) {
        self.sign_in_at(token, "Sign out").await;
    }

    /// Signs in on the page that is there, and waits for what follows.
    pub async fn sign_in_at(&self, token: &str, follows: &str) {
        self.fill("#token", token).await;
        self.press("Sign in").await;
        self.see(follows).await;
    }

    /// The part of the address after the host.
    pub async fn place(&self) -> String {
        let url = self.session.read("url").await;
        url.split_once("://")
            .and_then(|(_, rest)| rest.split_once('/'))
            .map_or(url.clone(), |(_, path)| format!("/{path}"))
    }

    pub async fn find(&self, css: &str) -> Element {
        let mut found = self.session.all(css).await;
        assert!(!found.is_empty(), "no {css} at {}", self.place().await);
        found.swap_remove(0)
    }

    pub async fn has(&self, css: &str) -> bool {
        !self.session.all(css).await.is_empty()
    }

    pub async fn click(&self, css: &str) {
        self.find(css).await.click().await.unwrap_or_else(|said| panic!("cannot click {css}: {said}"));
    }

    /// Clicks a link, a button or what opens a form, by its text.
    pub async fn press(&self, text: &str) {
        self.press_in("//main", text).await;
    }

    /// The same, also outside of the page's own part.
    pub async fn press_anywhere(&self, text: &str) {
        self.press_in("", text).await;
    }

    async fn press_in(&self, place: &str, text: &str) {
        let kinds = "self::a or self::button or self::summary";
        let path = format!("{place}//*[{kinds}][contains(normalize-space(.), \"{text}\")]");
        for element in self.session.all_by_path(&path).await {
            if element.is_displayed().await {
                element.click().await.unwrap();
                return;
            }
        }
        panic!("nothing to press says {text:?} at {}:\n{}", self.place().await, self.text().await);
    }

    pub async fn fill(&self, css: &str, text: &str) {
        self.find(css).await.fill(text).await;
    }

    /// What a person reads on the page.
    pub async fn text(&self) -> String {
        match self.session.all("body").await.first() {
            Some(body) => body.text().await,
            None => String::new(),
        }
    }

    /// Waits until the page says so, which it may only do once it has kept itself up to date.
    pub async fn see(&self, text: &str) {
        let seen = async {
            while !self.text().await.contains(text) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        if tokio::time::timeout(LONG, seen).await.is_err() {
            panic!("never saw {text:?} at {}:\n{}", self.place().await, self.text().await);
        }
    }

    /// As wide a window as that, in this colour scheme.
    pub async fn look(&self, width: u32, scheme: &str) {
        let size = json!({ "width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": width < 500 });
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        for (command, parameters) in
            [("Emulation.setDeviceMetricsOverride", size), ("Emulation.setEmulatedMedia", media)]
        {
            let command = json!({ "cmd": command, "params": parameters });
            self.session.post("/goog/cdp/execute", command).await.unwrap();
        }
    }

    /// Errors that pages caused, as the policy being broken; answers of the worker with an error status are meant here.
    pub async fn errors(&self) -> Vec<String> {
        let log = self.session.post("/se/log", json!({ "type": "browser" })).await.unwrap();
        let lines = log.as_array().unwrap().iter();
        let severe = lines.filter(|line| line["level"] == "SEVERE" && line["source"] != "network");
        severe.map(|line| line["message"].as_str().unwrap().to_owned()).collect()
    }

    /// Ends it; no page may have caused an error.
    pub async fn close(mut self) {
        let errors = self.errors().await;
        self.session.end().await;
        self.driver.kill().await.unwrap();
        assert!(errors.is_empty(), "{errors:?}");
    }
}

impl Drop for Browser {
    /// A test that failed leaves Chromium without its driver: what runs on this folder is ours.
    fn drop(&mut self) {
        let folder = self.folder.path().display().to_string();
        for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let command = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&command).contains(&folder) {
                drop(std::process::Command::new("kill").arg("-9").arg(process.file_name()).status());
            }
        }
    }
}

/// The driver, on a port of its own choice.
async fn start_driver() -> (Child, String) {
    let mut driver = Command::new("chromedriver");
    driver.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut driver = driver.spawn().expect("chromedriver; deploy/install-dependencies.sh chromium installs it");
    let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
    loop {
        let line = lines.next_line().await.unwrap().expect("chromedriver says its port");
        if let Some((_, port)) = line.split_once("successfully on port ") {
            return (driver, port.trim_end_matches('.').to_owned());
        }
    }
}
