//! Links of the contract: from what was made to where it is read and ended. With
//! the position at which it was made, so that whoever follows one reads it for
//! certain. It refuses to guess: the features name each ([`Rules`]).

use serde_json::{Map, Value, json};

use crate::contract_rules::Rules;

/// Adds them to what answers 201.
pub(crate) fn add(rules: &Rules, document: &mut Value) {
    let waits = takes_a_position(document);
    for operation in operations(document) {
        let id = operation["operationId"].as_str().unwrap_or_default();
        let Some((_, pointer, targets)) = rules.links.iter().find(|(maker, ..)| *maker == id)
        else {
            continue;
        };
        let links = targets.iter().map(|(target, parameter)| {
            let mut parameters = Map::new();
            let from = format!("$response.body#{pointer}");
            parameters.insert((*parameter).to_owned(), from.into());
            if waits.iter().any(|waits| waits == target) {
                let position = "$response.header.Event-Position";
                parameters.insert("Min-Position".into(), position.into());
            }
            let link = json!({
                "operationId": target,
                "parameters": parameters,
                "description": format!("What was made, as `{parameter}` of `{target}`."),
            });
            ((*target).to_owned(), link)
        });
        operation["responses"]["201"]["links"] = Value::Object(links.collect());
    }
}

fn takes_a_position(document: &mut Value) -> Vec<String> {
    let is_position = |parameter: &Value| {
        let reference = parameter["$ref"].as_str().unwrap_or_default();
        parameter["name"] == "Min-Position" || reference.ends_with("/Min-Position")
    };
    let takes = |operation: &&mut Value| {
        let parameters = operation["parameters"].as_array();
        parameters.is_some_and(|all| all.iter().any(is_position))
    };
    let named = |operation: &mut Value| operation["operationId"].as_str().map(str::to_owned);
    operations(document)
        .filter(takes)
        .filter_map(named)
        .collect()
}

fn operations(document: &mut Value) -> impl Iterator<Item = &mut Value> {
    let paths = document["paths"].as_object_mut().into_iter();
    let methods = paths.flat_map(|paths| paths.values_mut());
    methods
        .filter_map(Value::as_object_mut)
        .flat_map(|methods| methods.values_mut())
}
