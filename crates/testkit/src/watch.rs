//! Sees to it, at the end of a test, that nothing that one signs in with stands
//! where it does not belong: in what was said, in the files of the servers, in
//! tables. It refuses to judge a test that failed already.

use std::{
    collections::HashMap,
    io::{Read, Seek, SeekFrom},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use aho_corasick::AhoCorasick;
use devservices::Urls;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbErr, Statement};

use crate::secrets;

/// Files are looked at in pieces, which overlap by the longest secret.
const PIECE_BYTES: usize = 8 * 1_024 * 1_024;
const OVERLAP_BYTES: usize = 1_024;
/// What is shown of a place around what was found.
const CONTEXT_BYTES: usize = 120;
/// Where e-mail addresses live.
const VAULT: &str = "vault";

/// Of one test; it looks when it is dropped.
pub struct Watch {
    heard_before: u64,
    remembered_before: usize,
    /// What stood in files before, by file: they only grow.
    read_before: HashMap<(PathBuf, u64), u64>,
    places: Vec<PathBuf>,
    servers: Option<Urls>,
}

impl Watch {
    /// Over what is said, and over files and folders.
    pub fn over(places: Vec<PathBuf>) -> Self {
        secrets::listen();
        let (heard_before, remembered_before) = secrets::now();
        let mut read_before = HashMap::new();
        for place in &places {
            each_file(place, &mut |path| {
                if let Ok(file) = path.metadata() {
                    read_before.insert((path.to_owned(), file.ino()), file.len());
                }
            });
        }
        Self {
            heard_before,
            remembered_before,
            read_before,
            places,
            servers: None,
        }
    }

    /// Over servers and their files too; `urls` names the test's own database.
    pub(crate) async fn over_servers(urls: Urls) -> Self {
        let mut places = Vec::new();
        for url in [&urls.redis_log, &urls.redis_views] {
            let mut redis = connect(url).await.expect("the server runs");
            // Compressed texts cannot be searched.
            let set = redis::cmd("CONFIG")
                .arg(&["SET", "rdbcompression", "no"])
                .clone();
            set.exec_async(&mut redis).await.unwrap();
            let get = redis::cmd("CONFIG").arg(&["GET", "dir"]).clone();
            let (_, folder): (String, String) = get.query_async(&mut redis).await.unwrap();
            places.push(folder.into());
        }
        let database = Database::connect(&urls.database).await.unwrap();
        let folder = texts(&database, "SHOW data_directory").await.unwrap();
        places.push(Path::new(&folder[0]).with_file_name("postgres.log"));
        database.close().await.unwrap();
        let mut watch = Self::over(places);
        watch.servers = Some(urls);
        watch
    }

    async fn look(&self) -> Vec<String> {
        let mut search = Search::new(self.remembered_before);
        let mut offset = self.heard_before;
        loop {
            let piece = secrets::heard_at(offset, PIECE_BYTES);
            search.look_at("what was said", &piece, true);
            if piece.len() < PIECE_BYTES {
                break;
            }
            offset += (PIECE_BYTES - OVERLAP_BYTES) as u64;
        }
        if let Some(urls) = &self.servers {
            // A server that the test has ended has no more to tell.
            if let Ok(mut views) = connect(&urls.redis_views).await {
                let _ = redis::cmd("SAVE").exec_async(&mut views).await;
            }
            if let Ok(database) = Database::connect(&urls.database).await {
                look_at_tables(&mut search, &database).await;
                let _ = database.close().await;
            }
        }
        for place in &self.places {
            each_file(place, &mut |path| self.look_at_file(&mut search, path));
        }
        search.found
    }

    fn look_at_file(&self, search: &mut Search, path: &Path) {
        // It may be gone by now: servers rewrite and delete theirs.
        let Ok(mut file) = std::fs::File::open(path) else {
            return;
        };
        let known = (path.to_owned(), file.metadata().unwrap().ino());
        let before = self.read_before.get(&known).copied().unwrap_or_default();
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(before)).unwrap();
        file.read_to_end(&mut bytes).unwrap();
        search.look_at(&path.display().to_string(), &bytes, true);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        // The test's own runtime cannot wait here.
        let looking = || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().unwrap();
            runtime.block_on(self.look())
        };
        let looked = std::thread::scope(|scope| scope.spawn(looking).join());
        let found = looked.expect("one can look");
        assert!(
            found.is_empty(),
            "what one signs in with stands where it does not belong:\n{}",
            found.join("\n")
        );
    }
}

/// What is looked for, and where it was found.
struct Search {
    secrets: AhoCorasick,
    /// The first ones are marks of addresses, which the vault may hold.
    names: Vec<String>,
    found: Vec<String>,
}

impl Search {
    fn new(remembered_before: usize) -> Self {
        let marks = [
            secrets::EMAIL_MARK,
            secrets::PASSWORD_MARK,
            secrets::TOKEN_SECRET,
            secrets::LOG_SECRET,
            secrets::VAULT_SECRET,
        ];
        let mut all: Vec<Vec<u8>> = marks.map(|mark| mark.as_bytes().to_vec()).into();
        let mut names: Vec<_> = marks.map(str::to_owned).into();
        for secret in secrets::remembered_since(remembered_before) {
            names.push(format!("the secret {}", String::from_utf8_lossy(&secret)));
            all.push(secret);
        }
        let secrets = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .build(&all);
        Self {
            secrets: secrets.unwrap(),
            names,
            found: Vec::new(),
        }
    }

    fn look_at(&mut self, place: &str, bytes: &[u8], addresses: bool) {
        let mut all = self.secrets.find_iter(bytes);
        let wrong = all.find(|found| addresses || found.pattern().as_usize() > 0);
        if let Some(found) = wrong {
            let around = found.start().saturating_sub(CONTEXT_BYTES)
                ..(found.end() + CONTEXT_BYTES).min(bytes.len());
            let around = String::from_utf8_lossy(&bytes[around]).into_owned();
            let name = &self.names[found.pattern().as_usize()];
            self.found.push(format!("{name} in {place}: …{around}…"));
        }
    }
}

/// Every row of every table as text.
async fn look_at_tables(search: &mut Search, database: &DatabaseConnection) {
    let tables = "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
                  WHERE schemaname NOT IN ('pg_catalog', 'information_schema')";
    for table in texts(database, tables).await.unwrap() {
        let rows = format!("SELECT t::text FROM {table} AS t");
        // It may be gone by now: workers swap and drop generations.
        let Ok(rows) = texts(database, &rows).await else {
            continue;
        };
        let addresses = !table.starts_with(VAULT);
        for row in rows {
            search.look_at(&table, row.as_bytes(), addresses);
        }
    }
}

/// The first column.
async fn texts(database: &DatabaseConnection, sql: &str) -> Result<Vec<String>, DbErr> {
    let statement = Statement::from_string(database.get_database_backend(), sql);
    let rows = database.query_all_raw(statement).await?;
    rows.iter().map(|row| row.try_get_by_index(0)).collect()
}

async fn connect(url: &str) -> redis::RedisResult<redis::aio::MultiplexedConnection> {
    let client = redis::Client::open(url)?;
    client.get_multiplexed_async_connection().await
}

fn each_file(place: &Path, look: &mut dyn FnMut(&Path)) {
    if !place.is_dir() {
        return look(place);
    }
    let Ok(entries) = std::fs::read_dir(place) else {
        return;
    };
    for entry in entries.flatten() {
        each_file(&entry.path(), look);
    }
}
