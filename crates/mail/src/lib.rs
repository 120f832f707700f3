#![doc = include_str!("../README.md")]

use std::{path::Path, sync::Arc, time::Duration};

use lettre::{
    Address, AsyncFileTransport, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{sleep, timeout},
};

/// Letters of one purpose that are not sent yet, those that are tried again too.
const LETTERS_MAX: usize = 256;
/// Letters of one purpose that are sent at once.
const SENT_AT_ONCE_MAX: usize = 2;
const SEND_SECONDS_MAX: u64 = 30;
/// Between tries: a code in a letter lives some minutes.
const PAUSES_SECONDS: [u64; 3] = [1, 5, 30];

/// One letter. Never printed.
pub struct Letter {
    pub to: String,
    pub subject: String,
    pub text: String,
}

/// What a letter is for. Each purpose has a queue of its own: a flood of one holds up no
/// other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Shows that an address is somebody's.
    Verification,
    /// For another password.
    Reset,
    /// Tells an owner what was changed.
    Notice,
}

impl Purpose {
    const ALL: [Self; 3] = [Self::Verification, Self::Reset, Self::Notice];
}

/// Sends letters; cheap to clone.
#[derive(Clone)]
pub struct Mailer {
    /// By purpose; none where nothing can be sent.
    queues: Option<Arc<[Queue; Purpose::ALL.len()]>>,
    from: Arc<Mailbox>,
}

struct Queue {
    letters: mpsc::UnboundedSender<Queued>,
    /// Bound it: whoever sends has one.
    places: Arc<Semaphore>,
}

/// A place in a queue: the letter that is put there is sent, or a log line says why not.
pub struct Place {
    letters: mpsc::UnboundedSender<Queued>,
    place: OwnedSemaphorePermit,
    from: Arc<Mailbox>,
}

/// A letter, and its place among all that are not sent yet.
type Queued = (Message, OwnedSemaphorePermit);

#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// Of settings; the reason holds no password.
    #[error("{0}")]
    Settings(String),
    #[error("no mail can be sent from here: MAIL_URL is not set")]
    Off,
    #[error("the letter has an address that mail cannot be sent to")]
    Address,
    #[error("too many letters wait to be sent")]
    Full,
}

enum Transport {
    Smtp(AsyncSmtpTransport<Tokio1Executor>),
    Files(AsyncFileTransport<Tokio1Executor>),
}

impl Mailer {
    /// `url`: `smtps://user:password@host:465`, `smtp://host:587?tls=required`,
    /// `file:///folder`, or nothing: every letter is refused. `from`: such as
    /// `Headwater <no-reply@example.org>`. Within a runtime.
    pub fn open(url: &str, from: &str) -> Result<Self, MailError> {
        let from: Mailbox = from.parse().map_err(|_| {
            MailError::Settings("the sender looks like Name <name@example.org>".into())
        })?;
        let mut mailer = Self {
            queues: None,
            from: Arc::new(from),
        };
        if !url.is_empty() {
            let transport = Arc::new(Transport::open(url)?);
            let queues = Purpose::ALL.map(|_| Queue::start(transport.clone()));
            mailer.queues = Some(Arc::new(queues));
        }
        Ok(mailer)
    }

    /// Whether letters can be sent at all.
    pub fn is_on(&self) -> bool {
        self.queues.is_some()
    }

    /// A place for a letter, to be taken before what it says is made: where there is
    /// none, nothing has changed.
    pub fn place(&self, purpose: Purpose) -> Result<Place, MailError> {
        let queues = self.queues.as_ref().ok_or(MailError::Off)?;
        let queue = &queues[purpose as usize];
        let place = queue.places.clone().try_acquire_owned();
        Ok(Place {
            letters: queue.letters.clone(),
            place: place.map_err(|_| MailError::Full)?,
            from: self.from.clone(),
        })
    }

    /// Waits until all letters are sent or given up, and not longer than `patience`:
    /// for a process that ends. Returns how many are left.
    pub async fn drain(&self, patience: Duration) -> usize {
        let Some(queues) = &self.queues else { return 0 };
        let all = u32::try_from(LETTERS_MAX).unwrap_or(u32::MAX);
        let drained = async {
            for queue in queues.iter() {
                drop(queue.places.acquire_many(all).await);
            }
        };
        match timeout(patience, drained).await {
            Ok(()) => 0,
            Err(_) => {
                let left = |queue: &Queue| LETTERS_MAX - queue.places.available_permits();
                queues.iter().map(left).sum()
            }
        }
    }
}

