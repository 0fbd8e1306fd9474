//! JSON whose texts are templates: the bodies of requests.

use serde_json::{Map, Number, Value as Json};

use super::{Scope, TEXT_MAX, Template};

/// Deepest nesting of a body.
pub const DEPTH_MAX: usize = 64;

/// A JSON value with templates in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonTemplate {
    Boolean(bool),
    Number(Number),
    /// A text; one that is a single expression has the expression's own type: `"{{ from | int }}"` is a number.
    Text(Template),
    List(Vec<JsonTemplate>),
    /// In file order.
    Object(Vec<(String, JsonTemplate)>),
}

impl JsonTemplate {
    /// All templates in it.
    pub fn templates(&self) -> Vec<&Template> {
        match self {
            JsonTemplate::Boolean(_) | JsonTemplate::Number(_) => Vec::new(),
            JsonTemplate::Text(template) => vec![template],
            JsonTemplate::List(items) => items.iter().flat_map(JsonTemplate::templates).collect(),
            JsonTemplate::Object(entries) => entries.iter().flat_map(|(_, value)| value.templates()).collect(),
        }
    }

    /// Fills it in. `None` where nothing is left: a template that renders to nothing is left out of its object or list, as an entry of
    /// a query is. A text without a template stays, even the empty one. The error is lower case, without a full stop.
    pub fn render(&self, scope: &Scope) -> Result<Option<Json>, String> {
        let mut room = TEXT_MAX;
        self.render_within(scope, &mut room)
    }

    fn render_within(&self, scope: &Scope, room: &mut usize) -> Result<Option<Json>, String> {
        Ok(match self {
            JsonTemplate::Boolean(value) => Some(Json::Bool(*value)),
            JsonTemplate::Number(number) => Some(Json::Number(number.clone())),
            JsonTemplate::Text(template) => {
                let value = template.render_json(scope)?;
                let length = value.as_str().map_or(8, str::len);
                *room = room.checked_sub(length).ok_or_else(|| format!("the rendered body has more than {TEXT_MAX} bytes"))?;
                let is_nothing = value.is_null() || value.as_str().is_some_and(str::is_empty);
                (!is_nothing || template.names().next().is_none()).then_some(value)
            }
            JsonTemplate::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for item in items {
                    list.extend(item.render_within(scope, room)?);
                }
                Some(Json::Array(list))
            }
            JsonTemplate::Object(entries) => {
                let mut object = Map::new();
                for (name, value) in entries {
                    if let Some(value) = value.render_within(scope, room).map_err(|why| format!("{name}: {why}"))? {
                        object.insert(name.clone(), value);
                    }
                }
                // An object that held nothing but what is left out says nothing itself.
                (!object.is_empty() || entries.is_empty()).then_some(Json::Object(object))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> JsonTemplate {
        JsonTemplate::Text(Template::parse(text).unwrap())
    }

    fn object(entries: &[(&str, JsonTemplate)]) -> JsonTemplate {
        JsonTemplate::Object(entries.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
    }

    fn rendered(template: &JsonTemplate, scope: &Scope) -> String {
        template.render(scope).unwrap().map_or_else(|| "nothing".to_owned(), |value| value.to_string())
    }

    #[test]
    fn a_single_expression_keeps_its_type() {
        let scope = Scope::new().set("n", "7").bounds(Some("1700000000"), None);
        assert_eq!(rendered(&text("{{ from | int }}"), &scope), "1700000000");
        assert_eq!(rendered(&text("{{ n }}"), &scope), r#""7""#);
        assert_eq!(rendered(&text("n={{ n | int }}"), &scope), r#""n=7""#);
        assert_eq!(rendered(&text("{{ n }}{{ n }}"), &scope), r#""77""#);
        assert_eq!(rendered(&text("{{ [n, n | int] }}"), &scope), r#"["7",7]"#);
        assert_eq!(rendered(&text(" {{ n == '7' }} "), &scope), "true");
    }

    #[test]
    fn what_renders_to_nothing_is_left_out_with_the_objects_around_it() {
        let body = object(&[
            ("since", object(&[("gte", text("{{ from }}")), ("lt", text("{{ to }}"))])),
            ("name", text("")),
            ("list", JsonTemplate::List(vec![text("{{ from }}"), JsonTemplate::Boolean(true)])),
            ("empty", object(&[])),
        ]);
        assert_eq!(rendered(&body, &Scope::new().bounds(None, None)), r#"{"empty":{},"list":[true],"name":""}"#);
        let bounded = rendered(&body, &Scope::new().bounds(Some("a"), None));
        assert_eq!(bounded, r#"{"empty":{},"list":["a",true],"name":"","since":{"gte":"a"}}"#);
    }

    #[test]
    fn values_are_data_and_bounded() {
        // S-31
        let hostile = r#"","admin":true,"x":"{{ from }}"#;
        let scope = Scope::new().set("name", hostile);
        assert_eq!(text("{{ name }}").render(&scope).unwrap().unwrap(), Json::from(hostile));
        let long = "x".repeat(TEXT_MAX / 2 + 1);
        let twice = JsonTemplate::List(vec![text("{{ name }}"), text("{{ name }}")]);
        assert!(twice.render(&Scope::new().set("name", &long)).unwrap_err().contains("more than"));
        assert!(text("{{ nam }}").render(&scope).unwrap_err().contains("`nam` is not defined here"));
    }
}
