//! Latencies over HTTP. Nothing is said of how long anything takes: a machine may be busy.

use super::*;

impl Caller {
    async fn latencies(&self, asked: Value) -> (u16, Value) {
        let answer = self.request(Method::POST, "/sandbox/latency").json(&asked).send().await.unwrap();
        (answer.status().as_u16(), json_of(answer).await)
    }
}

#[tokio::test]
async fn by_default_every_vendor_takes_its_time() {
    let sandbox = Sandbox::start(Settings::default()).await.unwrap();
    let latencies = sandbox.handle().world.latencies();
    let told: Vec<_> = latencies.iter().map(|(vendor, latency)| format!("{vendor} {latency}")).collect();
    let typical = ["act-on exp:600ms:6s", "apsis-one exp:250ms:2.5s", "gainsight-px exp:300ms:3s", "hook exp:100ms:1s"];
    assert_eq!(told, typical);
}

#[tokio::test]
async fn a_slow_vendor_has_counted_the_request_before_it_answers_and_holds_up_no_other() {
    let caller = start(Settings::default()).await;
    assert_eq!(caller.latencies(json!({ "gainsight-px": "10m" })).await.0, 200);
    let late = caller.event("a").timeout(Duration::from_millis(100)).send().await;
    assert!(late.unwrap_err().is_timeout());
    assert_eq!(caller.stats().accepted, 1);
    let answer = caller.request(Method::POST, "/hook/a").body("{}").send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn latencies_are_told_set_for_some_or_all_and_refused_when_wrong() {
    let caller = start(Settings::default()).await;
    let (status, told) = caller.latencies(json!({ "act-on": "exp:1s:2s", "hook": "typical" })).await;
    assert_eq!((status, &told["act-on"], &told["hook"]), (200, &json!("exp:1s:2s"), &json!("exp:100ms:1s")));
    assert_eq!(told["gainsight-px"], "0ns", "it is left as it was");
    for wrong in [json!("fast"), json!({ "hook": "0", "xp": "1s" }), json!({ "hook": 5 }), json!(300), json!(null)] {
        assert_eq!(caller.latencies(wrong.clone()).await.0, 400, "{wrong} was taken");
    }
    assert_eq!(json_of(caller.request(Method::GET, "/sandbox/latency").send().await.unwrap()).await, told);
    let (_, told) = caller.latencies(json!("0")).await;
    assert!(told.as_object().unwrap().values().all(|latency| latency == "0ns"), "{told}");
}

#[tokio::test]
async fn a_latency_for_nobody_keeps_the_sandbox_from_starting() {
    let latency = vec!["px=1s".parse().unwrap()];
    let error = Sandbox::start(Settings { latency, ..Settings::default() }).await.unwrap_err();
    assert!(error.to_string().contains("write act-on, apsis-one, gainsight-px, hook"), "{error}");
}