impl Queue {
    fn start(transport: Arc<Transport>) -> Self {
        let (letters, queue) = mpsc::unbounded_channel();
        tokio::spawn(deliver(transport, queue));
        Self {
            letters,
            places: Arc::new(Semaphore::new(LETTERS_MAX)),
        }
    }
}

impl Place {
    /// Puts a letter there.
    pub fn send(self, letter: Letter) -> Result<(), MailError> {
        // An address alone: a name before one in brackets would hide another.
        let to: Address = letter.to.parse().map_err(|_| MailError::Address)?;
        let to = Mailbox::new(None, to);
        let message = Message::builder()
            .from((*self.from).clone())
            .to(to)
            .subject(letter.subject)
            .header(ContentType::TEXT_PLAIN)
            .body(letter.text)
            .map_err(|_| MailError::Address)?;
        let sent = self.letters.send((message, self.place));
        sent.map_err(|_| MailError::Full)
    }
}

impl Transport {
    fn open(url: &str) -> Result<Self, MailError> {
        if let Some(folder) = kernel::folder_of(url) {
            let folder = &folder.map_err(|error| MailError::Settings(error.to_string()))?;
            make_private(folder).map_err(|error| {
                MailError::Settings(format!("{} cannot be used: {error}", folder.display()))
            })?;
            return Ok(Self::Files(AsyncFileTransport::new(folder)));
        }
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(url).map_err(|_| {
            let wanted = "is smtps://user:password@host:465, smtp://host:587?tls=required or \
                          file:///folder";
            MailError::Settings(wanted.into())
        })?;
        let patience = Duration::from_secs(SEND_SECONDS_MAX);
        Ok(Self::Smtp(transport.timeout(Some(patience)).build()))
    }

    /// The reason of a failure, without what the server said of the address, and
    /// whether another try may help.
    async fn send(&self, message: Message) -> Result<(), (String, bool)> {
        match self {
            Self::Smtp(smtp) => match smtp.send(message).await {
                Ok(_) => Ok(()),
                Err(error) => {
                    let reason = error.status().map_or_else(
                        || "the server cannot be talked to".into(),
                        |code| format!("the server answered {code}"),
                    );
                    Err((reason, !error.is_permanent()))
                }
            },
            Self::Files(files) => {
                let sent = files.send(message).await;
                sent.map(|_| ())
                    .map_err(|_| ("the file cannot be written".into(), true))
            }
        }
    }
}

/// A folder that only its user can look into: letters hold codes.
fn make_private(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(folder)
}

/// Until every `Mailer` is gone.
async fn deliver(transport: Arc<Transport>, mut queue: mpsc::UnboundedReceiver<Queued>) {
    let turns = Arc::new(Semaphore::new(SENT_AT_ONCE_MAX));
    while let Some((message, place)) = queue.recv().await {
        let (transport, turns) = (transport.clone(), turns.clone());
        // None waits for those that are tried again.
        tokio::spawn(async move {
            let _place = place;
            send(&transport, &turns, message).await;
        });
    }
}

