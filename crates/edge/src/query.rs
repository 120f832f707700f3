//! Query strings against the contract: a parameter that an operation does not have, or
//! that is there twice, or whose value its schema does not take, is refused like a wrong
//! field of a body, and never dropped.

use poem::Request;
use serde_json::{Number, Value};

use crate::{
    problem::{Code, FieldCode, FieldError, Place, Problem, Wrong},
    schema,
    surface::Operation,
    text,
};

/// Of a name that is told back.
const NAME_CHARACTERS_MAX: usize = 64;
/// Letters in which a name may differ from the one that was meant.
const MISSPELLED_MAX: usize = 2;

/// Everything that is wrong; empty where all is well.
pub(crate) fn check(request: &Request, operation: &Operation) -> Vec<FieldError> {
    // Pages outside the contract take what they are given.
    if operation.id.is_none() || request.uri().query().is_none() {
        return Vec::new();
    }
    let error = |name: String, wrong: Wrong| FieldError {
        place: Place::Parameter(name),
        wrong,
    };
    let Ok(parameters) = request.params::<Vec<(String, String)>>() else {
        return vec![error("query".into(), FieldCode::InvalidFormat.into())];
    };
    let known: Vec<&str> = operation.query.iter().map(|(n, _)| n.as_str()).collect();
    let mut wrong: Vec<FieldError> = Vec::new();
    for (name, value) in &parameters {
        let at = Place::Parameter(shown(name));
        if wrong.iter().any(|told| told.place == at) {
            continue;
        }
        let schema = operation.query.iter().find(|(known, _)| known == name);
        let Some((_, schema)) = schema else {
            wrong.push(error(shown(name), unknown(name, &known)));
            continue;
        };
        if parameters.iter().filter(|(other, _)| other == name).count() > 1 {
            let detail = text!(
                "Send this once; several values have commas between.",
                "Senden Sie dies einmal; mehrere Werte trennen Kommas."
            );
            wrong.push(error(name.clone(), FieldCode::Duplicate.saying(detail)));
        } else if let Some(found) = schema::check_text(operation, schema, typed(schema, value)) {
            wrong.push(error(name.clone(), found));
        }
    }
    wrong
}

/// A parameter as what its schema says that it is; as text where it cannot be that.
fn typed(schema: &Value, value: &str) -> Value {
    let number = || Some(Value::Number(value.parse::<Number>().ok()?));
    let typed = match schema["type"].as_str() {
        Some("integer" | "number") => number(),
        Some("boolean") => value.parse().ok().map(Value::Bool),
        _ => None,
    };
    typed.unwrap_or_else(|| value.into())
}

pub(crate) fn problem(wrong: &[FieldError]) -> Problem {
    let problem = Problem::from(Code::InvalidParameter);
    wrong.iter().cloned().fold(problem, Problem::with_error)
}

fn unknown(name: &str, known: &[&str]) -> Wrong {
    let distance = |known: &&&str| distance(&name.to_ascii_lowercase(), known);
    let near = known.iter().min_by_key(distance);
    let detail = match near.filter(|near| distance(near) <= MISSPELLED_MAX) {
        Some(near) => text!(
            "Correct the name: did you mean {0}?",
            "Korrigieren Sie den Namen: Meinten Sie {0}?"
        )
        .with([(*near).into()]),
        None if known.is_empty() => text!(
            "Leave this out: this operation takes no parameters.",
            "Lassen Sie dies weg: Diese Operation nimmt keine Parameter."
        )
        .into(),
        None => text!(
            "Leave this out, or correct the name: there are {0}.",
            "Lassen Sie dies weg, oder korrigieren Sie den Namen: Es gibt {0}."
        )
        .with([known.join(", ").into()]),
    };
    FieldCode::Unknown.saying(detail)
}

/// A client made it up.
fn shown(name: &str) -> String {
    let visible = |character: char| match character.is_ascii_graphic() {
        true => character,
        false => '?',
    };
    name.chars()
        .map(visible)
        .take(NAME_CHARACTERS_MAX)
        .collect()
}

/// Letters to put in, to leave out or to change (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (number, letter) in one.chars().take(NAME_CHARACTERS_MAX).enumerate() {
        let mut diagonal = row[0];
        row[0] = number + 1;
        for (place, wanted) in other.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *wanted);
            diagonal = row[place + 1];
            row[place + 1] = changed.min(diagonal + 1).min(row[place] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_told_where_one_is_near() {
        let known = ["cursor", "limit"];
        for (name, told) in [
            ("limt", "did you mean limit?"),
            ("Limit", "did you mean limit?"),
            ("cursors", "did you mean cursor?"),
            ("since_id", "there are cursor, limit."),
        ] {
            let detail = unknown(name, &known).detail.to_string();
            assert!(detail.ends_with(told), "{name}: {detail}");
        }
        let detail = unknown("page", &[]).detail.to_string();
        assert!(detail.ends_with("takes no parameters."), "{detail}");
    }

    #[test]
    fn distances_are_counted_in_letters() {
        for (one, other, letters) in [
            ("", "ids", 3),
            ("ids", "ids", 0),
            ("kitten", "sitting", 3),
            ("id", "ids", 1),
        ] {
            assert_eq!(distance(one, other), letters, "{one} {other}");
        }
    }
}
