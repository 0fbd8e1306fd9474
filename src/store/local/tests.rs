use super::*;
use crate::store::contract::store_contract;

fn stage_path(n: u32) -> String {
    format!("_highwater/orders/staging/b1/{n}.staged")
}

async fn staged(store: &LocalStore, path: &str, text: &'static str) -> u64 {
    let mut writer = store.stage(path).await.unwrap();
    writer.write(Bytes::from_static(text.as_bytes())).await.unwrap();
    writer.finish().await.unwrap()
}

#[tokio::test]
async fn keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    store_contract(&LocalStore::new(&folder.path().join("made/by the/first #write"))).await;
}

#[tokio::test]
async fn looking_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("lake");
    let store = LocalStore::new(&root);
    assert_eq!(store.get("a", 10).await.unwrap(), None);
    assert_eq!(store.size("a").await.unwrap(), None);
    assert_eq!(store.list("a").await.unwrap(), vec![]);
    store.delete("a").await.unwrap();
    assert!(!root.exists());
}

#[tokio::test]
async fn a_file_in_place_of_the_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("lake");
    fs::write(&root, "x").unwrap();
    let error = LocalStore::new(&root).put("a", Bytes::new()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.contains("not a folder"), "{error}");
}

#[tokio::test]
async fn publishing_moves_and_clears_the_staging_folder() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::new(folder.path());
    for n in 1..=2 {
        staged(&store, &stage_path(n), "rows").await;
    }
    let staging = folder.path().join("_highwater/orders/staging/b1");
    store.publish(&stage_path(1), "orders/month=1/a.parquet", 4).await.unwrap();
    assert!(staging.exists(), "one file is still there");
    store.publish(&stage_path(2), "orders/month=1/b.parquet", 4).await.unwrap();
    assert!(!staging.exists());
    assert_eq!(fs::read(folder.path().join("orders/month=1/a.parquet")).unwrap(), b"rows");
}

#[tokio::test]
async fn files_published_side_by_side_all_arrive() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::new(folder.path());
    for n in 0..20 {
        staged(&store, &stage_path(n), "rows").await;
    }
    let targets: Vec<(String, String)> = (0..20).map(|n| (stage_path(n), format!("t/p={}/{n}.parquet", n % 3))).collect();
    let all = targets.iter().map(|(staged, target)| store.publish(staged, target, 4));
    for done in futures::future::join_all(all).await {
        assert_eq!(done.unwrap(), Published::Done);
    }
    assert_eq!(store.list("t").await.unwrap().len(), 20);
}

#[tokio::test]
async fn what_a_killed_write_left_is_unseen_and_goes_with_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::new(folder.path());
    staged(&store, &stage_path(1), "rows").await;
    let left = folder.path().join(format!("{}#1", stage_path(1)));
    fs::write(&left, "ro").unwrap();
    assert_eq!(store.list("_highwater").await.unwrap().len(), 1);
    // The leftover is not written into: the next try takes another name.
    staged(&store, &stage_path(1), "rows again").await;
    assert_eq!(fs::read(&left).unwrap(), b"ro");
    store.delete(&stage_path(1)).await.unwrap();
    assert!(!left.exists());
    assert!(!folder.path().join("_highwater/orders/staging/b1").exists());
    assert!(folder.path().exists());
}

#[tokio::test]
async fn a_root_behind_a_link_is_left_standing() {
    let folder = tempfile::tempdir().unwrap();
    let (real, link) = (folder.path().join("real"), folder.path().join("link"));
    fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let store = LocalStore::new(&link);
    store.put_absent("a", Bytes::new()).await.unwrap();
    assert_eq!(store.put_absent("a", Bytes::new()).await.unwrap(), PutAbsent::Exists);
    store.delete("a").await.unwrap();
    assert!(real.exists());
    assert_eq!(store.address("a"), link.join("a").display().to_string());
}

#[tokio::test]
async fn a_read_only_folder_is_an_operators_matter() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("lake");
    fs::create_dir(&root).unwrap();
    fs::set_permissions(&root, fs::Permissions::from_mode(0o555)).unwrap();
    let put = LocalStore::new(&root).put("a", Bytes::new()).await;
    // The superuser may write anywhere.
    if let Err(error) = put {
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.to_string().ends_with("permission denied"), "{error}");
        let before = look_for_room(&root.join("deeper")).unwrap_err();
        assert!(before.kind == ErrorKind::Config && before.to_string().ends_with("permission denied"), "{before}");
    }
}

#[test]
fn room_is_looked_for_without_a_trace() {
    let folder = tempfile::tempdir().unwrap();
    look_for_room(&folder.path().join("a/b")).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    fs::write(folder.path().join("file"), "").unwrap();
    for path in ["file", "file/lake"] {
        let error = look_for_room(&folder.path().join(path)).unwrap_err();
        assert!(error.kind == ErrorKind::Config && error.to_string().ends_with("is a file, not a folder"), "{error}");
    }
}

#[tokio::test]
async fn a_staged_file_of_another_size_is_not_published() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::new(folder.path());
    staged(&store, &stage_path(1), "row").await;
    let error = store.publish(&stage_path(1), "t/a.parquet", 4).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Data);
    assert_eq!(store.size("t/a.parquet").await.unwrap(), None);
}

