//! Every PromQL expression that ships: those of the rules, of the dashboard and of the runbook, made into queries that must find data.

use std::collections::BTreeSet;

use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

const RULES: &str = include_str!("../../../deploy/prometheus/rules/sluice.yml");
const DASHBOARD: &str = include_str!("../../../deploy/grafana/dashboards/sluice.json");
const RUNBOOK: &str = include_str!("../../../docs/runbook.md");
/// What a dashboard puts in place of its variables.
const VARIABLES: [(&str, &str); 3] = [("$job", "sluice"), ("$destination", "hook"), ("$__rate_interval", "1m")];
/// In the runbook, a destination of the reader's.
const EXAMPLE: &str = "px-prod";
/// Words of PromQL that are followed by no bracket.
const WORDS: [&str; 6] = ["and", "or", "unless", "bool", "Inf", "NaN"];

/// A query that has to return something, and where it comes from.
#[derive(Clone, Debug)]
pub struct Expression {
    #[expect(dead_code, reason = "for whoever reads a failure")]
    pub from: String,
    pub query: String,
}

#[derive(Deserialize)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    record: Option<String>,
    alert: Option<String>,
    expr: String,
}

/// All of them.
pub fn all() -> Vec<Expression> {
    [rules(), dashboard(), runbook()].concat()
}

/// What a recording rule or a panel asks must be answered; what an alert asks is empty while all is well, so that each series in it
/// must be there.
fn rules() -> Vec<Expression> {
    let rules: Rules = serde_saphyr::from_str(RULES).unwrap();
    let rules = rules.groups.into_iter().flat_map(|group| group.rules);
    rules
        .flat_map(|rule| match (rule.record, rule.alert) {
            (Some(name), _) => vec![Expression::new(&name, &name), Expression::new(&name, &rule.expr)],
            (None, alert) => {
                selectors(&rule.expr).iter().map(|one| Expression::new(alert.as_deref().unwrap(), one)).collect()
            }
        })
        .collect()
}

fn dashboard() -> Vec<Expression> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut found = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            found.push((panel["title"].as_str().unwrap(), target["expr"].as_str().unwrap().to_owned()));
        }
    }
    for annotation in dashboard["annotations"]["list"].as_array().unwrap() {
        let series = annotation["expr"].as_str().map(selectors).unwrap_or_default();
        found.extend(series.into_iter().map(|one| (annotation["name"].as_str().unwrap(), one)));
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        let asked = variable["query"]["query"].as_str().and_then(|query| query.strip_prefix("label_values("));
        let series = asked.and_then(|rest| rest.rsplit_once(',')).map(|(series, _)| series.to_owned());
        found.extend(series.map(|series| (variable["name"].as_str().unwrap(), series)));
    }
    assert!(found.len() > 70, "{}", found.len());
    found.iter().map(|(title, text)| Expression::new(&format!("panel {title}"), &substituted(text))).collect()
}

/// The series of the blocks marked as PromQL.
fn runbook() -> Vec<Expression> {
    let blocks = RUNBOOK.split("```promql\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let lines = blocks.flat_map(str::lines).filter(|line| !line.is_empty());
    let series = lines.flat_map(|line| selectors(&line.replace(EXAMPLE, "hook")));
    series.map(|one| Expression::new("the runbook", &one)).collect()
}

fn substituted(text: &str) -> String {
    VARIABLES.iter().fold(text.to_owned(), |text, (variable, value)| text.replace(variable, value))
}

/// Every series that an expression speaks of: each name in it that is no function, no word of the language and no list of labels,
/// with its matchers. One that is mistyped is a series that is not there.
fn selectors(expression: &str) -> Vec<String> {
    let beside =
        Regex::new(r"(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)|\[[^\]]*\]|offset\s+\w+").unwrap();
    let name = Regex::new(r"\b([a-zA-Z_:][\w:]*)\s*(\{[^}]*\})?(\s*\()?").unwrap();
    let rest = beside.replace_all(expression, " ");
    let names = name.captures_iter(&rest).filter(|found| found.get(3).is_none() && !WORDS.contains(&&found[1]));
    let all: BTreeSet<String> =
        names.map(|found| format!("{}{}", &found[1], found.get(2).map_or("", |matchers| matchers.as_str()))).collect();
    all.into_iter().collect()
}

impl Expression {
    fn new(from: &str, query: &str) -> Self {
        Self { from: from.to_owned(), query: query.to_owned() }
    }
}

#[test]
fn the_series_of_an_expression_are_found_whatever_stands_around_them() {
    let expression = r#"sum without (instance, pod) (rate(a_total{x="y (z)",b=~"c|d"}[5m])) > 3600 * scalar(e:f:g)
        unless on () absent(h) or time() - 1e3 < bool k offset 30m"#;
    assert_eq!(selectors(expression), [r#"a_total{x="y (z)",b=~"c|d"}"#, "e:f:g", "h", "k"]);
}