async fn send(transport: &Transport, turns: &Semaphore, message: Message) {
    let mut pauses = PAUSES_SECONDS.into_iter();
    loop {
        let patience = Duration::from_secs(SEND_SECONDS_MAX);
        let Ok(turn) = turns.acquire().await else {
            return;
        };
        let sent = timeout(patience, transport.send(message.clone())).await;
        drop(turn);
        let (reason, helps) = match sent {
            Ok(Ok(())) => return,
            Ok(Err(failed)) => failed,
            Err(_) => ("the server takes too long".into(), true),
        };
        let Some(pause) = pauses.next().filter(|_| helps) else {
            tracing::error!(reason, "a letter could not be sent and is dropped");
            return;
        };
        tracing::warn!(reason, "a letter could not be sent; tries again");
        sleep(Duration::from_secs(pause)).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
        net::TcpListener,
    };

    use super::*;

    type Failure = Box<dyn std::error::Error + Send + Sync>;

    fn letter() -> Letter {
        Letter {
            to: "ada@example.org".into(),
            subject: "Your code".into(),
            text: "It is K7QF2-9XMPD.\n".into(),
        }
    }

    #[test]
    fn settings_that_cannot_be_used_are_refused() {
        for (url, from) in [
            ("http://example.org", "a@example.org"),
            ("smtp://", "a@example.org"),
            ("", "nobody"),
        ] {
            assert!(Mailer::open(url, from).is_err(), "{url} {from}");
        }
    }

    #[tokio::test]
    async fn without_an_address_of_a_server_letters_are_refused() -> Result<(), Failure> {
        let mailer = Mailer::open("", "a@example.org")?;
        assert!(matches!(mailer.place(Purpose::Reset), Err(MailError::Off)));
        Ok(())
    }

    #[tokio::test]
    async fn a_flood_of_one_purpose_leaves_places_for_the_others() -> Result<(), Failure> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("smtp://127.0.0.1:{}", listener.local_addr()?.port());
        let mailer = Mailer::open(&url, "a@example.org")?;
        // The server takes connections and says nothing.
        for _ in 0..LETTERS_MAX {
            mailer.place(Purpose::Verification)?.send(letter())?;
        }
        let full = mailer.place(Purpose::Verification);
        assert!(matches!(full, Err(MailError::Full)));
        mailer.place(Purpose::Reset)?.send(letter())?;
        mailer.place(Purpose::Notice)?.send(letter())?;
        let left = mailer.drain(Duration::from_millis(10)).await;
        assert_eq!(left, LETTERS_MAX + 2);
        // A place that is not used comes back.
        drop(mailer.place(Purpose::Reset)?);
        Ok(())
    }

    #[tokio::test]
    async fn a_letter_goes_to_a_server() -> Result<(), Failure> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("smtp://127.0.0.1:{}", listener.local_addr()?.port());
        let mailer = Mailer::open(&url, "Headwater <no-reply@example.org>")?;
        mailer.place(Purpose::Reset)?.send(letter())?;
        let (stream, _) = listener.accept().await?;
        assert_eq!(mailer.drain(Duration::from_millis(10)).await, 1);
        let (reader, mut writer) = stream.into_split();
        let mut lines = BufReader::new(reader).lines();
        writer.write_all(b"220 here\r\n").await?;
        let mut heard = Vec::new();
        let mut in_data = false;
        while let Some(line) = lines.next_line().await? {
            let answer: &[u8] = match line.as_str() {
                "." => b"250 taken\r\n",
                "DATA" => b"354 go on\r\n",
                _ if in_data => b"",
                _ => b"250 fine\r\n",
            };
            in_data = line == "DATA" || (in_data && line != ".");
            writer.write_all(answer).await?;
            let last = line == "QUIT";
            heard.push(line);
            if last {
                break;
            }
        }
        let heard = heard.join("\n");
        for part in [
            "MAIL FROM:<no-reply@example.org>",
            "RCPT TO:<ada@example.org>",
            "Subject: Your code",
            "It is K7QF2-9XMPD.",
        ] {
            assert!(heard.contains(part), "{part}: {heard}");
        }
        assert_eq!(mailer.drain(Duration::from_secs(10)).await, 0);
        Ok(())
    }

    #[tokio::test]
    async fn a_letter_goes_into_a_file_of_a_private_folder() -> Result<(), Failure> {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir()?;
        let inside = folder.path().join("mail");
        let mailer = Mailer::open(&format!("file://{}", inside.display()), "a@example.org")?;
        mailer.place(Purpose::Reset)?.send(letter())?;
        let text = loop {
            let mut found = std::fs::read_dir(&inside)?;
            match found.next() {
                Some(found)
                    if found
                        .as_ref()
                        .is_ok_and(|f| f.metadata().is_ok_and(|m| m.len() > 0)) =>
                {
                    break std::fs::read_to_string(found?.path())?;
                }
                _ => sleep(Duration::from_millis(1)).await,
            }
        };
        assert!(text.contains("It is K7QF2-9XMPD."), "{text}");
        let mode = std::fs::metadata(&inside)?.permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        Ok(())
    }
}
