//! What is remembered can be made again.

use kernel::AccountId;
use readmodel::timelines::home_ids;
use testkit::home;

use super::setting::{Setting, TABLES};

async fn homes(setting: &Setting, accounts: &[AccountId]) -> Vec<Vec<kernel::Uuid>> {
    let mut homes = Vec::new();
    for reader in accounts {
        let page = home(setting.pool(), Some(&setting.lists), *reader, None, 100).await;
        let ids = page.unwrap();
        let oracle = home_ids(setting.pool(), *reader, None, 100).await.unwrap();
        assert_eq!(ids, oracle);
        homes.push(ids.into_iter().map(|id| id.0).collect());
    }
    homes
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_whole_and_folded_again_is_as_it_was() {
    let setting = Setting::new().await;
    let mut accounts = setting.populate(1).await;
    setting.drain().await;
    homes(&setting, &accounts).await;
    accounts.extend(setting.populate(2).await);
    setting.drain().await;
    let (rows, shown) = (setting.rows().await, homes(&setting, &accounts).await);
    assert!(rows.len() > 100 && shown.iter().all(|home| home.len() > 1));

    for table in TABLES {
        setting
            .execute_sql(&format!("TRUNCATE social.{table}"))
            .await;
    }
    for table in ["checkpoints", "pulled_authors"] {
        setting
            .execute_sql(&format!("DELETE FROM projections.{table}"))
            .await;
    }
    let client = redis::Client::open(setting.servers.redis_views.as_str()).unwrap();
    let mut views = client.get_multiplexed_async_connection().await.unwrap();
    for reader in &accounts {
        let mut key = format!("{}:home:", setting.servers.prefix).into_bytes();
        key.extend_from_slice(reader.0.as_bytes());
        let gone: u64 = redis::cmd("DEL")
            .arg(key)
            .query_async(&mut views)
            .await
            .unwrap();
        assert_eq!(gone, 1, "every home had a list");
    }
    assert_eq!(setting.rows().await, Vec::<String>::new());

    setting.drain().await;
    assert_eq!(setting.rows().await, rows);
    assert_eq!(homes(&setting, &accounts).await, shown);
}
