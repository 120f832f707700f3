//! The oracle examines what stories leave behind; and it sees what is wrong.

use oracle::{Target, Verdict};
use testkit::{App, Servers};

/// Of an API at `api`, with every account in the sample.
pub fn target(servers: &Servers, api: String) -> Target {
    Target {
        log_url: servers.redis_log.clone(),
        key_prefix: servers.prefix.clone(),
        database_url: servers.database.clone(),
        views_url: Some(servers.redis_views.clone()),
        api_url: Some(api),
        token_secret: Some(crate::process::SECRET.into()),
        token_issuer: "headwater".into(),
        home_sample: 50,
        seed: 1,
        journal: None,
    }
}

pub async fn examine(target: Target) -> Verdict {
    let examined = tokio::task::spawn_blocking(move || oracle::examine(&target));
    examined.await.unwrap().unwrap()
}

/// Fails where the system is not as its log says.
pub async fn all_is_as_the_log_says(target: Target) {
    let verdict = examine(target).await;
    eprintln!("{:?}", verdict.counts);
    assert!(
        verdict.violations.is_empty(),
        "{}",
        verdict.violations.join("\n")
    );
}

pub async fn all_of_the_app_is_as_the_log_says(app: &App) {
    app.settle().await;
    all_is_as_the_log_says(target(&app.servers, app.url())).await;
}
