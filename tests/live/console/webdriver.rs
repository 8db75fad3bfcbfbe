//! WebDriver (https://www.w3.org/TR/webdriver2/) as far as these tests need it: one session, over HTTP and JSON.

use base64::Engine as _;
use serde_json::{Value, json};

/// What an element is called in answers: a name of the standard's own.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
pub const TAB: &str = "\u{e004}";
pub const ENTER: &str = "\u{e007}";
pub const ESCAPE: &str = "\u{e00c}";

/// A session with a browser. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Session {
    http: reqwest::Client,
    address: String,
}

/// Something on a page.
#[derive(Clone, Debug)]
pub struct Element {
    session: Session,
    id: String,
}

/// What the driver did not do, and why.
pub type Refused = String;

impl Session {
    /// Begins one with the driver at that address.
    pub async fn begin(driver: &str, wanted: Value) -> Self {
        let mut session = Self { http: reqwest::Client::new(), address: format!("{driver}/session") };
        let begun = session.post("", json!({ "capabilities": { "alwaysMatch": wanted } })).await.unwrap();
        session.address = format!("{}/{}", session.address, begun["sessionId"].as_str().unwrap());
        session
    }

    pub async fn end(&self) {
        self.ask(reqwest::Method::DELETE, "", None).await.unwrap();
    }

    pub async fn go(&self, url: &str) {
        self.post("/url", json!({ "url": url })).await.unwrap();
    }

    pub async fn back(&self) {
        self.post("/back", json!({})).await.unwrap();
    }

    /// `url`, `title` or `source` of the page.
    pub async fn read(&self, what: &str) -> String {
        self.get(&format!("/{what}")).await.unwrap().as_str().unwrap().to_owned()
    }

    /// A picture of what is seen, as PNG.
    pub async fn picture(&self) -> Vec<u8> {
        let picture = self.read("screenshot").await;
        base64::engine::general_purpose::STANDARD.decode(picture).unwrap()
    }

    /// All that a CSS selector means.
    pub async fn all(&self, css: &str) -> Vec<Element> {
        self.elements("css selector", css).await
    }

    /// All that an XPath means.
    pub async fn all_by_path(&self, path: &str) -> Vec<Element> {
        self.elements("xpath", path).await
    }

    async fn elements(&self, using: &str, value: &str) -> Vec<Element> {
        let found = self.post("/elements", json!({ "using": using, "value": value })).await.unwrap();
        found.as_array().unwrap().iter().map(|found| self.element(found)).collect()
    }

    /// What has the focus.
    pub async fn focus(&self) -> Element {
        self.element(&self.get("/element/active").await.unwrap())
    }

    fn element(&self, found: &Value) -> Element {
        Element { session: self.clone(), id: found[ELEMENT].as_str().unwrap().to_owned() }
    }

    /// What a script returns.
    pub async fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", json!({ "script": script, "args": [] })).await.unwrap()
    }

    /// What a script hands to the function that is its last argument.
    pub async fn run_later(&self, script: &str) -> Value {
        self.post("/execute/async", json!({ "script": script, "args": [] })).await.unwrap()
    }

    pub async fn post(&self, path: &str, body: Value) -> Result<Value, Refused> {
        self.ask(reqwest::Method::POST, path, Some(body)).await
    }

    async fn get(&self, path: &str) -> Result<Value, Refused> {
        self.ask(reqwest::Method::GET, path, None).await
    }

    async fn ask(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> Result<Value, Refused> {
        let mut request = self.http.request(method, format!("{}{path}", self.address));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("the driver answers");
        let is_done = answer.status().is_success();
        let mut said: Value = answer.json().await.expect("the driver answers with JSON");
        if is_done {
            Ok(said["value"].take())
        } else {
            Err(format!("{}: {}", said["value"]["error"], said["value"]["message"]))
        }
    }
}

impl Element {
    pub async fn click(&self) -> Result<Value, Refused> {
        self.post("click", json!({})).await
    }

    /// Types over what is there.
    pub async fn fill(&self, text: &str) {
        self.post("clear", json!({})).await.unwrap();
        self.keys(text).await;
    }

    pub async fn keys(&self, text: &str) {
        self.post("value", json!({ "text": text })).await.unwrap();
    }

    /// What a person reads; nothing where it has gone.
    pub async fn text(&self) -> String {
        let text = self.get("text").await.unwrap_or_default();
        text.as_str().unwrap_or_default().to_owned()
    }

    pub async fn is_displayed(&self) -> bool {
        self.get("displayed").await.is_ok_and(|shown| shown == true)
    }

    /// A property, as `value` or `id`, as text.
    pub async fn property(&self, name: &str) -> String {
        let property = self.get(&format!("property/{name}")).await.unwrap();
        property.as_str().unwrap_or_default().to_owned()
    }

    async fn get(&self, what: &str) -> Result<Value, Refused> {
        self.session.get(&format!("/element/{}/{what}", self.id)).await
    }

    async fn post(&self, what: &str, body: Value) -> Result<Value, Refused> {
        self.session.post(&format!("/element/{}/{what}", self.id), body).await
    }
}
