//! Kinds, bounds, and what a change of generations does to series.

use super::*;
use crate::observe::metrics::text::Format;

fn page(own: &Own) -> String {
    let mut text = Text::new(Format::Prometheus);
    own.write(&mut text);
    text.finish()
}

fn label(value: &str) -> Labels {
    vec![("from".to_owned(), value.to_owned())]
}

#[test]
fn all_kinds_are_written() {
    let own = Arc::new(Own::default());
    let local = Local::new(own.clone(), 1);
    let shop: Arc<str> = "shop".into();
    local.describe(&shop, "orders", Kind::Counter, "Orders.").expect("a new name");
    local.series(&shop, "orders", &Kind::Counter, label("de")).expect("the same").add(2.0);
    local.series(&shop, "queue", &Kind::Gauge, Vec::new()).expect("a new name").set(0.5);
    let histogram = Kind::Histogram(Arc::from([1.0, 10.0]));
    local.series(&shop, "items", &histogram, Vec::new()).expect("a new name").observe(10.0);
    let expected = "# HELP gatewright_plugin_items Counted by scripts.\n# TYPE gatewright_plugin_items histogram\n\
        gatewright_plugin_items_bucket{plugin=\"shop\",le=\"1.0\"} 0\ngatewright_plugin_items_bucket{plugin=\"shop\",le=\"10.0\"} 1\n\
        gatewright_plugin_items_bucket{plugin=\"shop\",le=\"+Inf\"} 1\ngatewright_plugin_items_count{plugin=\"shop\"} 1\n\
        gatewright_plugin_items_sum{plugin=\"shop\"} 10\n\
        # HELP gatewright_plugin_orders_total Orders.\n# TYPE gatewright_plugin_orders_total counter\n\
        gatewright_plugin_orders_total{plugin=\"shop\",from=\"de\"} 2\n\
        # HELP gatewright_plugin_queue Counted by scripts.\n# TYPE gatewright_plugin_queue gauge\n\
        gatewright_plugin_queue{plugin=\"shop\"} 0.5\n";
    assert_eq!(page(&own), expected);
}

#[test]
fn a_kind_changes_only_with_the_generation() {
    let own = Arc::new(Own::default());
    let (old, new) = (Local::new(own.clone(), 1), Local::new(own.clone(), 2));
    let shop: Arc<str> = "shop".into();
    old.series(&shop, "x", &Kind::Counter, Vec::new()).expect("a new name").add(1.0);
    let same = old.series(&shop, "x", &Kind::Gauge, Vec::new()).map(drop).map_err(|error| error.to_string());
    assert_eq!(same, Err("`x` is a counter and can't be a gauge as well".to_owned()));
    new.series(&shop, "x", &Kind::Gauge, Vec::new()).expect("the script was changed").set(7.0);
    let same = new.describe(&shop, "x", Kind::Counter, "X.").map_err(|error| error.to_string());
    assert_eq!(same, Err("`x` is a gauge and can't be a counter as well".to_owned()));
    assert_eq!(own.sum("x", &[]), Some((1.0, None)), "it does not serve yet");
    own.switch(2, &HashSet::from(["shop"]));
    assert_eq!(own.sum("x", &[]), Some((7.0, None)));
    for from in ["de", "fr"] {
        old.series(&shop, "x", &Kind::Counter, label(from)).expect("its last exchanges don't fail").add(1.0);
    }
    assert_eq!(own.sum("x", &[]), Some((7.0, None)));
}

#[test]
fn what_a_generation_counts_before_it_serves_is_added_when_it_does() {
    let own = Arc::new(Own::default());
    let shop: Arc<str> = "shop".into();
    let histogram = Kind::Histogram(Arc::from([1.0]));
    let counted = |generation| {
        let local = Local::new(own.clone(), generation);
        local.describe(&shop, "loads", Kind::Counter, &format!("Of {generation}.")).expect("the same kind");
        local.series(&shop, "loads", &Kind::Counter, Vec::new()).expect("the same kind").add(1.0);
        local.series(&shop, "version", &Kind::Gauge, Vec::new()).expect("the same kind").set(generation as f64);
        local.series(&shop, "items", &histogram, Vec::new()).expect("the same kind").observe(5.0);
    };
    counted(1);
    own.switch(1, &HashSet::from(["shop"]));
    let before = page(&own);
    counted(2);
    assert_eq!(page(&own), before, "refused: nothing is changed");
    counted(3);
    own.switch(3, &HashSet::from(["shop"]));
    assert_eq!(own.sum("loads", &[]), Some((2.0, None)));
    assert_eq!(own.sum("version", &[]), Some((3.0, None)));
    assert_eq!(own.sum("items", &[]), Some((10.0, Some(2))));
    assert!(page(&own).contains("loads_total Of 3.\n"), "{}", page(&own));
}

#[test]
fn too_many_series_count_as_other_and_leave_with_their_plugin() {
    let own = Arc::new(Own::default());
    let local = Local::new(own.clone(), 1);
    let (shop, rest): (Arc<str>, Arc<str>) = ("shop".into(), "rest".into());
    for number in 0..MAX_SERIES + 5 {
        local.series(&shop, "x", &Kind::Counter, label(&number.to_string())).expect("counted somewhere").add(1.0);
    }
    local.series(&rest, "x", &Kind::Counter, label("a")).expect("another plugin has its own").add(1.0);
    assert_eq!(own.sum("x", &label(OTHER)), Some((5.0, None)));
    assert_eq!(page(&own).lines().count(), 2 + MAX_SERIES + 1 + 1);
    own.switch(1, &HashSet::from(["rest"]));
    assert_eq!(own.sum("x", &[]), Some((1.0, None)));
    own.switch(1, &HashSet::new());
    assert_eq!(page(&own), "");
}

#[test]
fn names_are_bounded() {
    let local = Local::new(Arc::default(), 1);
    let shop: Arc<str> = "shop".into();
    for number in 0..MAX_NAMES {
        local.describe(&shop, &format!("n{number}"), Kind::Gauge, "N.").expect("within the bound");
    }
    let error = local.describe(&shop, "more", Kind::Gauge, "N.").map_err(|error| error.to_string());
    assert_eq!(error, Err("`more` is one metric too many: a plugin may have 100".to_owned()));
}
