//! Children with a cursor of their own: of every parent its own mark, whoever comes, goes, fails or stands in the list twice.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::loads::run;
use crate::world::api::Record;
use crate::world::desk::{Desk, Query};
use crate::world::dice::Dice;
use crate::world::oracle::Oracle;
use crate::world::program::highwater;
use crate::world::project::Project;

const SIGKILL: i32 = 9;
const SHOPS_A_PAGE: usize = 3;
const ORDERS_A_PAGE: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    Open,
    /// No longer in the list.
    Unlisted,
    /// In the list, but its orders answer 404.
    Gone,
    /// Its orders answer 500.
    Broken,
}

#[derive(Clone)]
struct Shop {
    id: u64,
    door: Door,
    orders: Vec<Value>,
}

#[derive(Clone)]
struct Town {
    shops: Arc<Mutex<Vec<Shop>>>,
    asked: Arc<Mutex<Vec<String>>>,
    now: Arc<Mutex<Timestamp>>,
    orders: Arc<AtomicUsize>,
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

impl Town {
    fn new(shops: u64) -> Town {
        let shop = |id| Shop { id, door: Door::Open, orders: Vec::new() };
        Town {
            shops: Arc::new(Mutex::new((1..=shops).map(shop).collect())),
            asked: Arc::default(),
            now: Arc::new(Mutex::new(at("2026-02-01T00:00:00Z"))),
            orders: Arc::default(),
        }
    }

    /// `/shops?page=`, where the last of a page is the first of the next as well, and `/../shops/{id}/orders?page=&since=&until=`.
    fn desk(&self) -> Desk {
        let town = self.clone();
        Desk::start(move |path, query| town.answer(path, query))
    }

    fn answer(&self, path: &str, query: &Query) -> (u16, Value) {
        self.asked.lock().unwrap().push(path.to_owned());
        let shops = self.shops.lock().unwrap();
        let page: usize = query.get("page").map_or(1, |page| page.parse().unwrap());
        if path == "/shops" {
            let listed: Vec<Value> =
                shops.iter().filter(|shop| shop.door != Door::Unlisted).map(|shop| json!({ "id": shop.id })).collect();
            let first = ((page - 1) * SHOPS_A_PAGE).saturating_sub(1);
            let rows: Vec<Value> = listed.iter().skip(first).take(page * SHOPS_A_PAGE - first).cloned().collect();
            return (200, json!({ "more": page * SHOPS_A_PAGE < listed.len(), "rows": rows }));
        }
        let id: u64 = path.split('/').rev().nth(1).unwrap().parse().unwrap();
        let Some(shop) = shops.iter().find(|shop| shop.id == id) else { return (404, json!({})) };
        match shop.door {
            Door::Gone => return (404, json!({})),
            Door::Broken => return (500, json!({})),
            Door::Open | Door::Unlisted => {}
        }
        let bound = |name: &str| query.get(name).map_or("", String::as_str).to_owned();
        let (since, until) = (bound("since"), bound("until"));
        let within = |order: &&Value| {
            let at = order["at"].as_str().unwrap();
            at >= since.as_str() && (until.is_empty() || at < until.as_str())
        };
        let rows: Vec<Value> =
            shop.orders.iter().filter(within).skip((page - 1) * ORDERS_A_PAGE).take(ORDERS_A_PAGE).cloned().collect();
        (200, json!({ "more": rows.len() == ORDERS_A_PAGE, "rows": rows }))
    }

    /// Asked for since the last time: the parents, and the orders.
    fn asked(&self) -> (usize, usize) {
        let asked = std::mem::take(&mut *self.asked.lock().unwrap());
        let shops = asked.iter().filter(|path| *path == "/shops").count();
        (shops, asked.len() - shops)
    }

    fn order(&self, shop: usize, at: Timestamp) {
        let id = self.orders.fetch_add(1, Ordering::SeqCst);
        let mut shops = self.shops.lock().unwrap();
        shops[shop].orders.push(json!({ "id": id, "at": format!("{at:.3}"), "text": format!("order {id}") }));
    }

