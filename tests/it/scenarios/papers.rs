//! What the papers show must work as it stands there.

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
fn the_guides_examples_are_a_project_without_problems() {
    let examples = examples("docs/guide.md");
    let [source, sink, job] = examples.as_slice() else { panic!("the guide shows {} files", examples.len()) };
    let project = Project::new();
    project.write("sources/example.toml", source);
    project.write("sinks/lake.toml", sink);
    project.write("jobs/orders.toml", job);
    let checked = highwater(&project, &["check"]).run().expect_code(0);
    assert!(checked.stdout.contains("0 errors, 0 warnings"), "{}", checked.stdout);
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
    let block = readme.split("```\n").find(|block| block.starts_with("highwater check")).expect("README lists the commands");
    let mut named: Vec<&str> = Vec::new();
    for line in block.lines() {
        let words = line.trim_start_matches("highwater ").split(" | ").filter_map(|part| part.split_whitespace().next());
        named.extend(words);
    }
    for command in &commands {
        assert!(named.contains(command), "README does not name `{command}`");
    }
    for name in named {
        assert!(commands.contains(&name), "README names `{name}`, which is no command");
    }
}
