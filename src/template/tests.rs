use proptest::prelude::*;

use super::*;

fn render(text: &str, scope: &Scope) -> Result<String, String> {
    Template::parse(text)?.render(scope)
}

#[test]
fn fills_in_names_and_collects_them() {
    let template = Template::parse("/repos/{{ owner }}/{{ repo|lower }}{% if from %}?since={{ from }}{% endif %}").unwrap();
    assert_eq!(template.names().collect::<Vec<_>>(), ["from", "owner", "repo"]);
    assert!(template.uses("owner") && !template.uses("to"));
    let scope = Scope::new().set("owner", "tokio-rs").set("repo", "Tokio");
    let first = template.render(&scope.clone().bounds(None, None)).unwrap();
    assert_eq!(first, "/repos/tokio-rs/tokio");
    let later = template.render(&scope.bounds(Some("2026-01-01"), None)).unwrap();
    assert_eq!(later, "/repos/tokio-rs/tokio?since=2026-01-01");
}

#[test]
fn an_absent_bound_renders_to_nothing() {
    assert_eq!(render("{{ from }}", &Scope::new().bounds(None, Some("9"))).unwrap(), "");
}

#[test]
fn values_are_written_as_apis_read_them() {
    let pairs = [
        ("yes", Value::from(true)),
        ("no", Value::from(false)),
        ("none", Value::from(())),
        ("n", Value::from(1.5)),
        ("i", Value::from(7)),
        ("list", Value::from(vec![Value::from(1), Value::from("a"), Value::from(())])),
        ("map", Value::from_pairs([("k", Value::from(vec![Value::from(true)]))])),
    ];
    let scope = Scope::new().set_value("parent", Value::from_pairs(pairs));
    for (text, expected) in [
        ("{{ parent.yes }}/{{ parent.no }}", "true/false"),
        ("[{{ parent.none }}]", "[]"),
        ("{{ parent.n }} {{ parent.i }}", "1.5 7"),
        ("{{ parent.list }}", "[1,\"a\",null]"),
        ("{{ parent.map }}", "{\"k\":[true]}"),
        ("{{ none }}{{ 1 == 1 }}{{ [1, 2] }}", "true[1,2]"),
        ("{{ parent.list[1] }}", "a"),
    ] {
        assert_eq!(render(text, &scope).as_deref(), Ok(expected), "{text}");
    }
    assert!(render("{{ parent.missing }}", &scope).unwrap_err().contains("undefined"));
}

#[test]
fn an_undefined_name_is_an_error_that_names_the_scope() {
    let scope = Scope::new().set("owner", "secret-value");
    let error = render("{{ ownr }}", &scope).unwrap_err();
    assert_eq!(error, "`ownr` is not defined here; in scope: `owner`");
    let error = render("{{ owner.login }}", &scope).unwrap_err();
    assert!(error.contains("undefined"), "{error}");
    assert!(!error.contains("secret-value"), "{error}");
}

#[test]
fn an_error_names_the_place_and_what_an_empty_bound_needs() {
    let template = Template::parse("{{ from | int }}").unwrap().read_from("sources/api.toml:7");
    let scope = Scope::new().bounds(None, Some("9"));
    for error in [template.render(&scope).unwrap_err(), template.render_json(&scope).unwrap_err()] {
        assert!(error.ends_with("as on a first load: write `(from or 0)` (at sources/api.toml:7)"), "{error}");
    }
    assert_eq!(render("{{ (from or 0) | int }}", &scope).unwrap(), "0");
    assert_eq!(template.render(&scope.clone().bounds(Some("7"), None)).unwrap(), "7");
    let other = Template::parse("{{ ownr }}").unwrap().read_from("sources/api.toml:7");
    let error = other.render(&scope).unwrap_err();
    assert!(error.ends_with("`to` (at sources/api.toml:7)"), "{error}");
}

#[test]
fn what_a_value_holds_is_inert() {
    // S-31
    let hostile = "{{ owner }}{% raw %}${env:HOME}{# #}<&\"'";
    let scope = Scope::new().set("owner", hostile);
    assert_eq!(render("{{ owner }}", &scope).unwrap(), hostile);
    assert_eq!(render("a-{{ owner }}-b", &scope).unwrap(), format!("a-{hostile}-b"));
}

#[test]
fn a_header_takes_no_line_break() {
    // S-18
    let template = Template::parse("Bearer {{ token }}").unwrap();
    for hostile in ["a\r\nX-Admin: 1", "a\nb", "a\rb", "a\0b", "a\u{7f}b"] {
        let error = template.render_header(&Scope::new().set("token", hostile)).unwrap_err();
        assert_eq!(error, "a header's value is visible ASCII without line breaks");
    }
    assert_eq!(template.render_header(&Scope::new().set("token", "abc")).unwrap(), "Bearer abc");
}

#[test]
fn syntax_errors_and_unknown_filters_are_found_early() {
    for (text, part) in [
        ("{{ owner", "not a template"),
        ("{% if x %}", "not a template"),
        ("{{ owner|uper }}", "uper"),
        ("{{ owner is odder }}", "odder"),
        ("{% include 'other' %}", "not a template"),
    ] {
        let error = Template::parse(text).unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn functions_of_the_engine_are_out_of_reach() {
    assert!(Template::parse("{{ range(3) }}").map(|template| template.uses("range")) != Ok(false));
    assert!(render("{{ debug() }}", &Scope::new()).is_err());
}

#[test]
fn work_and_output_are_bounded() {
    let scope = Scope::new().set("long", &"x".repeat(TEXT_MAX));
    assert_eq!(render("{{ long }}", &scope).unwrap().len(), TEXT_MAX);
    assert!(render("{{ long }}y", &scope).unwrap_err().contains("more than"));
    let nested = "{% for a in long %}{% for b in long %}{% endfor %}{% endfor %}";
    assert!(render(nested, &scope).unwrap_err().contains("too many steps"));
    assert!(Template::parse("x".repeat(TEXT_MAX + 1)).is_err());
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,80}", value in any::<String>()) {
        if let Ok(template) = Template::parse(text) {
            let scope = template.names().fold(Scope::new(), |scope, name| scope.set(name, &value));
            drop(template.render(&scope));
        }
    }

    #[test]
    fn marked_text_panics_neither(text in "[{}%# a-c|.()'\"]{0,40}") {
        drop(Template::parse(text));
    }
}
