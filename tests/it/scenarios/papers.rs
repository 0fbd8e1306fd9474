//! What the papers show must work as it stands there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::rust_text::read;
use crate::world::program::highwater;
use crate::world::project::Project;

/// The TOML examples of a paper, in order.
fn examples(paper: &str) -> Vec<String> {
    let text = read(paper);
    let blocks = text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.map(str::to_owned).collect()
}

#[test]
fn the_readmes_first_job_is_a_project_without_problems() {
    let examples = examples("README.md");
    let [source, sink, job] = examples.as_slice() else { panic!("README shows {} files", examples.len()) };
    let project = Project::new();
    project.write("sources/shop.toml", source);
    project.write("sinks/lake.toml", sink);
    project.write("jobs/orders.toml", job);
    let checked = highwater(&project, &["check"]).run().expect_code(0);
    let shown: String = checked.stdout.lines().map(|line| format!("    {line}\n")).collect();
    assert!(read("README.md").contains(&format!("    $ highwater check\n{shown}")), "README shows another answer than\n{shown}");
}

#[test]
fn readme_names_every_command_and_no_other() {
    let project = Project::new();
    let help = highwater(&project, &["--help"]).run().expect_code(0).stdout;
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let readme = read("README.md");
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| `highwater "));
    let named: Vec<&str> = rows.filter_map(|row| row.split([' ', '`']).next()).collect();
    for command in &commands {
        assert!(named.contains(command), "README does not name `{command}`");
    }
    for name in named {
        assert!(commands.contains(&name), "README names `{name}`, which is no command");
    }
}

#[test]
fn the_paper_on_sources_names_every_key_and_every_word_of_their_schema() {
    let schema = highwater(&Project::new(), &["schema", "source"]).run().expect_code(0).json();
    let mut known = BTreeSet::new();
    words(&schema, &mut known);
    assert!(known.len() > 150, "{known:?}");
    let named = code(&read("docs/sources.md"));
    let lacking: Vec<_> = known.iter().filter(|word| !named.contains(*word)).collect();
    assert!(lacking.is_empty(), "docs/sources.md does not name {lacking:?}");
}

