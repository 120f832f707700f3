//! Makes PostgreSQL data directories (which PostgreSQL calls clusters): afresh
//! for persistent servers, as copies of a cached one for throw-away servers,
//! since `initdb` takes seconds. Starts no server.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::SystemTime;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::Mutex;

use crate::account::Account;
use crate::install::last_lines;
use crate::{Error, Programs, record};

/// The name of the database, and of the user that owns all.
pub(crate) const DATABASE: &str = "headwater";

const DATA: &str = "data";
const UNFINISHED: &str = "unfinished-";
const TEMPLATE: &str = "headwater-postgres-template";
/// Cleaners of /tmp delete old files one by one, which would leave a template
/// with holes: it is made anew before that.
const TEMPLATE_DAYS: u64 = 2;
const OUTPUT_LINES_MAX: usize = 15;
/// Not every system has the first.
const LOCALES: [&str; 2] = ["C.UTF-8", "C"];

/// One `initdb` at a time in a process; between processes the rename decides.
static MAKING_TEMPLATE: Mutex<()> = Mutex::const_new(());

pub(crate) fn data(directory: &Path) -> PathBuf {
    directory.join(DATA)
}

/// Makes the data in this directory, unless it is there.
pub(crate) async fn ensure(
    programs: &Programs,
    account: &Account,
    directory: &Path,
    password: &str,
) -> Result<(), Error> {
    account.own_directory(directory)?;
    if is_made(&data(directory)) {
        return own_tree(account, directory);
    }
    remove_unfinished(directory);
    let unfinished = unfinished(directory)?;
    account.own_directory(&unfinished)?;
    let made = make(programs, account, &unfinished, Some(password)).await?;
    rename(&made, &data(directory))?;
    remove_unfinished(directory);
    Ok(())
}

pub(crate) fn is_made(data: &Path) -> bool {
    data.join("PG_VERSION").exists()
}

/// Copies the data of a stopped server, with owners and modes.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let (from, to, unfinished) = (data(from), data(to), unfinished(to)?);
    let failed = |output: String| Error::Command {
        command: format!("cp -Rp {} {}", from.display(), unfinished.display()),
        output,
    };
    let output = std::process::Command::new("cp")
        .arg("-Rp")
        .args([&from, &unfinished])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    rename(&unfinished, &to)
}

/// For data whose password was lost with the folder's record.
pub(crate) async fn set_password(
    programs: &Programs,
    account: &Account,
    directory: &Path,
    password: &str,
) -> Result<(), Error> {
    let sql = format!("ALTER ROLE {DATABASE} PASSWORD '{password}'\n");
    single_user(programs, account, &data(directory), &sql).await
}

/// Puts a copy of the template into this directory.
pub(crate) async fn copy_template(
    programs: &Programs,
    account: &Account,
    directory: &Path,
) -> Result<(), Error> {
    let template = template(programs, account).await?;
    let target = data(directory);
    account.own_directory(&target)?;
    let arguments = ["-R".into(), template.join(".").into(), target.into()];
    run(account, Path::new("cp"), &arguments, "").await
}

/// The template's place. Several processes may make it at the same time: the
/// first to rename wins, the others use the winner's.
async fn template(programs: &Programs, account: &Account) -> Result<PathBuf, Error> {
    let parent = account.temporary_parent()?;
    let age = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let period = age.map_or(0, |age| age.as_secs() / (TEMPLATE_DAYS * 24 * 60 * 60));
    let stem = format!(
        "{TEMPLATE}-{}-{}",
        rustix::process::geteuid().as_raw(),
        account.uid()
    );
    let name = format!("{stem}-{}-{period}", version(programs, account).await?);
    let template = parent.join(name);

    let _making = MAKING_TEMPLATE.lock().await;
    if is_trusted(account, &template) {
        return Ok(template);
    }
    let directory = account.temporary_directory("postgres-template-new")?;
    let made = make(programs, account, &directory, None).await;
    let renamed = made.and_then(|made| rename(&made, &template));
    let _ = std::fs::remove_dir_all(&directory);
    if !is_trusted(account, &template) {
        renamed?;
    }
    remove_old_templates(&parent, &stem, period);
    Ok(template)
}

/// Everybody may write to /tmp: a template is used only if we made it.
fn is_trusted(account: &Account, template: &Path) -> bool {
    let data = template.symlink_metadata();
    data.is_ok_and(|data| data.is_dir() && data.uid() == account.uid()) && is_made(template)
}

