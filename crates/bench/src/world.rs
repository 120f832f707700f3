//! Who and what there is to ask about: accounts with tokens, posts. Read from
//! the tables that the load left, so that ids are the build's own.

use std::{sync::Arc, time::Instant};

use anyhow::ensure;
use edge::tokens::{SigningKey, TokenSettings, Tokens};
use kernel::{AccountId, Uuid};
use sea_orm::sqlx::{PgPool, Row, query as sql};

use crate::{
    load::{Maker, WriteRequest, request},
    random::{Random, Zipf},
    roles::{CURSOR_SECRET, TOKEN_SECRET},
};

/// Tokens live 15 minutes: they are signed anew well before.
const TOKENS_SECONDS_MAX: u64 = 8 * 60;
const HEAT_EXPONENT: f64 = 1.0;

/// Cheap to clone.
#[derive(Clone)]
pub struct World {
    pub accounts: Arc<[Uuid]>,
    pub account_names: Arc<[String]>,
    /// As written in paths; the hottest first.
    pub posts: Arc<[String]>,
    /// Draws posts: a few are asked for most.
    pub heat: Arc<Zipf>,
    /// By account.
    pub tokens: Arc<[String]>,
    signed: Instant,
}

impl World {
    pub async fn look(pool: &PgPool) -> anyhow::Result<Self> {
        let accounts = ids(pool, "SELECT id FROM social.accounts ORDER BY id").await?;
        let mut posts = ids(pool, "SELECT id FROM social.posts ORDER BY id").await?;
        ensure!(
            !accounts.is_empty() && !posts.is_empty(),
            "nothing is loaded"
        );
        // The hot ones are anywhere, not the oldest.
        let mut random = Random::new(1);
        for index in (1..posts.len()).rev() {
            posts.swap(index, random.below(index + 1));
        }
        Ok(Self {
            tokens: sign(&accounts)?,
            account_names: accounts.iter().map(Uuid::to_string).collect(),
            accounts: accounts.into(),
            heat: Arc::new(Zipf::new(posts.len(), HEAT_EXPONENT)),
            posts: posts.iter().map(Uuid::to_string).collect(),
            signed: Instant::now(),
        })
    }

    pub fn refresh_tokens(&mut self) -> anyhow::Result<()> {
        if self.signed.elapsed().as_secs() > TOKENS_SECONDS_MAX {
            self.tokens = sign(&self.accounts)?;
            self.signed = Instant::now();
        }
        Ok(())
    }

    pub fn any_token(&self, random: &mut Random) -> &str {
        &self.tokens[random.below(self.tokens.len())]
    }

    pub fn any_post(&self, random: &mut Random) -> &str {
        &self.posts[random.below(self.posts.len())]
    }

    pub fn hot_post(&self, random: &mut Random) -> &str {
        &self.posts[self.heat.draw(random)]
    }

    /// Likes by anybody of hot posts; each is taken back by the next request,
    /// so that every request makes an event.
    pub fn like_and_unlike(&self, connection: usize) -> Maker {
        self.like_and_unlike_by(request, connection)
    }

    pub fn like_and_unlike_by(&self, write: WriteRequest, connection: usize) -> Maker {
        let (world, mut random) = (self.clone(), Random::new(connection as u64 + 1));
        let mut last = None;
        Box::new(move |out| {
            let (method, (account, post)) = match last.take() {
                Some(last) => ("DELETE", last),
                None => {
                    let account = random.below(world.tokens.len());
                    let post = world.heat.draw(&mut random);
                    last = Some((account, post));
                    ("PUT", (account, post))
                }
            };
            let path = ["/v1/posts/", &world.posts[post], "/like"];
            write(out, method, &path, &world.tokens[account], "");
        })
    }
}

pub fn sign(accounts: &[Uuid]) -> anyhow::Result<Arc<[String]>> {
    let tokens = Tokens::new(TokenSettings {
        issuer: "headwater".into(),
        audience: "headwater".into(),
        signing: SigningKey::Secret(TOKEN_SECRET.into()),
        accepted: Vec::new(),
        session_secret: CURSOR_SECRET.into(),
    })?;
    let now = edge::identity::now();
    let sign = |account: &Uuid| Ok(tokens.issue(AccountId(*account), *account, now)?);
    accounts.iter().map(sign).collect()
}

async fn ids(pool: &PgPool, query: &'static str) -> anyhow::Result<Vec<Uuid>> {
    let rows = sql(query).fetch_all(pool).await?;
    rows.iter().map(|row| Ok(row.try_get("id")?)).collect()
}