/// A file that is begun: more than one part of it is written.
async fn begun(store: &LocalStore, path: &str) -> Box<dyn StagedWriter> {
    let mut writer = store.stage(path).await.unwrap();
    for _ in 0..5 {
        writer.write(Bytes::from(vec![7; PART.length(1)])).await.unwrap();
    }
    writer
}

#[tokio::test]
async fn what_is_given_up_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::new(folder.path());
    let staging = folder.path().join("_highwater/orders/staging/b1");
    let files = || fs::read_dir(&staging).unwrap().count();
    let mut writer = begun(&store, &stage_path(1)).await;
    assert_eq!(files(), 1);
    writer.abort().await;
    assert_eq!(files(), 0, "it was told to go");
    drop(begun(&store, &stage_path(1)).await);
    // It goes off this thread.
    for _ in 0..500 {
        if files() == 0 {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("what was dropped stays");
}

#[tokio::test]
async fn two_writers_of_one_file_do_not_meet() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::new(folder.path());
    let (mut one, mut other) = (begun(&store, &stage_path(1)).await, begun(&store, &stage_path(1)).await);
    other.write(Bytes::from_static(b"end")).await.unwrap();
    assert_eq!(one.finish().await.unwrap(), 5 * PART.length(1) as u64);
    assert_eq!(other.finish().await.unwrap(), 5 * PART.length(1) as u64 + 3);
    assert_eq!(store.size(&stage_path(1)).await.unwrap(), Some(5 * PART.length(1) as u64 + 3), "the later one stands");
}

#[tokio::test]
async fn a_file_that_lost_bytes_before_its_end_never_stands_there() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::new(folder.path());
    let mut writer = begun(&store, &stage_path(1)).await;
    let there = folder.path().join(format!("{}#1", stage_path(1)));
    File::options().write(true).open(&there).unwrap().set_len(10).unwrap();
    let error = writer.finish().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains("but the store tells of `10`"), "{error}");
    assert_eq!(store.size(&stage_path(1)).await.unwrap(), None);
}

#[tokio::test]
async fn of_many_files_less_waits_in_memory() {
    const FILES: u32 = 200;
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::new(folder.path());
    let on_disk = || fs::read_dir(folder.path().join("_highwater/orders/staging/b1")).map_or(0, Iterator::count);
    let bytes = Bytes::from(vec![7; 50_000]);
    let mut first = store.stage(&stage_path(0)).await.unwrap();
    first.write(bytes.clone()).await.unwrap();
    assert_eq!(on_disk(), 0, "one file waits for more");
    let mut others = Vec::new();
    for number in 1..FILES {
        others.push(store.stage(&stage_path(number)).await.unwrap());
    }
    for writer in &mut others {
        writer.write(bytes.clone()).await.unwrap();
    }
    assert_eq!(on_disk() as u32, FILES - 1, "8 MiB over 200 files are 40 KB of each");
    for writer in &mut others {
        assert_eq!(writer.finish().await.unwrap(), 50_000);
    }
    drop(others);
    first.write(bytes.clone()).await.unwrap();
    assert_eq!(on_disk() as u32, FILES - 1, "it is alone again");
    assert_eq!(first.finish().await.unwrap(), 100_000);
    assert_eq!(store.get(&stage_path(0), 1 << 20).await.unwrap().map(|found| found.len()), Some(100_000));
}

#[tokio::test]
async fn what_was_being_written_is_found_and_taken_by_its_own_name() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::new(folder.path());
    assert_eq!(LocalStore::new(&folder.path().join("nowhere")).unfinished("a").await.unwrap(), vec![]);
    assert_eq!(store.unfinished("a").await.unwrap(), vec![]);
    store.put("a/b/whole.json", Bytes::from_static(b"whole")).await.unwrap();
    for name in [
        "a/b/whole.json#1",
        "a/b/whole.json#13",
        "a/c/other#2",
        "a/b/#1",
        "a/b/x#",
        "a/b/x#+1",
        "a/b/x#1.json",
        "a/b/x#1#2",
        "z#1",
    ] {
        fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
        fs::write(folder.path().join(name), "half").unwrap();
    }
    // A name of several bytes that are no text, and a link out of the folder.
    use std::os::unix::ffi::OsStrExt;
    fs::write(folder.path().join("a").join(std::ffi::OsStr::from_bytes(b"\xff#1")), "half").unwrap();
    std::os::unix::fs::symlink(folder.path(), folder.path().join("a/loop")).unwrap();
    std::os::unix::fs::symlink(folder.path().join("z#1"), folder.path().join("a/link#1")).unwrap();
    let found = store.unfinished("a").await.unwrap();
    let names: Vec<_> = found.iter().map(|listed| (listed.path.as_str(), listed.size)).collect();
    assert_eq!(names, [("a/b/whole.json#1", 4), ("a/b/whole.json#13", 4), ("a/c/other#2", 4)]);
    for listed in &found {
        store.delete(&listed.path).await.unwrap();
        store.delete(&listed.path).await.unwrap();
    }
    assert_eq!(store.get("a/b/whole.json", 10).await.unwrap(), Some(Bytes::from_static(b"whole")));
    assert!(!folder.path().join("a/c").exists() && folder.path().join("z#1").exists());
    assert_eq!(store.unfinished("a").await.unwrap(), vec![]);
}
