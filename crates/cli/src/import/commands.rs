//! The commands of one line.

use domain::{
    accounts::RegisterAccount,
    edges::Connect,
    follows::FollowAccount,
    handles::{Handle, HandleError, ReserveHandle},
    likes::Likes,
    posts::{PostId, PublishPost, Text, Visibility},
};
use eventlog::{ExecuteError, Intent, LogError};
use kernel::{AccountId, Command, SealError, Uuid};
use vault::{NewCredentials, VaultError};

use super::activity::Operation;
use crate::node::{Node, now};

/// What a line means, by ids.
pub struct Meant {
    pub operation: Operation,
    pub account: Option<AccountId>,
    /// The account that is followed.
    pub target: Option<AccountId>,
    /// The post that is made or liked, and the one replied to.
    pub post: Option<PostId>,
    pub parent: Option<PostId>,
    pub correlation: Uuid,
}

pub enum Refusal {
    /// The line is to blame.
    Refused(String),
    /// The line speaks of what another file, or another import, has.
    Elsewhere(String),
    /// A server is to blame: another try may help.
    Away(String),
    /// No try will help.
    Broken(String),
}

/// Whether it had an effect: a second run has none.
pub async fn send(node: &Node, meant: &Meant) -> Result<bool, Refusal> {
    let unknown = |what: &str| Refusal::Elsewhere(format!("{what} does not stand before it"));
    let account = meant.account.ok_or_else(|| unknown("the account"))?;
    match &meant.operation {
        Operation::Register { user } => register(node, account, user, meant.correlation).await,
        Operation::Follow { .. } => {
            let target = meant.target.ok_or_else(|| unknown("who is followed"))?;
            let follow = FollowAccount { account, target };
            execute(node, account, meant.correlation, &follow).await
        }
        Operation::Like { .. } => {
            let post = meant.post.ok_or_else(|| unknown("the post"))?;
            let like = Connect::<Likes>::new(account, post);
            execute(node, account, meant.correlation, &like).await
        }
        Operation::Post { text, .. } | Operation::Reply { text, .. } => {
            let is_reply = matches!(meant.operation, Operation::Reply { .. });
            if is_reply && meant.parent.is_none() {
                return Err(unknown("the post that is replied to"));
            }
            let text: Text = text.parse().map_err(refused)?;
            let publish = PublishPost {
                post: meant.post.ok_or_else(|| unknown("the account"))?,
                author: account,
                text,
                language: None,
                metadata: None,
                visibility: Visibility::Public,
                reply_to: meant.parent,
            };
            execute(node, account, meant.correlation, &publish).await
        }
    }
}

async fn register(
    node: &Node,
    account: AccountId,
    user: &str,
    correlation: Uuid,
) -> Result<bool, Refusal> {
    let handle: Handle = user.parse().map_err(refused)?;
    let reserve = ReserveHandle {
        handle: handle.clone(),
        account,
        attempt: account.0,
        now: now(),
        abandoned: None,
    };
    let reserved = run(node, account, correlation, &reserve).await;
    reserved.map_err(|error| match error {
        ExecuteError::Refused(error @ HandleError::HandleTaken) => {
            Refusal::Elsewhere(error.to_string())
        }
        error => blame(error),
    })?;
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(refused)?;
    let credentials = NewCredentials {
        account,
        attempt: account.0,
        email: None,
        password_hash: None,
    };
    node.vault
        .admit(credentials, key)
        .await
        .map_err(|error| match error {
            VaultError::EmailTaken(_) => refused(error),
            _ => Refusal::Away(error.to_string()),
        })?;
    let command = RegisterAccount {
        account,
        handle,
        display_name: None,
    };
    execute(node, account, correlation, &command).await
}

async fn execute<C: Command>(
    node: &Node,
    actor: AccountId,
    correlation: Uuid,
    command: &C,
) -> Result<bool, Refusal> {
    run(node, actor, correlation, command).await.map_err(blame)
}

async fn run<C: Command>(
    node: &Node,
    actor: AccountId,
    correlation: Uuid,
    command: &C,
) -> Result<bool, ExecuteError<C::Error>> {
    let intent = Intent {
        actor,
        now: now(),
        correlation,
        causation: None,
        key: None,
        trace: None,
    };
    let sealer = node.sealer.as_ref();
    node.log.check_room()?;
    let receipt = node.log.execute(command, &intent, sealer).await?;
    Ok(receipt.appended)
}

fn blame<E: std::fmt::Display>(error: ExecuteError<E>) -> Refusal {
    match &error {
        ExecuteError::Refused(error) => refused(error),
        ExecuteError::Log(
            LogError::Damaged(_) | LogError::Another { .. } | LogError::Partitions { .. },
        ) => Refusal::Broken(error.to_string()),
        // A full log is one too: it is archived and trimmed meanwhile.
        ExecuteError::Log(_) | ExecuteError::Seal(SealError::Unavailable(_)) => {
            Refusal::Away(error.to_string())
        }
        ExecuteError::Contended => Refusal::Away(error.to_string()),
        ExecuteError::Seal(_) | ExecuteError::KeyReused | ExecuteError::Codec(_) => refused(error),
    }
}

fn refused(error: impl ToString) -> Refusal {
    Refusal::Refused(error.to_string())
}
