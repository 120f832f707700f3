//! Servers with TLS on, and certificates made for them. Each has its plain port too,
//! for the test itself.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
};

use devservices::{PostgresServer, Programs, RedisOptions, RedisRole, RedisServer, Urls};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use sea_orm::{ConnectionTrait, Database};
use tempfile::TempDir;

/// The only name in the certificates; servers listen at 127.0.0.1, which it is of.
pub const NAME: &str = "localhost";

/// One that signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// PEM of its own certificate.
    pub file: PathBuf,
    folder: TempDir,
}

/// A certificate and its key, in files that servers can read.
pub struct Signed {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::CommonName, name);
        let certificate = parameters.self_signed(&key).unwrap();
        let file = folder.path().join("authority.pem");
        std::fs::write(&file, certificate.pem()).unwrap();
        let issuer = Issuer::new(parameters, key);
        Self {
            issuer,
            file,
            folder,
        }
    }

    /// For `NAME`.
    pub fn sign(&self, what: &str) -> Signed {
        self.sign_until(what, 2040)
    }

    /// One that has expired.
    pub fn sign_expired(&self, what: &str) -> Signed {
        self.sign_until(what, 2020)
    }

    fn sign_until(&self, what: &str, year: i32) -> Signed {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new([NAME.to_owned()]).unwrap();
        parameters.not_before = date_time_ymd(2010, 1, 1);
        parameters.not_after = date_time_ymd(year, 1, 1);
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        let path = |end: &str| self.folder.path().join(format!("{what}.{end}"));
        let signed = Signed {
            certificate: path("pem"),
            key: path("key"),
        };
        std::fs::write(&signed.certificate, certificate.pem()).unwrap();
        std::fs::write(&signed.key, key.serialize_pem()).unwrap();
        signed
    }
}

/// A log, views and a database that speak TLS with certificates of `authority`.
pub struct Encrypted {
    pub authority: Authority,
    pub log: RedisServer,
    pub views: RedisServer,
    pub database: PostgresServer,
    pub log_port: u16,
    pub views_port: u16,
}

impl Encrypted {
    pub async fn start() -> Self {
        let authority = Authority::new("the authority of tests");
        let programs = Programs::find_or_install(&|line| eprintln!("{line}"))
            .await
            .unwrap();
        let (log, log_port) = redis(&programs, &authority, RedisRole::Log).await;
        let (views, views_port) = redis(&programs, &authority, RedisRole::Views).await;
        let database = PostgresServer::throwaway(&programs).await.unwrap();
        let encrypted = Self {
            authority,
            log,
            views,
            database,
            log_port,
            views_port,
        };
        let signed = encrypted.authority.sign("postgres");
        encrypted.give_to_database(&signed).await;
        encrypted
    }

    /// Without TLS.
    pub fn plain(&self) -> Urls {
        Urls {
            database: self.database.url().to_owned(),
            redis_log: self.log.url().to_owned(),
            redis_views: self.views.url().to_owned(),
        }
    }

    pub fn log_url(&self, host: &str) -> String {
        format!("rediss://{host}:{}", self.log_port)
    }

    pub fn views_url(&self, host: &str) -> String {
        format!("rediss://{host}:{}", self.views_port)
    }

    /// Turns TLS on, with this certificate.
    pub async fn give_to_database(&self, signed: &Signed) {
        let data = self.database.directory().join("data");
        let own = |name: &str| data.join(name);
        place(&signed.certificate, &own("server.crt"), &data);
        place(&signed.key, &own("server.key"), &data);
        self.execute(&[
            "ALTER SYSTEM SET ssl_cert_file = 'server.crt'",
            "ALTER SYSTEM SET ssl_key_file = 'server.key'",
            "ALTER SYSTEM SET ssl = on",
            "SELECT pg_reload_conf()",
        ])
        .await;
    }

    /// From now on the database takes no connection without TLS.
    pub async fn refuse_plain_connections(&self) {
        let rule = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(rule.path(), "hostssl all all 127.0.0.1/32 trust\n").unwrap();
        let data = self.database.directory().join("data");
        place(rule.path(), &data.join("pg_hba.conf"), &data);
        self.execute(&["SELECT pg_reload_conf()"]).await;
    }

    /// As the one who may do all.
    pub async fn execute(&self, statements: &[&str]) {
        let database = Database::connect(self.database.url()).await.unwrap();
        for statement in statements {
            database.execute_unprepared(statement).await.unwrap();
        }
        database.close().await.unwrap();
    }
}

async fn redis(programs: &Programs, authority: &Authority, role: RedisRole) -> (RedisServer, u16) {
    let signed = authority.sign(&format!("{role:?}"));
    // It is free again when the server takes it.
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    let options = RedisOptions::throwaway(programs, role)
        .unwrap()
        .line(&format!("tls-port {port}"))
        .line(&format!("tls-cert-file {}", signed.certificate.display()))
        .line(&format!("tls-key-file {}", signed.key.display()))
        .line(&format!("tls-ca-cert-file {}", authority.file.display()))
        .line("tls-auth-clients no");
    drop(free);
    (RedisServer::start(options).await.unwrap(), port)
}

/// A copy that the owner of `data` alone may read.
fn place(from: &Path, to: &Path, data: &Path) {
    let status = Command::new("sh")
        .arg("-c")
        .arg(r#"cp "$1" "$2" && chmod 600 "$2" && chown --reference="$3" "$2""#)
        .arg("sh")
        .args([from, to, data])
        .status();
    assert!(status.unwrap().success());
}
