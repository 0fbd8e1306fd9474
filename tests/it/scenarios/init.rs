//! A project from nothing.

use crate::world::program::highwater;
use crate::world::project::Project;

#[test]
fn what_init_writes_has_no_problems() {
    let project = Project::new();
    // In a folder that is not there yet, and in one that is empty.
    std::fs::create_dir(project.at("empty")).unwrap();
    for folder in ["new/one", "empty"] {
        let wrote = highwater(&project, &["init", folder]).run().expect_code(0);
        assert!(wrote.stdout.contains("jobs/earthquakes.toml") && wrote.stdout.contains("check"), "{}", wrote.stdout);
        let at = project.at(folder);
        let checked = highwater(&project, &["check"]).folder(&at).run().expect_code(0);
        assert!(checked.stdout.contains("1 job ready, 0 parked; 0 errors, 0 warnings"), "{}", checked.stdout);
        assert!(at.join(".gitignore").exists());
    }
}

#[test]
fn init_writes_over_nothing() {
    let project = Project::new();
    let before = project.listing("");
    let refused = highwater(&project, &["init"]).run().expect_code(64);
    assert!(refused.stderr.contains("config.toml` exists already"), "{}", refused.stderr);
    assert_eq!(project.listing(""), before, "nothing was written beside it");

    // A file deep in the folder is found before anything is written.
    project.write("other/jobs/earthquakes.toml", "mine");
    let refused = highwater(&project, &["init", "other"]).run().expect_code(64);
    assert!(refused.stderr.contains("other/jobs/earthquakes.toml` exists already"), "{}", refused.stderr);
    assert!(!project.at("other/config.toml").exists());

    // A repository's own list stays.
    project.write("repository/.gitignore", "mine\n");
    let told = highwater(&project, &["init", "repository", "--json"]).run().expect_code(0).json();
    assert_eq!(told["kept"][0], ".gitignore");
    assert_eq!(std::fs::read_to_string(project.at("repository/.gitignore")).unwrap(), "mine\n");
}
