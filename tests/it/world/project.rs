//! A user's project in a folder of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::api::{FakeApi, Pages};
use super::bucket::Bucket;
use super::kind::Tried;

pub struct Project {
    folder: TempDir,
    tried: Option<Tried>,
}

impl Project {
    /// An empty project: `config.toml` alone.
    pub fn new() -> Self {
        let project = Project { folder: tempfile::tempdir().unwrap(), tried: None };
        project.write("config.toml", "version = 1\n");
        project
    }

    /// The job `items`: stream `items` of the fake API into the local sink `lake`, partitioned by month.
    pub fn of_items(api: &FakeApi, pages: &Pages, page_size: usize) -> Self {
        let project = Project::new();
        project.write("sources/api.toml", &source(&api.url(), pages, page_size));
        project.write("sinks/lake.toml", "version = 1\ntype = \"parquet\"\nurl = \"lake\"\n");
        project.write("jobs/items.toml", &job(""));
        project
    }

    /// The same with the sink in a bucket.
    pub fn of_items_in(bucket: &Bucket, endpoint: &str, api: &FakeApi, pages: &Pages, page_size: usize) -> Self {
        let project = Project::of_items(api, pages, page_size);
        project.write("sinks/lake.toml", &bucket.sink(endpoint));
        project
    }

    /// The same with the sink that this file describes.
    pub fn of_items_to(sink: &str, api: &FakeApi, pages: &Pages, page_size: usize) -> Self {
        let project = Project::of_items(api, pages, page_size);
        project.write("sinks/lake.toml", sink);
        project
    }

    /// Whenever the program works here, its kinds of table are noted.
    pub fn witnessed(mut self, tried: &Tried) -> Self {
        self.tried = Some(tried.clone());
        self
    }

    /// The program is about to work here.
    pub fn is_tried(&self) {
        if let Some(tried) = &self.tried {
            tried.saw_sinks_of(self.path());
        }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub fn write(&self, path: &str, text: &str) {
        let target = self.at(path);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::write(target, text).unwrap();
    }

    /// Changes a file: every `from` becomes `to`; there must be one.
    pub fn edit(&self, path: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.at(path)).unwrap();
        assert!(text.contains(from), "{path} holds no {from:?}:\n{text}");
        self.write(path, &text.replace(from, to));
    }

    /// Every file below a folder with its bytes' length and time of change; nothing if there is no such folder.
    pub fn listing(&self, folder: &str) -> BTreeMap<String, (u64, std::time::SystemTime)> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.at(folder)];
        while let Some(folder) = folders.pop() {
            let Ok(entries) = std::fs::read_dir(&folder) else { continue };
            for entry in entries {
                let entry = entry.unwrap();
                let about = entry.metadata().unwrap();
                if about.is_dir() {
                    folders.push(entry.path());
                } else {
                    let name = entry.path().strip_prefix(self.path()).unwrap().to_string_lossy().into_owned();
                    found.insert(name, (about.len(), about.modified().unwrap()));
                }
            }
        }
        found
    }
}

/// The source's file for the fake API.
pub fn source(url: &str, pages: &Pages, page_size: usize) -> String {
    let (paging, records) = match pages {
        Pages::None => ("type = \"none\"".to_owned(), "data"),
        Pages::Page => ("type = \"page\", param = \"page\", total_pages = \"total_pages\"".to_owned(), "data"),
        Pages::Offset => (
            format!(
                "type = \"offset\", offset_param = \"offset\", limit_param = \"limit\", page_size = {page_size}, total = \"total\""
            ),
            "data",
        ),
        Pages::Token | Pages::Endless | Pages::SameToken => {
            ("type = \"page_token\", token = \"next_token\", param = \"token\"".to_owned(), "data")
        }
        Pages::NextUrl | Pages::NextUrlIs(_) => ("type = \"next_url\", url = \"next\"".to_owned(), "data"),
        Pages::LinkHeader => ("type = \"link_header\"".to_owned(), ""),
    };
    format!(
        "version = 1\ntype = \"http\"\nbase_url = \"{url}\"\ntimeout = \"20s\"\n\n[streams.items]\npath = \"/items\"\nrecords = \"{records}\"\n\
         primary_key = [\"id\"]\npaging = {{ {paging} }}\n[streams.items.cursor]\nfield = \"updated_at\"\ntype = \"timestamp\"\n\
         query = {{ from = \"{{{{ from }}}}\", to = \"{{{{ to }}}}\" }}\n"
    )
}

/// The job's file; `more` is put in front of its tables.
pub fn job(more: &str) -> String {
    format!(
        "version = 1\nsource = \"api\"\nstream = \"items\"\nsink = \"lake\"\nmode = \"append\"\npartition_by = [\"month(updated_at)\"]\n{more}\n\
         [window]\nstart = \"2026-01-01T00:00:00Z\"\n"
    )
}
