//! Checks a JSON body against its schema in the contract and names every wrong
//! field by its JSON pointer. poem-openapi stops at the first error, takes
//! numbers for strings, and does not say where. It refuses to know more of
//! JSON Schema than poem-openapi writes; what it does not know it lets pass,
//! for the type to decide.

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{
    causes,
    contract_rules::Meaning,
    language::Text,
    problem::{FIELD_ERRORS_MAX, FieldCode, FieldError, Place, Wrong},
    surface::Operation,
    text,
};

/// Everything that is wrong; empty where it may be parsed.
pub(crate) fn check_body(operation: &Operation, body: &Value) -> Vec<FieldError> {
    let Some(schema) = &operation.body else {
        return Vec::new();
    };
    let mut check = Check {
        document: &operation.document,
        meaning: operation.meaning,
        pointer: String::new(),
        errors: Vec::new(),
    };
    check.value(schema, body);
    if !check.errors.is_empty() {
        check.meanings(schema, body);
    }
    check.errors
}

/// What is wrong with the value of a parameter, as far as its schema says.
pub(crate) fn check_text(operation: &Operation, schema: &Value, value: Value) -> Option<Wrong> {
    let mut check = Check {
        document: &operation.document,
        meaning: operation.meaning,
        pointer: String::new(),
        errors: Vec::new(),
    };
    check.value(schema, &value);
    check.errors.into_iter().next().map(|error| error.wrong)
}

struct Check<'a> {
    document: &'a Value,
    meaning: Meaning,
    pointer: String,
    errors: Vec<FieldError>,
}

impl<'a> Check<'a> {
    fn value(&mut self, schema: &'a Value, value: &Value) {
        if self.errors.len() >= FIELD_ERRORS_MAX {
            return;
        }
        if let Some(reference) = schema["$ref"].as_str() {
            let found = reference.strip_prefix('#');
            if let Some(schema) = found.and_then(|pointer| self.document.pointer(pointer)) {
                self.value(schema, value);
            }
            return;
        }
        if value.is_null() && schema["nullable"] == true {
            return;
        }
        for part in schema["allOf"].as_array().into_iter().flatten() {
            self.value(part, value);
        }
        if let Some(allowed) = schema["enum"].as_array()
            && !allowed.contains(value)
        {
            let allowed: Vec<_> = allowed.iter().map(Value::to_string).collect();
            let detail = text!("Send one of {0}.", "Senden Sie eines von {0}.");
            let detail = detail.with([allowed.join(", ").into()]);
            return self.wrong(FieldCode::NotAllowed.saying(detail));
        }
        match schema["type"].as_str() {
            Some("object") => match value {
                Value::Object(fields) => self.object(schema, fields),
                _ => self.another_type(text!("an object", "ein Objekt")),
            },
            Some("array") => match value {
                Value::Array(items) => self.array(schema, items),
                _ => self.another_type(text!("an array", "eine Liste")),
            },
            Some("string") => match value {
                Value::String(text) => self.text(schema, text),
                _ => self.another_type(text!("a string", "einen Text")),
            },
            Some("boolean") if !value.is_boolean() => {
                self.another_type(text!("true or false", "true oder false"));
            }
            Some("integer") if !(value.is_i64() || value.is_u64()) => {
                self.another_type(text!("a whole number", "eine ganze Zahl"));
            }
            Some("number") if !value.is_number() => {
                self.another_type(text!("a number", "eine Zahl"));
            }
            Some("integer" | "number") => self.number(schema, value),
            _ => {}
        }
    }

    fn object(&mut self, schema: &'a Value, fields: &Map<String, Value>) {
        let properties = schema["properties"].as_object();
        let required = schema["required"].as_array().into_iter().flatten();
        for name in required.clone().filter_map(Value::as_str) {
            if !fields.contains_key(name) {
                self.at(name, |check| check.wrong(FieldCode::Required));
            }
        }
        for (name, value) in fields {
            match properties.and_then(|properties| properties.get(name)) {
                Some(schema) => self.at(name, |check| check.value(schema, value)),
                None if schema["additionalProperties"].is_object() => {
                    let schema = &schema["additionalProperties"];
                    self.at(name, |check| check.value(schema, value));
                }
                None if properties.is_some() => {
                    self.at(name, |check| check.wrong(FieldCode::Unknown));
                }
                None => {}
            }
        }
    }

    /// Where something is wrong, the handler does not see the body: what it would say of
    /// the other fields is said here, so that all are named at once.
    fn meanings(&mut self, schema: &'a Value, body: &Value) {
        if let Some(reference) = schema["$ref"].as_str() {
            let found = reference.strip_prefix('#');
            if let Some(schema) = found.and_then(|pointer| self.document.pointer(pointer)) {
                self.meanings(schema, body);
            }
            return;
        }
        for (name, value) in body.as_object().into_iter().flatten() {
            let pointer = format!("/{name}");
            let told = |error: &FieldError| {
                let below = error.pointer()?.strip_prefix(&pointer)?;
                (below.is_empty() || below.starts_with('/')).then_some(())
            };
            if value.is_null() || self.errors.iter().any(|error| told(error).is_some()) {
                continue;
            }
            if let Some(wrong) = (self.meaning)(name, &schema["properties"][name], value) {
                self.at(name, |check| check.wrong(wrong));
            }
        }
    }

