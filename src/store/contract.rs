//! What every store promises, as one suite that runs on each of them.

use bytes::Bytes;
use futures::future::join_all;

use super::{Published, PutAbsent, Store};
use crate::error::ErrorKind;

const ROOM: u64 = 1 << 20;

/// Runs the suite in an empty store; everything it makes lies under `contract/` and is gone afterwards.
///
/// # Panics
/// Where the store breaks the contract.
pub async fn store_contract(store: &dyn Store) {
    absent_is_decided_once(store).await;
    one_of_many_decides(store).await;
    put_replaces(store).await;
    reading_is_exact(store).await;
    names_are_taken_as_they_stand(store).await;
    listings_are_ordered_and_keep_to_the_folder(store).await;
    staged_objects_appear_when_finished(store).await;
    a_staged_object_of_many_parts_is_whole(store).await;
    an_abandoned_object_never_appears(store).await;
    publishing_repeats(store).await;
    publishing_without_its_object_says_so(store).await;
    publishing_never_replaces_another_object(store).await;
    deleting_repeats(store).await;
    let left = list(store, "contract").await;
    assert!(left.is_empty(), "everything was deleted: {left:?}");
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

async fn read(store: &dyn Store, path: &str) -> Option<Bytes> {
    store.get(path, ROOM).await.expect("get answers")
}

async fn put(store: &dyn Store, path: &str, text: &str) {
    store.put(path, bytes(text)).await.expect("put succeeds");
}

async fn delete(store: &dyn Store, path: &str) {
    store.delete(path).await.expect("delete succeeds");
}

async fn list(store: &dyn Store, prefix: &str) -> Vec<String> {
    store.list(prefix).await.expect("list answers").into_iter().map(|listed| listed.path).collect()
}

async fn stage(store: &dyn Store, path: &str, pieces: &[Bytes]) -> u64 {
    let mut writer = store.stage(path).await.expect("stage opens");
    for piece in pieces {
        writer.write(piece.clone()).await.expect("write succeeds");
    }
    writer.finish().await.expect("finish succeeds")
}

async fn absent_is_decided_once(store: &dyn Store) {
    let path = "contract/log/00000000000000000001.json";
    assert_eq!(store.put_absent(path, bytes("first")).await.expect("put_absent answers"), PutAbsent::Written);
    assert_eq!(store.put_absent(path, bytes("second")).await.expect("put_absent answers"), PutAbsent::Exists);
    assert_eq!(store.put_absent(path, bytes("first")).await.expect("put_absent answers"), PutAbsent::Exists);
    assert_eq!(read(store, path).await, Some(bytes("first")), "the first stays");
    delete(store, path).await;
}

async fn one_of_many_decides(store: &dyn Store) {
    let path = "contract/log/00000000000000000002.json";
    let tries = (0..8).map(|n| async move { (n, store.put_absent(path, bytes(&format!("rival {n}"))).await) });
    let mut winners = Vec::new();
    for (n, answer) in join_all(tries).await {
        if let Ok(PutAbsent::Written) = answer {
            winners.push(n);
        }
    }
    assert!(winners.len() <= 1, "two rivals were told that they decided: {winners:?}");
    let found = read(store, path).await.expect("somebody decided");
    if let [winner] = winners[..] {
        assert_eq!(found, bytes(&format!("rival {winner}")));
    }
    delete(store, path).await;
}

async fn put_replaces(store: &dyn Store) {
    let path = "contract/current.json";
    put(store, path, "one, and longer").await;
    put(store, path, "two").await;
    put(store, path, "two").await;
    assert_eq!(read(store, path).await, Some(bytes("two")));
    delete(store, path).await;
}

async fn reading_is_exact(store: &dyn Store) {
    let path = "contract/read";
    assert_eq!(read(store, path).await, None);
    assert_eq!(store.size(path).await.expect("size answers"), None);
    put(store, path, "0123456789").await;
    assert_eq!(store.size(path).await.expect("size answers"), Some(10));
    assert_eq!(store.get(path, 10).await.expect("ten bytes are allowed"), Some(bytes("0123456789")));
    let above = store.get(path, 9).await.expect_err("nine bytes are not enough");
    assert_eq!(above.kind, ErrorKind::Data);
    assert_eq!(store.get_range(path, 3..6).await.expect("the range is there"), bytes("345"));
    assert_eq!(store.get_range(path, 3..3).await.expect("an empty range is nothing"), Bytes::new());
    store.get_range(path, 8..12).await.expect_err("a range that ends behind the object is an error, not a shorter answer");
    store.get_range("contract/none", 0..1).await.expect_err("there is nothing to read");
    put(store, path, "").await;
    assert_eq!(read(store, path).await, Some(Bytes::new()), "an empty object is an object");
    delete(store, path).await;
}

async fn names_are_taken_as_they_stand(store: &dyn Store) {
    let names = ["contract/n/c=a%2Fb/x", "contract/n/c=a b+&ü€/x", "contract/n/c=2026-01-01 00%3A00/x"];
    for name in names {
        put(store, name, name).await;
        assert_eq!(read(store, name).await, Some(bytes(name)), "{name}");
    }
    let mut sorted: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    sorted.sort();
    assert_eq!(list(store, "contract/n").await, sorted);
    for name in names {
        delete(store, name).await;
    }
    for name in ["", "/contract/x", "contract/../x", "contract//x", "contract/./x", "contract/"] {
        let error = store.put(name, bytes("x")).await.expect_err("no path below the root");
        assert_eq!(error.kind, ErrorKind::Bug, "{name}");
    }
    assert!(store.address("contract/x").ends_with("/contract/x"));
}

async fn listings_are_ordered_and_keep_to_the_folder(store: &dyn Store) {
    let paths = ["contract/l/b/2", "contract/l/b/10", "contract/l/a", "contract/lx/c"];
    for path in paths {
        put(store, path, "four").await;
    }
    assert_eq!(list(store, "contract/l").await, ["contract/l/a", "contract/l/b/10", "contract/l/b/2"]);
    assert_eq!(list(store, "contract/none").await, Vec::<String>::new());
    let listed = store.list("contract/lx").await.expect("list answers");
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].size, 4);
    for path in paths {
        delete(store, path).await;
    }
}

