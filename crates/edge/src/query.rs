//! Query strings against the contract: a parameter that an operation does not have, or
//! that is there twice, is refused like a wrong field of a body, and never dropped.

use poem::Request;

use crate::{problem::Problem, surface::Operation};

/// Of a name that is told back.
const NAME_CHARACTERS_MAX: usize = 64;
/// Letters in which a name may differ from the one that was meant.
const MISSPELLED_MAX: usize = 2;

/// Names and what is wrong with each; empty where all is well.
pub(crate) fn check(request: &Request, operation: &Operation) -> Vec<(String, String)> {
    // Pages outside the contract take what they are given.
    if operation.id.is_none() || request.uri().query().is_none() {
        return Vec::new();
    }
    let Ok(parameters) = request.params::<Vec<(String, String)>>() else {
        return vec![("query".into(), "It cannot be read.".into())];
    };
    let mut wrong: Vec<(String, String)> = Vec::new();
    for (place, (name, _)) in parameters.iter().enumerate() {
        if wrong.iter().any(|(told, _)| *told == shown(name)) {
            continue;
        }
        if !operation.query.contains(name) {
            wrong.push((shown(name), unknown(name, &operation.query)));
        } else if parameters[..place].iter().any(|(before, _)| before == name) {
            let detail = "Give it once; several values have commas between.";
            wrong.push((name.clone(), detail.into()));
        }
    }
    wrong
}

pub(crate) fn problem(wrong: &[(String, String)]) -> Problem {
    let mut wrong = wrong.iter().cloned();
    let (name, detail) = wrong.next().unwrap_or_default();
    let problem = Problem::invalid_parameter(name, detail);
    wrong.fold(problem, |problem, (name, detail)| {
        problem.with_parameter(name, detail)
    })
}

fn unknown(name: &str, known: &[String]) -> String {
    let distance = |known: &&String| distance(&name.to_ascii_lowercase(), known);
    let near = known.iter().min_by_key(distance);
    match near.filter(|near| distance(near) <= MISSPELLED_MAX) {
        Some(near) => format!("There is no such parameter: did you mean {near}?"),
        None if known.is_empty() => "This operation takes no parameters.".into(),
        None => format!(
            "There is no such parameter: there are {}.",
            known.join(", ")
        ),
    }
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
        let known = ["cursor".to_owned(), "limit".to_owned()];
        for (name, told) in [
            ("limt", "did you mean limit?"),
            ("Limit", "did you mean limit?"),
            ("cursors", "did you mean cursor?"),
            ("since_id", "there are cursor, limit."),
        ] {
            assert!(unknown(name, &known).ends_with(told), "{name}");
        }
        assert_eq!(unknown("page", &[]), "This operation takes no parameters.");
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
