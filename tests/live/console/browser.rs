//! Debian's Chromium, driven as WebDriver has it. It ends with its owner, however that ends.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use thirtyfour::common::command::{Command as Driven, ExtensionCommand};
use thirtyfour::prelude::*;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, MutexGuard};

use crate::support::LONG;

/// One at a time: each is as large as everything else together.
static TURN: Mutex<()> = Mutex::const_new(());

/// A window on a worker's console.
pub struct Browser {
    pub driver: WebDriver,
    base: String,
    process: Child,
    folder: tempfile::TempDir,
    _turn: MutexGuard<'static, ()>,
}

/// What Chromium's driver offers beside the standard.
#[derive(Debug)]
struct Special {
    path: &'static str,
    parameters: Value,
}

impl ExtensionCommand for Special {
    fn parameters_json(&self) -> Option<Value> {
        Some(self.parameters.clone())
    }

    fn method(&self) -> Method {
        Method::POST
    }

    fn endpoint(&self) -> Arc<str> {
        self.path.into()
    }
}

impl Browser {
    /// A window that has not been anywhere.
    pub async fn open(base: &str) -> Self {
        Self::start(base, true).await
    }

    /// One that runs no scripts of pages.
    pub async fn without_scripts(base: &str) -> Self {
        Self::start(base, false).await
    }

    async fn start(base: &str, scripts: bool) -> Self {
        let turn = TURN.lock().await;
        drop(rustls::crypto::ring::default_provider().install_default());
        let folder = tempfile::Builder::new().prefix("sluice-chromium-").tempdir().unwrap();
        let mut process = Command::new("chromedriver");
        process.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut process = process.spawn().expect("chromedriver; deploy/install-dependencies.sh chromium installs it");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = loop {
            let line = lines.next_line().await.unwrap().expect("chromedriver says its port");
            if let Some((_, port)) = line.split_once("successfully on port ") {
                break port.trim_end_matches('.').to_owned();
            }
        };
        let mut wanted = DesiredCapabilities::chrome();
        for argument in [
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
        ] {
            wanted.add_arg(argument).unwrap();
        }
        if !scripts {
            let off = json!({ "profile.managed_default_content_settings.javascript": 2 });
            wanted.add_experimental_option("prefs", off).unwrap();
        }
        wanted.set("goog:loggingPrefs", json!({ "browser": "ALL" })).unwrap();
        let driver = WebDriver::new(format!("http://127.0.0.1:{port}"), wanted).await.unwrap();
        Self { driver, base: base.to_owned(), process, folder, _turn: turn }
    }

    /// Goes to a page of the console.
    pub async fn go(&self, path: &str) {
        self.driver.goto(format!("{}{path}", self.base)).await.unwrap();
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
        let url = self.driver.current_url().await.unwrap();
        url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()))
    }

    pub async fn find(&self, css: &str) -> WebElement {
        self.driver.find(By::Css(css)).await.unwrap_or_else(|error| panic!("no {css}: {error}"))
    }

    pub async fn has(&self, css: &str) -> bool {
        !self.driver.find_all(By::Css(css)).await.unwrap().is_empty()
    }

    pub async fn click(&self, css: &str) {
        self.find(css).await.click().await.unwrap_or_else(|error| panic!("cannot click {css}: {error}"));
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
        let found = self.driver.find_all(By::XPath(path)).await.unwrap();
        for element in found {
            if element.is_displayed().await.unwrap_or(false) {
                return element.click().await.unwrap();
            }
        }
        panic!("nothing to press says {text:?} at {}:\n{}", self.place().await, self.text().await);
    }

    pub async fn fill(&self, css: &str, text: &str) {
        let field = self.find(css).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// What a person reads on the page.
    pub async fn text(&self) -> String {
        match self.driver.find(By::Css("body")).await {
            Ok(body) => body.text().await.unwrap_or_default(),
            Err(_) => String::new(),
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

    pub async fn run(&self, script: &str) -> Value {
        self.driver.execute(script, Vec::new()).await.unwrap().json().clone()
    }

    /// As wide a window as that, in this colour scheme.
    pub async fn look(&self, width: u32, scheme: &str) {
        let size = json!({ "width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": width < 500 });
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        for (command, parameters) in
            [("Emulation.setDeviceMetricsOverride", size), ("Emulation.setEmulatedMedia", media)]
        {
            self.special("/goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await;
        }
    }

    async fn special(&self, path: &'static str, parameters: Value) -> Value {
        let command = Driven::ExtensionCommand(Box::new(Special { path, parameters }));
        self.driver.handle().cmd(command).await.unwrap().value_json().unwrap()
    }

    /// Errors that pages caused, as the policy being broken; answers of the worker with an error status are meant here.
    pub async fn errors(&self) -> Vec<String> {
        let log = self.special("/se/log", json!({ "type": "browser" })).await;
        let lines = log.as_array().unwrap().iter();
        let severe = lines.filter(|line| line["level"] == "SEVERE" && line["source"] != "network");
        severe.map(|line| line["message"].as_str().unwrap().to_owned()).collect()
    }

    /// Ends it; no page may have caused an error.
    pub async fn close(mut self) {
        let errors = self.errors().await;
        self.driver.clone().quit().await.unwrap();
        self.process.kill().await.unwrap();
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