    fn doors(&self, door: impl Fn(usize, Door) -> Door) {
        self.shops.lock().unwrap().iter_mut().enumerate().for_each(|(index, shop)| shop.door = door(index, shop.door));
    }

    fn open(&self) -> usize {
        let mut shops = self.shops.lock().unwrap();
        let id = shops.len() as u64 + 1;
        shops.push(Shop { id, door: Door::Open, orders: Vec::new() });
        shops.len() - 1
    }

    fn now(&self) -> Timestamp {
        *self.now.lock().unwrap()
    }

    fn pass(&self, desk: &Desk, hours: i64) {
        let mut now = self.now.lock().unwrap();
        *now = now.checked_add(SignedDuration::from_hours(hours)).unwrap();
        desk.set_date(&now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string());
    }

    fn truth(&self) -> Vec<Record> {
        let shops = self.shops.lock().unwrap();
        let row = |shop: &Shop, order: &Value| {
            let json = json!({ "id": order["id"], "at": order["at"], "text": order["text"], "shop": shop.id });
            Record { json: json.to_string(), cursor: None }
        };
        shops.iter().flat_map(|shop| shop.orders.iter().map(move |order| row(shop, order))).collect()
    }
}

fn project(desk: &Desk, key: &str, job: &str) -> Project {
    let project = Project::new();
    let source = format!(
        "version = 1\ntype = \"http\"\nbase_url = \"{}\"\nretry = {{ attempts = 1 }}\n\
         [streams.shops]\npath = \"/shops\"\nrecords = \"rows\"\nprimary_key = [\"id\"]\n\
         paging = {{ type = \"page\", param = \"page\", more = \"more\" }}\n\
         [streams.orders]\npath = \"/shops/{{{{ parent.id }}}}/orders\"\nrecords = \"rows\"\n{key}\
         paging = {{ type = \"page\", param = \"page\", more = \"more\" }}\n\
         parent = {{ stream = \"shops\", carry = {{ shop = \"id\" }} }}\n\
         [streams.orders.cursor]\nfield = \"at\"\ntype = \"timestamp\"\nquery = {{ since = \"{{{{ from }}}}\", until = \"{{{{ to }}}}\" }}\n",
        desk.url()
    );
    project.write("sources/api.toml", &source);
    project.write("sinks/lake.toml", "version = 1\ntype = \"parquet\"\nurl = \"lake\"\n");
    let job = format!("version = 1\nsource = \"api\"\nstream = \"orders\"\nsink = \"lake\"\n{job}");
    project.write("jobs/items.toml", &job);
    project
}

/// Appended, without a key: nothing but coverage keeps a row from being there twice.
const APPEND: &str = "mode = \"append\"\n[window]\nstart = \"2026-01-01T00:00:00Z\"\nsettle = \"0s\"\nstep = \"7d\"\n";

fn check(town: &Town, lakes: &[(String, &Project)]) {
    let truth = town.truth();
    let Some(mut oracle) = Oracle::new() else {
        return crate::world::skip("own_cursors", "the independent readers are not installed");
    };
    for (name, project) in lakes {
        oracle.expect(name, &project.at("lake/orders"), &truth);
    }
    oracle.check();
}

/// A town whose shops have orders all over January.
fn town(shops: u64) -> Town {
    let town = Town::new(shops);
    for shop in 0..shops as usize {
        for order in 0..=shop as i64 {
            let day = 1 + (5 * order + shop as i64) % 30;
            town.order(shop, at(&format!("2026-01-{day:02}T08:00:00Z")));
        }
    }
    town
}

#[test]
fn of_every_shop_all_orders_are_there_once_whoever_comes_and_goes() {
    // C-58
    for (seed, key, mode) in
        [(1, "", ""), (2, "", ""), (3, "primary_key = [\"id\"]\n", "merge"), (4, "primary_key = [\"id\"]\n", "")]
    {
        let mut dice = Dice::new(seed);
        let town = town(5);
        let desk = town.desk();
        town.pass(&desk, 0);
        let job = if mode.is_empty() { APPEND.to_owned() } else { APPEND.replace("append", mode) };
        let project = project(&desk, key, &job);
        for _ in 0..9 {
            let before = town.now();
            town.pass(&desk, 30 + dice.below(200) as i64);
            let length = town.now().duration_since(before).as_secs();
            let shops = town.shops.lock().unwrap().len();
            for _ in 0..dice.below(6) {
                let at = before.checked_add(SignedDuration::from_secs(dice.below(length as u64) as i64)).unwrap();
                town.order(dice.below(shops as u64) as usize, at);
            }
            if dice.below(3) == 0 {
                // One whose orders are older than what is covered.
                let shop = town.open();
                town.order(shop, at("2026-01-03T00:00:00Z"));
                town.order(shop, before.checked_sub(SignedDuration::from_secs(60)).unwrap());
            }
            let fates: Vec<u64> = (0..32).map(|_| dice.below(12)).collect();
            town.doors(|shop, _| match fates[shop % 32] {
                0 | 1 => Door::Unlisted,
                2 | 3 => Door::Gone,
                4 => Door::Broken,
                _ => Door::Open,
            });
            let mut call = highwater(&project, &["run", "items"]);
            if dice.below(3) == 0 {
                call = call.env(
                    "HIGHWATER_FAULT",
                    &format!("kill-{}:{}", ["before", "after"][dice.below(2) as usize], 1 + dice.below(60)),
                );
            }
            call.run();
        }
        town.doors(|_, _| Door::Open);
        // Who was missing is read with the next slice that there is.
        town.pass(&desk, 5);
        run(&project);
        check(&town, &[(format!("seed {seed}"), &project)]);
        highwater(&project, &["verify"]).run().expect_code(0);
        // The state is a cache.
        std::fs::remove_dir_all(project.at("state")).unwrap();
        let before = project.listing("lake/orders");
        assert_eq!(run(&project)["counts"]["kept"], 0, "seed {seed}");
        assert_eq!(project.listing("lake/orders"), before, "seed {seed}");
    }
}

#[test]
fn parents_are_asked_for_once_a_run_however_many_slices_it_has() {
    // C-58
    let town = town(7);
    let desk = town.desk();
    town.pass(&desk, 0);
    let project = project(&desk, "", APPEND);
    let report = run(&project);
    assert_eq!(report["counts"]["kept"], town.truth().len(), "{report}");
    assert!(report["mark"].as_str().is_some_and(|mark| mark.starts_with("2026-02-01")), "{report}");
    let (shops, orders) = town.asked();
    assert_eq!(shops, 3, "three pages of parents");
    assert!(orders >= 5 * 7, "{orders} requests for the orders of seven shops in five slices");
    check(&town, &[("slices".to_owned(), &project)]);
    // What is there already is asked for again by nobody.
    town.pass(&desk, 1);
    assert_eq!(run(&project)["commits"], 0);
    assert_eq!(town.asked(), (3, 7));
}

#[test]
fn sets_of_parameters_parents_and_slices_multiply() {
    // C-58
    let town = town(4);
    let desk = town.desk();
    town.pass(&desk, 0);
    let job = APPEND.replace("[window]", "for_each = [{ desk = \"a\" }, { desk = \"b\" }, { desk = \"c\" }]\n[window]");
    let project = project(&desk, "", &job);
    project.edit("sources/api.toml", "\"/shops/{{ parent.id }}/orders\"", "\"/{{ desk }}/shops/{{ parent.id }}/orders\"");
    project.edit("sources/api.toml", "[streams.shops]", "[parameters]\ndesk = { required = true }\n[streams.shops]");
    let report = run(&project);
    assert_eq!(report["counts"]["kept"], 3 * town.truth().len(), "{report}");
    assert_eq!(town.asked().0, 2, "no parent hangs on the set, so that all sets share two pages of them");
    let shop = town.open();
    town.order(shop, at("2026-01-05T00:00:00Z"));
    town.pass(&desk, 5);
    assert_eq!(run(&project)["counts"]["kept"], 3, "in each set");
    assert_eq!(run(&project)["counts"]["kept"], 0);
    highwater(&project, &["verify"]).run().expect_code(0);
    // One more set is read from the beginning, and of the others nothing is read again.
    project.edit("jobs/items.toml", "{ desk = \"c\" }", "{ desk = \"c\" }, { desk = \"d\" }");
    assert_eq!(run(&project)["counts"]["kept"], town.truth().len());
}

#[test]
fn a_table_that_goes_back_knows_the_shops_that_it_knew_then() {
    // C-58, D-67
    let town = town(3);
    let desk = town.desk();
    town.pass(&desk, 0);
    let project = project(&desk, "", APPEND);
    run(&project);
    let seq = run(&project)["mark"].as_str().map(|_| project.listing("lake/_highwater/orders/log").len()).unwrap().to_string();
    let then = project.listing("lake/orders").len();
    // One that was never met, with orders from before; one that is missing; and an order after all of that.
    let shop = town.open();
    town.order(shop, at("2026-01-05T00:00:00Z"));
    town.doors(|shop, _| if shop == 2 { Door::Gone } else { Door::Open });
    town.order(0, at("2026-02-01T02:00:00Z"));
    town.order(2, at("2026-02-01T03:00:00Z"));
    town.pass(&desk, 5);
    run(&project);
    town.doors(|_, _| Door::Open);
    town.pass(&desk, 5);
    assert_eq!(run(&project)["counts"]["kept"], 1, "what the missing one had");

    highwater(&project, &["state", "rollback", "items", "--to", &seq, "--yes"]).run().expect_code(0);
    assert_eq!(project.listing("lake/orders").len(), then);
    highwater(&project, &["verify"]).run().expect_code(0);
    assert_eq!(run(&project)["counts"]["kept"], 3, "the new shop's, and what came since");
    check(&town, &[("back".to_owned(), &project)]);
    assert_eq!(run(&project)["counts"]["kept"], 0);
    // The log alone tells the same.
    std::fs::remove_dir_all(project.at("state")).unwrap();
    highwater(&project, &["state", "rebuild", "items"]).run().expect_code(0);
    assert_eq!(run(&project)["counts"]["kept"], 0);
    highwater(&project, &["verify"]).run().expect_code(0);
}

/// What several runs learned of shops is joined into one file now and then; going back brings the several files back.
#[test]
fn a_table_that_goes_back_over_joined_files_of_parents_knows_each_of_them() {
    // C-58, D-67
    let town = town(2);
    let desk = town.desk();
    town.pass(&desk, 0);
    let project = project(&desk, "", APPEND);
    run(&project);
    let log = |project: &Project| project.listing("lake/_highwater/orders/log").len();
    let files = |project: &Project| project.listing("lake/_highwater/orders/parents").len();
    let mut before = (0, 0);
    // Each run meets a new shop with an order from before, and another shop is missing.
    for turn in 0.. {
        assert!(turn < 40, "files of parents are never joined: {before:?}");
        let shop = town.open();
        town.order(shop, at("2026-01-05T00:00:00Z"));
        town.doors(|index, _| if index == turn % 3 { Door::Gone } else { Door::Open });
        town.pass(&desk, 5);
        town.order(turn % 3, town.now().checked_sub(SignedDuration::from_hours(1)).unwrap());
        run(&project);
        if files(&project) < before.0 {
            break;
        }
        before = (files(&project), log(&project));
    }
    assert!(before.0 > 2, "{before:?}");
    highwater(&project, &["state", "rollback", "items", "--to", &before.1.to_string(), "--yes"]).run().expect_code(0);
    assert_eq!(files(&project), before.0);
    town.doors(|_, _| Door::Open);
    town.pass(&desk, 5);
    run(&project);
    check(&town, &[("back".to_owned(), &project)]);
    assert_eq!(run(&project)["counts"]["kept"], 0);
    highwater(&project, &["verify"]).run().expect_code(0);
    std::fs::remove_dir_all(project.at("state")).unwrap();
    highwater(&project, &["state", "rebuild", "items"]).run().expect_code(0);
    assert_eq!(run(&project)["counts"]["kept"], 0);
}

#[test]
fn without_the_table_of_parents_what_a_new_shop_had_is_lost() {
    // C-58
    let town = town(3);
    let desk = town.desk();
    town.pass(&desk, 0);
    let project = project(&desk, "", APPEND);
    run(&project);
    let shop = town.open();
    town.order(shop, at("2026-01-05T00:00:00Z"));
    town.pass(&desk, 5);
    let call = highwater(&project, &["run", "items", "--json"]).env("HIGHWATER_MUTANT", "known_parents");
    assert_eq!(call.run().expect_code(0).json()[0]["counts"]["kept"], 0, "the mutant reads it, so that it guards nothing");
    let other = town.open();
    town.order(other, at("2026-01-05T00:00:00Z"));
    town.pass(&desk, 5);
    assert_eq!(run(&project)["counts"]["kept"], 1);
}

#[test]
fn killed_at_every_effect_while_a_shop_comes_and_another_one_is_missing() {
    // C-58, D-01
    let town = town(3);
    let desk = town.desk();
    let prepare = || {
        let project = project(&desk, "", &APPEND.replace("step = \"7d\"\n", ""));
        highwater(&project, &["run", "items"]).run().expect_code(0);
        project
    };
    // The town stands still while lives are prepared: all of them begin with the same first run.
    town.pass(&desk, 0);
    let mut lives: Vec<Project> = (0..60).map(|_| prepare()).collect();
    let shop = town.open();
    town.order(shop, at("2026-01-05T00:00:00Z"));
    town.order(1, at("2026-02-01T02:00:00Z"));
    town.order(2, at("2026-02-01T03:00:00Z"));
    town.doors(|shop, _| if shop == 2 { Door::Gone } else { Door::Open });
    town.pass(&desk, 5);
    let counting = lives.pop().unwrap();
    let log = counting.at("effects.txt");
    highwater(&counting, &["run", "items"])
        .env("HIGHWATER_FAULT", "count")
        .env("HIGHWATER_FAULT_LOG", &log.to_string_lossy())
        .run()
        .expect_code(0);
    let effects = std::fs::read_to_string(log).unwrap().lines().count();
    assert!(effects >= 20, "only {effects} effects");
    let mut lived = vec![("counted".to_owned(), counting)];
    // Every effect from the first write on, one side each, as many as there are lives.
    let places: Vec<usize> = (1..=effects).rev().take(lives.len()).collect();
    for place in places {
        let project = lives.pop().unwrap();
        let side = ["before", "after"][place % 2];
        let died = highwater(&project, &["run", "items"]).env("HIGHWATER_FAULT", &format!("kill-{side}:{place}")).run();
        assert_eq!(died.signal, Some(SIGKILL), "{side} {place}");
        highwater(&project, &["run", "items"]).run().expect_code(0);
        lived.push((format!("killed {side} effect {place}"), project));
    }
    // The shop that was gone is there again, with what it had meanwhile.
    town.doors(|_, _| Door::Open);
    town.pass(&desk, 5);
    for (_, project) in &lived {
        run(project);
        assert_eq!(run(project)["commits"], 0);
    }
    let lakes: Vec<(String, &Project)> = lived.iter().map(|(name, project)| (name.clone(), project)).collect();
    for some in lakes.chunks(40) {
        check(&town, some);
    }
}
