//! Errors of GraphQL: they come in `errors`, mostly with a status of success, and with part of the data or none (GraphQL
//! specification, section 7.1). A part is never a page.

use crate::error::ErrorKind;
use crate::page::{Captured, Envelope, ResponsePath};
use crate::source::Judgement;

/// Codes of errors that no second attempt mends, as Apollo, Shopify, GitHub and Hasura write them.
const HOPELESS: [&str; 14] = [
    "GRAPHQL_PARSE_FAILED",
    "GRAPHQL_VALIDATION_FAILED",
    "BAD_USER_INPUT",
    "OPERATION_RESOLUTION_FAILURE",
    "undefinedField",
    "undefinedType",
    "missingRequiredArguments",
    "argumentNotAccepted",
    "argumentLiteralsIncompatible",
    "variableMismatch",
    "validation-failed",
    "parse-failed",
    "parseError",
    "INVALID_CURSOR_ARGUMENTS",
];
/// Codes of a query that has to wait.
const THROTTLED: [&str; 3] = ["THROTTLED", "RATE_LIMITED", "RATE_LIMIT"];
/// Codes of a credential that is not good enough.
const SHUT_OUT: [&str; 5] = ["UNAUTHENTICATED", "FORBIDDEN", "ACCESS_DENIED", "INSUFFICIENT_SCOPES", "access-denied"];

/// Body paths that `judge` looks at.
pub(super) fn wanted() -> Vec<ResponsePath> {
    let places = [&[][..], &["message"], &["type"], &["extensions", "code"]];
    places.iter().flat_map(|steps| [first(steps), only(steps)]).collect()
}

/// What an answer's `errors` mean; `None` where it has none.
pub(super) fn judge(envelope: &Envelope) -> Option<Judgement> {
    let errors = envelope.captured.get(&only(&[])).unwrap_or(&Captured::Null);
    let is_there = match errors {
        Captured::Null => envelope.captured.get(&first(&[])).is_some_and(|first| *first != Captured::Null),
        // An empty list is none; one error may stand there without a list.
        Captured::Nested => envelope.captured.contains_key(&first(&[])) || at_only(envelope, &["message"]).is_some(),
        Captured::Boolean(false) => false,
        other => other.text().is_some_and(|text| !text.is_empty()),
    };
    if !is_there {
        return None;
    }
    let said = at(envelope, &["message"]).or_else(|| errors.text());
    let (code, said) = (code(envelope), said.unwrap_or_default());
    let told = match (code.is_empty(), said.is_empty()) {
        (true, _) => said,
        (false, true) => code.clone(),
        (false, false) => format!("{said} ({code})"),
    };
    Some(match code.as_str() {
        code if THROTTLED.contains(&code) => {
            Judgement::ErrorInDisguise(format!("the API refused the query for its cost ({code})"))
        }
        "MAX_COST_EXCEEDED" | "MAX_NODE_LIMIT_EXCEEDED" => Judgement::Refused(
            ErrorKind::Config,
            format!("one query costs more than the API grants at once ({code}): ask for smaller pages"),
        ),
        code if HOPELESS.contains(&code) => {
            Judgement::Refused(ErrorKind::Config, format!("the API does not take the query: {told}"))
        }
        code if SHUT_OUT.contains(&code) => Judgement::Refused(ErrorKind::Auth, format!("the API shuts the query out: {told}")),
        _ => Judgement::ErrorInDisguise(format!("the answer has `errors`: {told}")),
    })
}

/// Whether the API refused the query because of what others cost before.
pub(super) fn is_throttled(envelope: &Envelope) -> bool {
    THROTTLED.contains(&code(envelope).as_str())
}

/// GitHub writes `type` where others write `extensions.code`.
fn code(envelope: &Envelope) -> String {
    at(envelope, &["extensions", "code"]).or_else(|| at(envelope, &["type"])).unwrap_or_default()
}

/// What the first error, or the only one, says at a place.
fn at(envelope: &Envelope, steps: &[&str]) -> Option<String> {
    envelope.captured.get(&first(steps)).and_then(Captured::text).or_else(|| at_only(envelope, steps))
}

fn at_only(envelope: &Envelope, steps: &[&str]) -> Option<String> {
    envelope.captured.get(&only(steps)).and_then(Captured::text)
}

/// A path below an error that stands where the list of them should.
fn only(steps: &[&str]) -> ResponsePath {
    ResponsePath::Body(std::iter::once(&"errors").chain(steps).map(|step| (*step).to_owned()).collect())
}

/// A path below the first error.
fn first(steps: &[&str]) -> ResponsePath {
    ResponsePath::Body(["errors", "0"].iter().chain(steps).map(|step| (*step).to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(entries: &[(&[&str], &str)]) -> Envelope {
        let mut envelope = Envelope::default();
        envelope.captured.insert(first(&[]), Captured::Nested);
        for (steps, text) in entries {
            envelope.captured.insert(first(steps), Captured::Text((*text).to_owned()));
        }
        envelope
    }

    #[test]
    fn errors_beside_data_are_an_error() {
        // C-61
        assert_eq!(judge(&Envelope::default()), None);
        let judged = judge(&answer(&[(&["message"], "Something went wrong")])).unwrap();
        assert_eq!(judged, Judgement::ErrorInDisguise("the answer has `errors`: Something went wrong".to_owned()));
        assert!(matches!(judge(&answer(&[])), Some(Judgement::ErrorInDisguise(_))));
    }

    #[test]
    fn errors_that_are_no_list_are_errors_too() {
        let answer = |entries: &[(&[&str], Captured)]| {
            let captured = entries
                .iter()
                .map(|(steps, value)| (ResponsePath::Body(steps.iter().map(|s| (*s).to_owned()).collect()), value.clone()));
            judge(&Envelope { captured: captured.collect(), ..Envelope::default() })
        };
        let text = |text: &str| Captured::Text(text.to_owned());
        for entries in [
            &[(&["errors"][..], Captured::Nested), (&["errors", "message"], text("half of it"))][..],
            &[(&["errors"], text("half of it"))],
        ] {
            let Some(Judgement::ErrorInDisguise(told)) = answer(entries) else { panic!("{entries:?} is a page") };
            assert!(told.ends_with("half of it"), "{told}");
        }
        assert!(answer(&[(&["errors"], Captured::Nested), (&["errors", "0"], Captured::Null)]).is_some());
        for none in [Captured::Null, Captured::Nested, Captured::Boolean(false), text("")] {
            assert_eq!(answer(&[(&["errors"], none.clone())]), None, "{none:?}");
        }
    }

    #[test]
    fn a_query_that_is_wrong_is_not_sent_again() {
        let wrong = answer(&[(&["message"], "Field 'x' doesn't exist"), (&["extensions", "code"], "undefinedField")]);
        assert!(matches!(judge(&wrong), Some(Judgement::Refused(ErrorKind::Config, message)) if message.contains("Field 'x'")));
        assert!(matches!(judge(&answer(&[(&["type"], "FORBIDDEN")])), Some(Judgement::Refused(ErrorKind::Auth, _))));
    }

    #[test]
    fn costs_are_told_apart() {
        // R-18 R-19
        let coded = |code: &str| judge(&answer(&[(&["extensions", "code"], code)])).unwrap();
        assert!(matches!(coded("THROTTLED"), Judgement::ErrorInDisguise(message) if message.contains("THROTTLED")));
        assert!(
            matches!(coded("MAX_COST_EXCEEDED"), Judgement::Refused(ErrorKind::Config, message) if message.contains("smaller pages"))
        );
    }
}