fn remove_old_templates(parent: &Path, stem: &str, period: u64) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let of = name.to_str().filter(|name| name.starts_with(stem));
        let of = of.and_then(|name| name.rsplit('-').next()?.parse::<u64>().ok());
        // The one before may still be being copied.
        if of.is_some_and(|of| of + 1 < period) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Makes data in `directory/data`.
async fn make(
    programs: &Programs,
    account: &Account,
    directory: &Path,
    password: Option<&str>,
) -> Result<PathBuf, Error> {
    let data = directory.join(DATA);
    let mut arguments: Vec<OsString> = vec![
        "-D".into(),
        data.clone().into(),
        "--username".into(),
        DATABASE.into(),
        "--encoding=UTF8".into(),
    ];
    match password {
        None => arguments.extend(["--auth=trust", "--no-sync", "--wal-segsize=1"].map(Into::into)),
        Some(password) => {
            let file = directory.join("password");
            record::write_private(&file, format!("{password}\n").as_bytes())?;
            account.own(&file)?;
            arguments.extend([
                "--auth=scram-sha-256".into(),
                "--pwfile".into(),
                file.into(),
            ]);
        }
    }
    let mut made = Ok(());
    for locale in LOCALES {
        arguments.push(format!("--locale={locale}").into());
        made = run(account, &programs.initdb(), &arguments, "").await;
        if made.is_ok() {
            break;
        }
        arguments.pop();
        let _ = std::fs::remove_dir_all(&data);
    }
    made?;
    let sql = format!("CREATE DATABASE {DATABASE}\n");
    single_user(programs, account, &data, &sql).await?;
    Ok(data)
}

/// Runs SQL, a statement per line, without a server.
async fn single_user(
    programs: &Programs,
    account: &Account,
    data: &Path,
    sql: &str,
) -> Result<(), Error> {
    let arguments: Vec<OsString> = vec![
        "--single".into(),
        "-D".into(),
        data.into(),
        "-c".into(),
        // Else a refused statement looks like a success.
        "exit_on_error=on".into(),
        "postgres".into(),
    ];
    run(account, &programs.postgres(), &arguments, sql).await
}

async fn version(programs: &Programs, account: &Account) -> Result<String, Error> {
    let output = output(account, &programs.postgres(), &["--version".into()], "").await?;
    Ok(output
        .chars()
        .map(|letter| match letter {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' => letter,
            _ => '_',
        })
        .collect::<String>()
        .trim_matches('_')
        .to_owned())
}

async fn run(
    account: &Account,
    program: &Path,
    arguments: &[OsString],
    input: &str,
) -> Result<(), Error> {
    output(account, program, arguments, input).await.map(drop)
}

async fn output(
    account: &Account,
    program: &Path,
    arguments: &[OsString],
    input: &str,
) -> Result<String, Error> {
    let failed = |output: String| Error::Command {
        command: [program.as_os_str()]
            .into_iter()
            .chain(arguments.iter().map(OsString::as_os_str))
            .map(|part| part.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" "),
        output,
    };
    let mut command = std::process::Command::new(program);
    command
        .args(arguments)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    account.prepare(&mut command);
    let mut child = Command::from(command)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends without reading says why in its output.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let output = child
        .wait_with_output()
        .await
        .map_err(|error| failed(error.to_string()))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(said);
    }
    let all = said + &String::from_utf8_lossy(&output.stderr);
    Err(failed(last_lines(&all, OUTPUT_LINES_MAX)))
}

/// A folder that root copied belongs to root.
fn own_tree(account: &Account, path: &Path) -> Result<(), Error> {
    if *account == Account::Oneself {
        return Ok(());
    }
    let data = path
        .symlink_metadata()
        .map_err(Error::file("look at", path))?;
    if data.uid() != account.uid() {
        account.own(path)?;
    }
    if data.is_dir() {
        let entries = std::fs::read_dir(path).map_err(Error::file("list", path))?;
        for entry in entries.flatten() {
            own_tree(account, &entry.path())?;
        }
    }
    Ok(())
}

/// Data are made under another name and renamed when they are whole.
fn unfinished(directory: &Path) -> Result<PathBuf, Error> {
    Ok(directory.join(format!("{UNFINISHED}{}", record::random_hex(4)?)))
}

fn remove_unfinished(directory: &Path) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    std::fs::rename(from, to).map_err(Error::file("give its name to", to))
}