/// The names of all keys in a schema, and the words that one has to choose from.
fn words(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(entries) => {
            for (name, value) in entries {
                match (name.as_str(), value) {
                    ("properties", Value::Object(keys)) => found.extend(keys.keys().cloned()),
                    ("enum", Value::Array(words)) => found.extend(words.iter().filter_map(Value::as_str).map(str::to_owned)),
                    ("const", Value::String(word)) => found.extend([word.clone()]),
                    _ => {}
                }
                words(value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| words(item, found)),
        _ => {}
    }
}

/// The words of a paper's code: blocks, lines that are set in, and what stands between backticks.
fn code(paper: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut in_block = false;
    for line in paper.lines() {
        let is_fence = line.starts_with("```");
        in_block ^= is_fence;
        let pieces: Vec<&str> = match in_block || is_fence || line.starts_with("    ") {
            true => vec![line],
            false => line.split('`').skip(1).step_by(2).collect(),
        };
        for piece in pieces {
            found.extend(piece.split(|sign: char| !sign.is_ascii_alphanumeric() && sign != '_').map(str::to_owned));
        }
    }
    found
}

#[test]
fn every_example_in_toml_is_taken_by_check() {
    // Each of them in a project around it, all projects' files in one.
    let (mut all, mut found) = (Files::new(), Vec::new());
    for (number, example) in examples("docs/sources.md").iter().enumerate() {
        let mut files = Files::new();
        put_in(&mut files, example, &format!("s{number}"));
        complete(&mut files);
        all.extend(files);
    }
    for (paper, source) in [("docs/sinks.md", "sinks"), ("docs/guide.md", "guide")] {
        for (number, example) in examples(paper).iter().enumerate() {
            let mut files = Files::new();
            put_in(&mut files, example, &format!("{source}{number}"));
            // Settings of several examples would not go together.
            found.extend(wrong(&completed(files), &format!("{paper}, example {number}")));
        }
    }
    found.extend(wrong(&all, "docs/sources.md"));

    // This paper builds one project, step by step, and says when it can be checked first.
    let mut files = Files::new();
    for (number, example) in examples("docs/describe-an-api.md").iter().enumerate() {
        put_in(&mut files, example, "nvd");
        if number >= 3 {
            found.extend(wrong(&files, &format!("docs/describe-an-api.md, up to example {number}")));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The files of a project, by their names.
type Files = BTreeMap<String, toml::Table>;

/// Keys of a source, apart from its streams, and of a sink; what else stands alone is a stream's or a job's.
const OF_SOURCE: &[&str] = &["auth", "limits", "errors", "parameters", "tls", "streams", "base_url"];
const OF_JOB: &[&str] = &["schedule", "steps", "window", "columns", "for_each", "partition_by", "retain", "mode"];

/// Puts an example where it belongs: into the file that its first line names, else into the source of this name or its job.
fn put_in(files: &mut Files, example: &str, source: &str) {
    let mut new: toml::Table = example.parse().unwrap_or_else(|error| panic!("{error} in\n{example}"));
    let first = example.lines().next().unwrap_or_default();
    let named = first.strip_prefix("# ").filter(|name| name.ends_with(".toml"));
    let job = if source == "nvd" { "cves" } else { source };
    let has = |keys: &[&str]| keys.iter().any(|key| new.contains_key(*key));
    let file = match named {
        Some(name) => name.to_owned(),
        None if new.get("type").is_some_and(|kind| kind.as_str() != Some("http")) => format!("sinks/{source}.toml"),
        None if has(OF_JOB) => format!("jobs/{job}.toml"),
        None if has(OF_SOURCE) => format!("sources/{source}.toml"),
        None => {
            let stream = if source == "nvd" { "cves" } else { "items" };
            let fields = std::mem::take(&mut new);
            new = [("streams".to_owned(), toml::Table::from_iter([(stream.to_owned(), fields.into())]).into())]
                .into_iter()
                .collect();
            format!("sources/{source}.toml")
        }
    };
    merge(files.entry(file).or_default(), new);
}

fn merge(old: &mut toml::Table, new: toml::Table) {
    for (key, value) in new {
        match (old.get_mut(&key), value) {
            (Some(toml::Value::Table(old)), toml::Value::Table(new)) => merge(old, new),
            (Some(toml::Value::Array(old)), toml::Value::Array(new)) => old.extend(new),
            (_, value) => drop(old.insert(key, value)),
        }
    }
}

fn completed(mut files: Files) -> Files {
    complete(&mut files);
    files
}

/// Adds what an example leaves out since it is not about it: the rest of its file, and the files around it.
fn complete(files: &mut Files) {
    let of = |folder: &str, files: &Files| files.keys().find(|name| name.starts_with(folder)).cloned();
    let stem = |name: &str| name.split('/').nth(1).unwrap().trim_end_matches(".toml").to_owned();
    let table = |text: &str| text.parse::<toml::Table>().unwrap();
    let job = of("jobs/", files);
    let source =
        of("sources/", files).unwrap_or_else(|| format!("sources/{}.toml", job.as_deref().map_or("api".to_owned(), stem)));
    let mut text = files.get(&source).map(toml::Table::to_string).unwrap_or_default();
    text.push_str(&job.iter().map(|job| files[job].to_string()).collect::<String>());
    let definition = files.entry(source.clone()).or_default();
    let default = |of: &mut toml::Table, key: &str, value: toml::Value| {
        of.entry(key).or_insert(value);
    };
    default(definition, "version", 1.into());
    default(definition, "type", "http".into());
    default(definition, "base_url", "https://api.example.org".into());
    default(definition, "streams", toml::Table::new().into());
    let streams = definition["streams"].as_table_mut().unwrap();
    // Whoever is a parent is a stream.
    let parents = ["orders", "issues"].iter().filter(|parent| text.contains(&format!("stream = \"{parent}\"")));
    for parent in parents {
        default(streams, parent, table(&format!("path = \"/{parent}\"\n[cursor]\nfield = \"updated_at\"\ntype = \"timestamp\"\nquery = {{ since = \"{{{{ from }}}}\" }}")).into());
    }
    if streams.is_empty() {
        default(streams, "items", toml::Table::new().into());
    }
    for (name, stream) in streams.iter_mut() {
        let stream = stream.as_table_mut().unwrap();
        default(stream, "path", format!("/{name}").into());
        default(stream, "primary_key", vec!["id"].into());
        if text.contains("type = \"graphql\"") && stream.contains_key("paging") {
            default(stream, "body", table("type = \"graphql\"\nquery = \"query($after: String) { orders }\"").into());
        }
        let is_bounded = ["{{ from }}", "{{ to }}"].iter().any(|bound| stream.to_string().contains(bound));
        if (is_bounded || job.is_some()) && !stream.contains_key("cursor") {
            let query = if is_bounded { "" } else { "query = { since = \"{{ from }}\" }" };
            default(stream, "cursor", table(&format!("field = \"updated_at\"\ntype = \"timestamp\"\n{query}")).into());
        }
    }
    // A name in a template that is none of the program's own is a parameter, and so is what a job gives.
    let given = job.as_ref().map(|job| files[job].clone()).unwrap_or_default();
    let sets = given.get("for_each").and_then(toml::Value::as_array).into_iter().flatten().chain(given.get("parameters"));
    let mut names: BTreeSet<String> = sets.flat_map(|set| set.as_table().unwrap().keys().cloned()).collect();
    names.extend(text.split("{{ ").skip(1).filter_map(|rest| rest.split([' ', '.', '}']).next()).map(str::to_owned));
    let definition = files.get_mut(&source).unwrap();
    for name in names.iter().filter(|name| !OWN_NAMES.contains(&name.as_str())) {
        let parameters = definition.entry("parameters").or_insert(toml::Table::new().into()).as_table_mut().unwrap();
        default(parameters, name, table("default = \"x\"").into());
    }
    let streams: Vec<String> = definition["streams"].as_table().unwrap().keys().cloned().collect();
    let sink = of("sinks/", files).unwrap_or_else(|| "sinks/lake.toml".to_owned());
    files.entry(sink.clone()).or_insert_with(|| table("version = 1\ntype = \"parquet\"\nurl = \"lake\""));
    let jobs: Vec<(String, String)> = match job {
        Some(job) => vec![(job, streams[0].clone())],
        None => streams.into_iter().map(|stream| (format!("jobs/{}_{stream}.toml", stem(&source)), stream)).collect(),
    };
    let is_required = |about: &toml::Value| about.get("required").and_then(toml::Value::as_bool) == Some(true);
    let parameters = files[&source].get("parameters").and_then(toml::Value::as_table).cloned().unwrap_or_default();
    let required: Vec<String> = parameters.into_iter().filter(|(_, about)| is_required(about)).map(|(name, _)| name).collect();
    for (name, stream) in jobs {
        let job = files.entry(name.clone()).or_default();
        if !required.is_empty() {
            let given = required.iter().map(|name| (name.clone(), toml::Value::from("acme"))).collect::<toml::Table>();
            default(job, "parameters", given.into());
        }
        default(job, "version", 1.into());
        let own = [("source", stem(&source)), ("stream", stream), ("sink", stem(&sink)), ("table", stem(&name))];
        own.into_iter().for_each(|(key, value)| default(job, key, value.into()));
    }
    if let Some(after) = files.values().find_map(|file| file.get("after")?.as_array()?.first()?.as_str()).map(str::to_owned) {
        let mut other = files.iter().find(|(name, _)| name.starts_with("jobs/")).unwrap().1.clone();
        other.retain(|key, _| ["version", "source", "stream", "sink"].contains(&key));
        other.insert("table".to_owned(), after.clone().into());
        files.insert(format!("jobs/{after}.toml"), other);
    }
}

/// Names in templates that are no parameters.
const OWN_NAMES: &[&str] = &[
    "from",
    "to",
    "page",
    "parent",
    "export",
    "username",
    "password",
    "signature",
    "key_id",
    "method",
    "path",
    "query",
    "host",
    "timestamp",
    "timestamp_ms",
    "date",
    "nonce",
    "body",
    "body_sha256",
];

/// What the program finds in the files, warnings too.
fn wrong(files: &Files, what: &str) -> Vec<String> {
    let project = Project::new();
    project.write("queries/orders.graphql", "query($first: Int, $filter: String) { orders }");
    for (name, file) in files {
        let mut file = file.clone();
        file.entry("version").or_insert(1.into());
        project.write(name, &file.to_string());
    }
    let told = highwater(&project, &["check", "--json"]).run();
    let problems = told.json()["problems"].as_array().unwrap().clone();
    let text = |problem: &Value| {
        let file = problem["file"].as_str().unwrap();
        let text = files.get(file).map(toml::Table::to_string).unwrap_or_default();
        format!("{what}: {file}: {}: {}\n{text}", problem["key"], problem["message"])
    };
    problems.iter().map(text).collect()
}