    fn array(&mut self, schema: &'a Value, items: &[Value]) {
        let length = items.len() as u64;
        if let Some(min) = schema["minItems"].as_u64().filter(|min| length < *min) {
            self.wrong(FieldCode::TooFew.limit(min));
        }
        if let Some(max) = schema["maxItems"].as_u64().filter(|max| length > *max) {
            self.wrong(FieldCode::TooMany.limit(max));
            return;
        }
        for (index, item) in items.iter().enumerate() {
            let schema = &schema["items"];
            self.at(&index.to_string(), |check| check.value(schema, item));
        }
    }

    fn text(&mut self, schema: &Value, text: &str) {
        // A value of a known format gets the error of the format alone.
        let misshapen = match schema["format"].as_str() {
            Some("uuid") => text.parse::<Uuid>().is_err().then(causes::not_an_id),
            Some("date-time") => kernel::Timestamp::parse(text).is_none().then(not_a_time),
            _ => None,
        };
        if let Some(wrong) = misshapen {
            return self.wrong(wrong);
        }
        let length = text.chars().count() as u64;
        if let Some(min) = schema["minLength"].as_u64().filter(|min| length < *min) {
            self.wrong(FieldCode::TooShort.limit(min));
        }
        if let Some(max) = schema["maxLength"].as_u64().filter(|max| length > *max) {
            self.wrong(FieldCode::TooLong.limit(max));
        }
        // PostgreSQL keeps none. Patterns are the handlers' to check, who know what to say.
        if text.contains('\0') {
            self.wrong(FieldCode::InvalidCharacters);
        }
    }

    fn number(&mut self, schema: &Value, value: &Value) {
        let Some(number) = value.as_f64() else {
            return;
        };
        // Bounds are whole numbers from 0 on.
        let bound = |name: &str| schema[name].as_f64().map(|bound| bound as u64);
        if let Some(min) = bound("minimum").filter(|min| number < *min as f64) {
            self.wrong(Wrong::below(min));
        }
        if let Some(max) = bound("maximum").filter(|max| number > *max as f64) {
            self.wrong(Wrong::above(max));
        }
    }

    fn at(&mut self, name: &str, check: impl FnOnce(&mut Self)) {
        let length = self.pointer.len();
        self.pointer.push('/');
        let name = name.replace('~', "~0").replace('/', "~1");
        self.pointer.push_str(&name);
        check(self);
        self.pointer.truncate(length);
    }

    fn another_type(&mut self, wanted: Text) {
        let detail = text!("Send {0}.", "Senden Sie {0}.").with([wanted.into()]);
        self.wrong(FieldCode::WrongType.saying(detail));
    }

    fn wrong(&mut self, wrong: impl Into<Wrong>) {
        self.errors.push(FieldError {
            place: Place::Pointer(self.pointer.clone()),
            wrong: wrong.into(),
        });
    }
}

fn not_a_time() -> Wrong {
    FieldCode::InvalidFormat.saying(text!(
        "Send a time such as 2026-01-31T12:00:00Z.",
        "Senden Sie eine Zeit wie 2026-01-31T12:00:00Z."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract_rules::Rules;
    use serde_json::json;

    fn pointers(body: Value) -> Vec<String> {
        let document = json!({"components": {"schemas": {"Media": {
            "type": "object",
            "required": ["id"],
            "properties": {"id": {"type": "string", "format": "uuid"}},
        }}}});
        let schema = json!({
            "type": "object",
            "required": ["text", "kind"],
            "properties": {
                "text": {"type": "string", "minLength": 1, "maxLength": 5},
                "kind": {"type": "string", "enum": ["post", "reply"]},
                "media": {"type": "array", "maxItems": 2, "items": {"$ref": "#/components/schemas/Media"}},
                "a/b": {"type": "integer", "minimum": 3.0, "nullable": true},
            },
        });
        let mut check = Check {
            document: &document,
            meaning: Rules::NONE.meaning,
            pointer: String::new(),
            errors: Vec::new(),
        };
        check.value(&schema, &body);
        let pointers = check.errors.iter().filter_map(FieldError::pointer);
        pointers.map(str::to_owned).collect()
    }

    #[test]
    fn a_good_body_has_no_errors() {
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        let body = json!({"text": "hello", "kind": "post", "media": [{"id": id}], "a/b": null});
        assert_eq!(pointers(body), Vec::<String>::new());
    }

    #[test]
    fn every_wrong_field_is_named_at_once() {
        let body = json!({
            "text": 5, "media": [{"id": "x"}, {"extra": 1}], "a/b": 2, "more": true,
        });
        let mut found = pointers(body);
        found.sort();
        let wanted = [
            "/a~1b",
            "/kind",
            "/media/0/id",
            "/media/1/extra",
            "/media/1/id",
            "/more",
            "/text",
        ];
        assert_eq!(found, wanted);
        assert_eq!(pointers(json!([])), [""]);
        assert_eq!(pointers(json!({"text": "", "kind": "x"})).len(), 2);
    }
}