async fn staged_objects_appear_when_finished(store: &dyn Store) {
    let path = "contract/staging/b1/1.staged";
    let mut writer = store.stage(path).await.expect("stage opens");
    writer.write(bytes("some ")).await.expect("write succeeds");
    assert_eq!(store.size(path).await.expect("size answers"), None, "nothing is seen before the end");
    writer.write(bytes("rows")).await.expect("write succeeds");
    assert_eq!(writer.finish().await.expect("finish succeeds"), 9);
    assert_eq!(read(store, path).await, Some(bytes("some rows")));
    writer.finish().await.expect_err("it is finished");
    writer.write(bytes("more")).await.expect_err("it is finished");
    // A second try of the same batch writes the same name.
    assert_eq!(stage(store, path, &[bytes("again")]).await, 5);
    assert_eq!(read(store, path).await, Some(bytes("again")));
    delete(store, path).await;
}

async fn a_staged_object_of_many_parts_is_whole(store: &dyn Store) {
    let path = "contract/staging/b1/2.staged";
    // Odd lengths, one of them above the length of a part.
    let pieces: Vec<Bytes> = [9 << 20, 1, 7_654_321, 0, 4_000_003]
        .iter()
        .enumerate()
        .map(|(n, length)| (0..*length).map(|at: usize| (at * 31 + n * 7) as u8).collect())
        .collect();
    let whole: Vec<u8> = pieces.concat();
    assert_eq!(stage(store, path, &pieces).await, whole.len() as u64);
    let found = store.get(path, u64::MAX).await.expect("get answers").expect("it is there");
    assert!(found == whole, "the parts came together in order");
    let target = "contract/t/big.parquet";
    assert_eq!(store.publish(path, target, whole.len() as u64).await.expect("publish succeeds"), Published::Done);
    let tail = store.get_range(target, whole.len() as u64 - 8..whole.len() as u64).await.expect("the range is there");
    assert_eq!(tail, whole[whole.len() - 8..]);
    delete(store, path).await;
    delete(store, target).await;
}

async fn an_abandoned_object_never_appears(store: &dyn Store) {
    let path = "contract/staging/b1/3.staged";
    for length in [10, 9 << 20] {
        let mut writer = store.stage(path).await.expect("stage opens");
        writer.write(Bytes::from(vec![1; length])).await.expect("write succeeds");
        writer.abort().await;
        writer.abort().await;
        writer.write(bytes("x")).await.expect_err("it was given up");
        writer.finish().await.expect_err("it was given up");
        let mut dropped = store.stage(path).await.expect("stage opens");
        dropped.write(Bytes::from(vec![1; length])).await.expect("write succeeds");
        drop(dropped);
        assert_eq!(store.size(path).await.expect("size answers"), None);
    }
    delete(store, path).await;
}

async fn publishing_repeats(store: &dyn Store) {
    let (staged, target) = ("contract/staging/b2/1.staged", "contract/t/month=2026-01/part-1.parquet");
    let size = stage(store, staged, &[bytes("rows")]).await;
    // Three times: as a retry, and as a recovery that finds the staged object dropped.
    assert_eq!(store.publish(staged, target, size).await.expect("publish succeeds"), Published::Done);
    assert_eq!(store.publish(staged, target, size).await.expect("publish repeats"), Published::Done);
    delete(store, staged).await;
    assert_eq!(store.publish(staged, target, size).await.expect("publish repeats"), Published::Done);
    assert_eq!(read(store, target).await, Some(bytes("rows")));
    assert_eq!(store.size(staged).await.expect("size answers"), None);
    delete(store, target).await;
}

async fn publishing_without_its_object_says_so(store: &dyn Store) {
    let answer = store.publish("contract/staging/b3/1.staged", "contract/t/none.parquet", 4).await;
    assert_eq!(answer.expect("publish answers"), Published::StagedMissing);
    assert_eq!(store.size("contract/t/none.parquet").await.expect("size answers"), None);
}

async fn publishing_never_replaces_another_object(store: &dyn Store) {
    let (staged, target) = ("contract/staging/b4/1.staged", "contract/t/taken.parquet");
    put(store, target, "not ours").await;
    let size = stage(store, staged, &[bytes("rows")]).await;
    let error = store.publish(staged, target, size).await.expect_err("another object stands there");
    assert_eq!(error.kind, ErrorKind::Data);
    assert_eq!(read(store, target).await, Some(bytes("not ours")));
    delete(store, staged).await;
    delete(store, target).await;
}

async fn deleting_repeats(store: &dyn Store) {
    let path = "contract/deleted";
    put(store, path, "x").await;
    delete(store, path).await;
    delete(store, path).await;
    assert_eq!(read(store, path).await, None);
}
