//! Null in bodies: one rule for all operations, as the contract's introduction has it.

use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Answer, App, Person, secrets};

struct World {
    app: App,
    document: Value,
    ada: Person,
    post: String,
}

impl World {
    async fn start() -> Self {
        let app = App::start().await;
        let document = app.client().get("/openapi.json").await.expect(200).body;
        let ada = app.client().register("ada").await;
        let post = ada.publish("a post").await;
        app.settle().await;
        Self {
            app,
            document,
            ada,
            post,
        }
    }

    fn schema(&self, operation: &Value) -> Option<(String, &Value)> {
        let content = &operation["requestBody"]["content"]["application/json"]["schema"];
        let name = content["$ref"].as_str()?.rsplit('/').next()?;
        Some((
            name.to_owned(),
            &self.document["components"]["schemas"][name],
        ))
    }

    /// The example, with what is unique made so, and `field` null.
    fn body(&self, schema: &Value, field: &str, unique: &str) -> Value {
        let mut body = schema["example"].clone();
        for (name, value) in [
            ("handle", unique.to_owned()),
            ("email", secrets::email(unique)),
            ("password", secrets::password(unique)),
            ("new_password", secrets::password(unique)),
        ] {
            if body.get(name).is_some() {
                body[name] = value.into();
            }
        }
        body[field] = Value::Null;
        body
    }

    async fn ask(&self, path: &str, method: &str, operation: &Value, body: Value) -> Answer {
        let path = path.replace("{post_id}", &self.post);
        // There need not be one.
        let path = path.replace("{folder_id}", &self.post);
        let client = match operation["security"].as_array().is_some_and(Vec::is_empty) {
            true => self.app.client(),
            false => self.ada.client.clone(),
        };
        let method: Method = method.to_ascii_uppercase().parse().unwrap();
        let any = [("If-Match", "*")];
        client.send(method, &path, Some(body), &any).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn null_is_read_by_one_rule_in_every_body() {
    let world = World::start().await;
    let (mut wrong, mut asked) = (Vec::new(), 0);
    for (path, methods) in world.document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let Some((name, schema)) = world.schema(operation) else {
                continue;
            };
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            for (field, property) in schema["properties"].as_object().unwrap() {
                asked += 1;
                let what = format!("{method} {path}: {field} of {name}");
                let is_required = required.iter().any(|name| name == field);
                let nullable = property["nullable"] == true;
                if is_required && nullable || method != "patch" && nullable == is_required {
                    wrong.push(format!("{what}: nullable is {nullable}"));
                }
                let body = world.body(schema, field, &format!("new_{asked}"));
                let answer = world.ask(path, method, operation, body).await;
                let errors = answer.body["errors"].as_array().cloned();
                let pointer = format!("/{field}");
                let mut errors = errors.unwrap_or_default().into_iter();
                let points = errors.any(|error| error["pointer"] == pointer.as_str());
                let refused = answer.status == 422 && points;
                if refused == nullable || points && !refused {
                    wrong.push(format!("{what}: {} {}", answer.status, answer.body));
                }
            }
        }
    }
    assert!(asked > 25, "{asked} fields");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn null_is_as_if_left_out_where_something_is_made() {
    let world = World::start().await;
    let body = json!({
        "text": "hello", "visibility": null, "language": null, "metadata": null,
        "reply_to_id": null,
    });
    let made = world.ada.client.post("/v1/posts", body).await.expect(201);
    world.app.settle().await;
    let path = format!("/v1/posts/{}", made.text("/id"));
    let post = world.ada.client.get(&path).await.expect(200);
    assert_eq!(post.text("/visibility"), "public");
    for field in ["language", "metadata", "reply_to_id"] {
        assert_eq!(post.body.get(field), None, "{field}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn null_clears_in_a_patch_and_what_is_left_out_stays() {
    let world = World::start().await;
    let (client, app) = (&world.ada.client, &world.app);
    let path = format!("/v1/posts/{}", world.post);
    let edit = async |body: Value| {
        let any = [("If-Match", "*")];
        let edited = client.send(Method::PATCH, &path, Some(body), &any).await;
        edited.expect(200);
        app.settle().await;
        let post = client.get(&path).await.expect(200);
        let field = |name| post.body.get(name).cloned();
        (field("language"), field("metadata"))
    };
    let (language, metadata) = (Some(json!("en")), Some(json!({"a": 1})));
    let both = json!({"text": "1", "language": "en", "metadata": {"a": 1}});
    assert_eq!(edit(both).await, (language.clone(), metadata.clone()));
    let neither = edit(json!({"text": "2"})).await;
    assert_eq!(neither, (language.clone(), metadata.clone()));
    let one = edit(json!({"text": "3", "language": null})).await;
    assert_eq!(one, (None, metadata.clone()));
    let other = edit(json!({"text": "4", "language": "en", "metadata": null})).await;
    assert_eq!(other, (language.clone(), None));
    let revisions = client.get(&format!("{path}/revisions")).await.expect(200);
    let items = revisions.body["items"].as_array().unwrap();
    let languages: Vec<_> = items.iter().map(|item| item.get("language")).collect();
    let kept = language.as_ref();
    assert_eq!(languages, [None, kept, kept, None], "the latest first");

    let change = json!({"display_name": "Ada", "bio": "Engines.", "private": true});
    client.patch("/v1/accounts/me", change).await.expect(200);
    let change = json!({"display_name": null});
    client.patch("/v1/accounts/me", change).await.expect(200);
    app.settle().await;
    let me = client.get("/v1/accounts/me").await.expect(200);
    assert_eq!(me.body.get("display_name"), None);
    assert_eq!(
        (me.text("/bio").as_str(), &me.body["private"]),
        ("Engines.", &json!(true))
    );
    let refused = client
        .patch("/v1/accounts/me", json!({"private": null}))
        .await;
    let refused = refused.problem(422, "invalid_field");
    assert_eq!(refused.text("/errors/0/pointer"), "/private");
    crate::examination::all_of_the_app_is_as_the_log_says(app).await;
}
