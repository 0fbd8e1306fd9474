//! Streams that are read once for each record of another.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::loads::run;
use crate::world::api::Record;
use crate::world::desk::{Desk, Query};
use crate::world::oracle::Oracle;
use crate::world::program::highwater;
use crate::world::project::Project;

/// A shop and its orders.
#[derive(Clone)]
struct Shop {
    id: u64,
    changed_at: String,
    /// Listed, but no longer there when its orders are asked for.
    is_gone: bool,
    orders: Vec<Value>,
}

/// The shops, and the paths asked for since they were last looked at.
#[derive(Clone, Default)]
struct Town {
    shops: Arc<Mutex<Vec<Shop>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

const SHOPS_A_PAGE: usize = 3;
const ORDERS_A_PAGE: usize = 2;

fn shop(id: u64, day: u64, orders: u64) -> Shop {
    let orders = (1..=orders).map(|order| json!({ "id": order, "text": format!("{id}-{order}"), "at": null })).collect();
    Shop { id, changed_at: format!("2026-02-{day:02}T10:00:00Z"), is_gone: false, orders }
}

impl Town {
    fn of(shops: Vec<Shop>) -> Town {
        Town { shops: Arc::new(Mutex::new(shops)), ..Town::default() }
    }

    /// `/shops?page=&since=&until=`, and `/shops/{code}/orders?page=`; a page that is full is followed by another.
    fn desk(&self) -> Desk {
        let town = self.clone();
        Desk::start(move |path, query| town.answer(path, query))
    }

    fn answer(&self, path: &str, query: &Query) -> (u16, Value) {
        self.asked.lock().unwrap().push(path.to_owned());
        let shops = self.shops.lock().unwrap();
        let page: usize = query.get("page").map_or(1, |page| page.parse().unwrap());
        let part = |rows: Vec<Value>, size: usize| {
            let rows: Vec<Value> = rows.into_iter().skip((page - 1) * size).take(size).collect();
            json!({ "more": rows.len() == size, "rows": rows })
        };
        if path == "/shops" {
            let bound = |name: &str| query.get(name).map_or("", String::as_str).to_owned();
            let (since, until) = (bound("since"), bound("until"));
            let within = |shop: &&Shop| shop.changed_at >= since && (until.is_empty() || shop.changed_at < until);
            let rows = shops.iter().filter(within);
            let rows = rows
                .map(|shop| json!({ "at": shop.changed_at, "id": shop.id, "text": "", "names": [{ "code": code(shop.id) }] }));
            return (200, part(rows.collect(), SHOPS_A_PAGE));
        }
        let asked =
            shops.iter().find(|shop| path == format!("/shops/{}/orders", code(shop.id).replace('/', "%2F").replace(' ', "%20")));
        match asked {
            Some(shop) if !shop.is_gone => (200, part(shop.orders.clone(), ORDERS_A_PAGE)),
            _ => (404, json!({ "error": "no such shop" })),
        }
    }

    /// How many times orders were asked for since the last time.
    fn orders_asked(&self) -> usize {
        std::mem::take(&mut *self.asked.lock().unwrap()).iter().filter(|path| path.ends_with("/orders")).count()
    }

    fn edit(&self, edit: impl FnOnce(&mut Vec<Shop>)) {
        edit(&mut self.shops.lock().unwrap());
    }

