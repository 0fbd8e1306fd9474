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
