//! Tests that the Grafana dashboard (`examples/grafana-dashboard`) queries only series and labels that the metrics page serves. In: the
//! dashboard's queries, and the metrics page. Tests only.
#![allow(clippy::unwrap_used)] // tests

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use regex::Regex;
use serde_json::Value;

use super::prometheus::Page;
use super::{http_metrics, tests};

/// Labels that Prometheus adds to every series it scrapes.
const SCRAPED: [&str; 2] = ["instance", "job"];

type Labels = BTreeMap<String, BTreeSet<String>>;

/// Every series of the metrics page, with its labels.
fn served() -> Labels {
    let page = Page::new(Arc::new(tests::snapshot), None).render().unwrap() + &http_metrics::tests::page_of_one();
    let label = Regex::new(r#"([a-z_]+)=""#).unwrap();
    let mut served = Labels::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (name, rest) = line.split_at(line.find(['{', ' ']).unwrap());
        let labels = label.captures_iter(rest).map(|found| found[1].to_owned());
        served.entry(name.to_owned()).or_default().extend(labels);
    }
    served
}

/// Every query of the dashboard: those of its panels and those of its variables.
fn queries() -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/grafana-dashboard/dashboard.json");
    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let graphs = list(&dashboard["panels"]).into_iter().flat_map(|panel| list(&panel["targets"]));
    let variables = list(&dashboard["templating"]["list"]).into_iter().map(|variable| variable["definition"].clone());
    let all = graphs.map(|target| target["expr"].clone()).chain(variables);
    all.filter_map(|query| query.as_str().map(ToOwned::to_owned)).collect()
}

#[test]
fn the_dashboard_asks_for_what_is_served() {
    let served = served();
    let name = Regex::new(r"\b((?:qtap|process)_[a-z_]+)(?:\{([^}]*)\})?").unwrap();
    let by = Regex::new(r"\bby \(([a-z_, ]+)\)").unwrap();
    let matched = Regex::new(r#"([a-z_]+)[=!]~?""#).unwrap();
    let queries = queries();
    assert!(queries.len() > 20, "{}", queries.len());
    for query in queries {
        let mut names = 0;
        for found in name.captures_iter(&query) {
            names += 1;
            let labels = served.get(&found[1]).unwrap_or_else(|| panic!("{} is not served: {query}", &found[1]));
            let selected = found.get(2).map_or("", |inside| inside.as_str());
            let mut asked: Vec<String> = matched.captures_iter(selected).map(|label| label[1].to_owned()).collect();
            asked.extend(
                by.captures_iter(&query).flat_map(|by| by[1].split(", ").map(ToOwned::to_owned).collect::<Vec<_>>()),
            );
            for label in asked.iter().filter(|label| !SCRAPED.contains(&label.as_str())) {
                assert!(labels.contains(label), "{} has no label {label}: {query}", &found[1]);
            }
        }
        assert!(names > 0, "{query}");
    }
}