    /// The rows that the table should have.
    fn truth(&self) -> Vec<Record> {
        let shops = self.shops.lock().unwrap();
        let row = |shop: &Shop, order: &Value| {
            let json =
                json!({ "id": order["id"], "text": order["text"], "at": order["at"], "shop": shop.id, "code": code(shop.id) });
            Record { json: json.to_string(), cursor: None }
        };
        let there = shops.iter().filter(|shop| !shop.is_gone);
        there.flat_map(|shop| shop.orders.iter().map(move |order| row(shop, order))).collect()
    }
}

/// With signs that a path must not take for its own.
fn code(id: u64) -> String {
    format!("s/{id} x")
}

fn project(desk: &Desk, parent: &str, job: &str) -> Project {
    let project = Project::new();
    let source = format!(
        "version = 1\ntype = \"http\"\nbase_url = \"{}\"\nretry = {{ attempts = 1 }}\n\
         [streams.shops]\npath = \"/shops\"\nrecords = \"rows\"\nprimary_key = [\"id\"]\n\
         paging = {{ type = \"page\", param = \"page\", more = \"more\" }}\n\
         [streams.shops.cursor]\nfield = \"at\"\ntype = \"timestamp\"\nquery = {{ since = \"{{{{ from }}}}\", until = \"{{{{ to }}}}\" }}\n\
         [streams.orders]\npath = \"/shops/{{{{ parent.names[0].code }}}}/orders\"\nrecords = \"rows\"\nprimary_key = [\"shop\", \"id\"]\n\
         paging = {{ type = \"page\", param = \"page\", more = \"more\" }}\n\
         parent = {{ stream = \"shops\", carry = {{ shop = \"id\", code = \"names.0.code\" }}{parent} }}\n",
        desk.url()
    );
    project.write("sources/api.toml", &source);
    project.write("sinks/lake.toml", "version = 1\ntype = \"parquet\"\nurl = \"lake\"\n");
    project.write("jobs/items.toml", &format!("version = 1\nsource = \"api\"\nstream = \"orders\"\nsink = \"lake\"\n{job}"));
    project
}

fn check(town: &Town, project: &Project) {
    let Some(mut oracle) = Oracle::new() else {
        return crate::world::skip("parents", "the independent readers are not installed");
    };
    let case = oracle.expect("orders", &project.at("lake/orders"), &town.truth());
    case["key"] = json!(["shop", "id"]);
    oracle.check();
}

#[test]
fn every_order_of_every_shop_is_there_once() {
    // C-58
    let mut shops: Vec<Shop> = (1..=11).map(|id| shop(id, 1 + id, id % 5)).collect();
    shops[4].is_gone = true;
    let town = Town::of(shops);
    let desk = town.desk();
    let project = project(&desk, "", "");
    let report = run(&project);
    assert_eq!(report["counts"]["kept"], town.truth().len(), "{report}");
    check(&town, &project);
    highwater(&project, &["verify"]).run().expect_code(0);
    // What is unchanged replaces nothing.
    let before = project.listing("lake/orders");
    assert_eq!(run(&project)["commits"], 0);
    assert_eq!(project.listing("lake/orders"), before);
    // One shop opens, one closes, one has another order.
    town.edit(|shops| {
        shops.push(shop(12, 20, 7));
        shops[0].orders.push(json!({ "id": 9, "text": "late", "at": "2026-02-20" }));
        shops[1].is_gone = true;
    });
    run(&project);
    check(&town, &project);
}

#[test]
fn what_children_are_partitioned_by_says_nothing_of_their_parents() {
    // C-58, S-26: each shop has an empty text of the name by which orders are partitioned.
    let town = Town::of((1..=4).map(|id| shop(id, 1 + id, 2)).collect());
    let desk = town.desk();
    for parent in ["", ", changed_only = true"] {
        let project = project(&desk, parent, "partition_by = [\"text\"]\n");
        let report = run(&project);
        assert_eq!((&report["counts"]["kept"], &report["counts"]["rejected"]), (&8.into(), &0.into()), "{report}");
    }
}

#[test]
fn only_the_orders_of_shops_that_changed_are_asked_for() {
    // C-58
    let town = Town::of((1..=8).map(|id| shop(id, 1 + id, 3)).collect());
    let desk = town.desk();
    let project = project(&desk, ", changed_only = true", "[window]\nstart = \"2026-02-01T00:00:00Z\"\nstep = \"7d\"\n");
    let report = run(&project);
    assert_eq!(report["counts"]["kept"], 24, "{report}");
    assert!(report["mark"].as_str().is_some_and(|mark| mark.starts_with("2026-03-01")), "{report}");
    check(&town, &project);
    assert_eq!(town.orders_asked(), 16);
    run(&project);
    assert_eq!(town.orders_asked(), 0, "nothing has changed");
    town.edit(|shops| {
        shops[2].changed_at = "2026-03-01T12:30:00Z".to_owned();
        shops[2].orders[0]["text"] = json!("new");
        shops[2].orders.push(json!({ "id": 4, "text": "more", "at": null }));
        shops.push(shop(9, 1, 2));
        shops[8].changed_at = "2026-03-01T12:40:00Z".to_owned();
    });
    desk.set_date("Sun, 01 Mar 2026 13:00:00 GMT");
    let report = run(&project);
    // Two pages of the one (the second is full, so that a third is asked for), two of the other.
    assert_eq!(town.orders_asked(), 5, "{report}");
    check(&town, &project);
    highwater(&project, &["verify"]).run().expect_code(0);
    run(&project);
    assert_eq!(town.orders_asked(), 0);
}

/// A list that names records alone, and one answer for each of them, the record itself.
#[test]
fn a_list_of_ids_leads_to_one_record_each() {
    // C-58
    let record = |id: u64| json!({ "id": id, "name": format!("shop {id}"), "tags": [{ "n": id }] });
    let desk = Desk::start(move |path, _| match path.strip_prefix("/shops/").map(str::parse::<u64>) {
        None if path == "/account" => (200, json!({ "account": { "id": 1, "plan": "large" } })),
        None => (200, json!([{ "id": 1, "seen": "x" }, { "id": 2, "seen": "y" }, { "id": 3, "seen": "z" }])),
        // Listed, and gone since.
        Some(Ok(2)) => (404, json!({ "error": "gone" })),
        Some(id) => (200, record(id.unwrap())),
    });
    let project = Project::new();
    let source = format!(
        "version = 1\ntype = \"http\"\nbase_url = \"{}\"\nretry = {{ attempts = 1 }}\n\
         [streams.shops]\npath = \"/shops\"\nprimary_key = [\"id\"]\n\
         [streams.details]\npath = \"/shops/{{{{ parent.id }}}}\"\none_record = true\nprimary_key = [\"id\"]\n\
         parent = {{ stream = \"shops\", carry = {{ seen = \"seen\" }} }}\n\
         [streams.account]\npath = \"/account\"\nrecords = \"account\"\none_record = true\n",
        desk.url()
    );
    project.write("sources/api.toml", &source);
    project.write("sinks/lake.toml", "version = 1\ntype = \"parquet\"\nurl = \"lake\"\n");
    for stream in ["details", "account"] {
        project.write(
            &format!("jobs/{stream}.toml"),
            &format!("version = 1\nsource = \"api\"\nstream = \"{stream}\"\nsink = \"lake\"\nmode = \"replace\"\n"),
        );
    }
    highwater(&project, &["check"]).run().expect_code(0);
    highwater(&project, &["run"]).run().expect_code(0);
    let Some(mut oracle) = Oracle::new() else {
        return crate::world::skip("parents", "the independent readers are not installed");
    };
    let row = |json: Value| Record { json: json.to_string(), cursor: None };
    let with = |id: u64, seen: &str| {
        let mut record = record(id);
        record["seen"] = json!(seen);
        row(record)
    };
    oracle.expect("details", &project.at("lake/details"), &[with(1, "x"), with(3, "z")]);
    oracle.expect("account", &project.at("lake/account"), &[row(json!({ "id": 1, "plan": "large" }))]);
    oracle.check();
    // The same answers replace nothing.
    let before = (project.listing("lake/details"), project.listing("lake/account"));
    highwater(&project, &["run"]).run().expect_code(0);
    assert_eq!((project.listing("lake/details"), project.listing("lake/account")), before);
    // What is no longer one record is an error, not another table.
    desk.answer(|_, _| (200, json!({ "account": [{ "id": 1 }] })));
    let ended = highwater(&project, &["run", "account"]).run().expect_code(1);
    assert!(ended.stderr.contains("there is a list, not a record, at `account`"), "{}", ended.stderr);
}

#[test]
fn an_address_that_leads_to_nobody_is_no_town_without_orders() {
    // C-58
    let town = Town::of((1..=5).map(|id| Shop { is_gone: true, ..shop(id, 2, 1) }).collect());
    let desk = town.desk();
    let project = project(&desk, "", "");
    let ended = highwater(&project, &["run", "items"]).run().expect_code(78);
    assert!(ended.stderr.contains("all `5` records of shops"), "{}", ended.stderr);
    // A failing shop is no shop without orders either.
    desk.answer(|path, _| match path {
        "/shops" => {
            (200, json!({ "more": false, "rows": [{ "id": 1, "at": "2026-02-01T00:00:00Z", "names": [{ "code": "a" }] }] }))
        }
        _ => (500, json!({})),
    });
    highwater(&project, &["run", "items"]).run().expect_code(1);
    assert!(project.listing("lake").is_empty());
}

#[test]
fn a_preview_and_a_plan_know_parents() {
    let town = Town::of((1..=4).map(|id| shop(id, 2, 2)).collect());
    let desk = town.desk();
    let project = project(&desk, "", "");
    let shown = highwater(&project, &["preview", "items"]).run().expect_code(0).stdout;
    assert!(shown.contains("s/1 x") && shown.contains("1-2"), "{shown}");
    highwater(&project, &["plan", "items"]).run().expect_code(0);
    highwater(&project, &["check"]).run().expect_code(0);
}
