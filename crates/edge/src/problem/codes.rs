//! The codes of problems: one list, with a status, a title and what to do about each, in
//! every language.

use poem::http::StatusCode;

use crate::{language::Text, text};

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $status:ident,
        $title_en:literal, $title_de:literal, $advice_en:literal, $advice_de:literal;)+) => {
        /// What clients may branch on. A released code is never renamed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[$doc])* $variant,)+
        }

        impl Code {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            pub const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)+ }
            }

            pub const fn title(self) -> Text {
                match self { $(Self::$variant => text!($title_en, $title_de),)+ }
            }

            /// What a client does about it; `detail` where nothing closer is said.
            pub const fn advice(self) -> Text {
                match self { $(Self::$variant => text!($advice_en, $advice_de),)+ }
            }
        }
    };
}

codes! {
    /// Not JSON, too deep, or a header that cannot be read.
    MalformedRequest = "malformed_request", BAD_REQUEST,
        "The request cannot be read", "Die Anfrage ist nicht lesbar",
        "Send a request line, headers and JSON as RFC 9112 and RFC 8259 have them.",
        "Senden Sie Anfragezeile, Header und JSON nach RFC 9112 und RFC 8259.";
    /// In the path or the query.
    InvalidParameter = "invalid_parameter", BAD_REQUEST,
        "A parameter is not acceptable", "Ein Parameter ist nicht zulässig",
        "Correct the parameters that errors lists.",
        "Korrigieren Sie die Parameter, die errors aufzählt.";
    UnknownPosition = "unknown_position", BAD_REQUEST,
        "There is no such position", "Diese Position gibt es nicht",
        "Send a position that an answer of this server gave as Event-Position or As-Of.",
        "Senden Sie eine Position, die eine Antwort dieses Servers als Event-Position oder As-Of enthielt.";
    InvalidCursor = "invalid_cursor", BAD_REQUEST,
        "The cursor is not of this query", "Der Cursor gehört nicht zu dieser Abfrage",
        "Take the cursor from a page of the same query, or begin again without one.",
        "Nehmen Sie den Cursor von einer Seite derselben Abfrage, oder beginnen Sie ohne Cursor neu.";
    Unauthenticated = "unauthenticated", UNAUTHORIZED,
        "Sign in first", "Melden Sie sich zuerst an",
        "Send an access token: Authorization: Bearer.",
        "Senden Sie ein Zugangstoken: Authorization: Bearer.";
    InvalidToken = "invalid_token", UNAUTHORIZED,
        "The access token is not valid", "Das Zugangstoken ist ungültig",
        "Refresh the session; where that is refused too, sign in again.",
        "Erneuern Sie die Sitzung; wird auch das abgelehnt, melden Sie sich neu an.";
    TokenExpired = "token_expired", UNAUTHORIZED,
        "The access token has expired", "Das Zugangstoken ist abgelaufen",
        "Refresh the session with its refresh token (POST /v1/sessions/refresh), and send the request again.",
        "Erneuern Sie die Sitzung mit ihrem Erneuerungstoken (POST /v1/sessions/refresh), und senden Sie die Anfrage noch einmal.";
    SessionEnded = "session_ended", UNAUTHORIZED,
        "The session was ended", "Die Sitzung wurde beendet",
        "Sign in again: the session was ended here or elsewhere.",
        "Melden Sie sich neu an: Die Sitzung wurde hier oder anderswo beendet.";
    InvalidRefreshToken = "invalid_refresh_token", UNAUTHORIZED,
        "The refresh token is not valid", "Das Erneuerungstoken ist ungültig",
        "Sign in again: this refresh token is not one of ours, or has expired.",
        "Melden Sie sich neu an: Dieses Erneuerungstoken ist keines von uns oder ist abgelaufen.";
    InvalidCredentials = "invalid_credentials", UNAUTHORIZED,
        "The credentials are wrong", "Die Anmeldedaten sind falsch",
        "Check the login and the password. An unknown account gives the same answer.",
        "Prüfen Sie Anmeldename und Passwort. Ein unbekanntes Konto ergibt dieselbe Antwort.";
    SecondFactorRequired = "second_factor_required", UNAUTHORIZED,
        "The second factor is missing", "Der zweite Faktor fehlt",
        "Send what your authenticator shows, or a recovery code, as one_time_code. The password was right.",
        "Senden Sie als one_time_code, was Ihr Authenticator zeigt, oder einen Wiederherstellungscode. Das Passwort war richtig.";
    WrongPassword = "wrong_password", FORBIDDEN,
        "The password is wrong", "Das Passwort ist falsch",
        "Enter your current password again.",
        "Geben Sie Ihr jetziges Passwort noch einmal ein.";
    InvalidCode = "invalid_code", FORBIDDEN,
        "The one-time code does not count", "Der Einmalcode gilt nicht",
        "Enter the newest code: wait for the next one of an authenticator, or ask for another letter.",
        "Geben Sie den neuesten Code ein: Warten Sie auf den nächsten des Authenticators, oder fordern Sie einen neuen Brief an.";
    EmailUnverified = "email_unverified", FORBIDDEN,
        "The e-mail address is not verified", "Die E-Mail-Adresse ist nicht bestätigt",
        "Verify the address with the code that was sent to it, then try again.",
        "Bestätigen Sie die Adresse mit dem Code, der an sie gesendet wurde, und versuchen Sie es dann noch einmal.";
    /// Told to those alone who know its password.
    AccountSuspended = "account_suspended", FORBIDDEN,
        "The account is suspended", "Das Konto ist gesperrt",
        "Write to the operators: nobody signs in to it until they restore it.",
        "Schreiben Sie den Betreibern: Niemand meldet sich an, bis sie es freigeben.";
    Forbidden = "forbidden", FORBIDDEN,
        "This is not allowed", "Das ist nicht erlaubt",
        "Leave it: this account may not do this.",
        "Lassen Sie es: Dieses Konto darf das nicht.";
    /// What is somebody else's.
    NotAuthor = "not_author", FORBIDDEN,
        "Only its author may do this", "Das darf nur, wer es verfasst hat",
        "Leave it to its author.",
        "Überlassen Sie es der Person, die es verfasst hat.";
    /// It is for followers, and the reader is none.
    AccountPrivate = "account_private", FORBIDDEN,
        "The account is private", "Das Konto ist privat",
        "Ask to follow the account: what it shows is for its followers.",
        "Bitten Sie darum, dem Konto zu folgen: Was es zeigt, ist für seine Follower.";
    /// It is for followers, and the account is not its author.
    NotRepostable = "not_repostable", FORBIDDEN,
        "The post cannot be reposted", "Der Beitrag kann nicht geteilt werden",
        "Leave it: a post for followers is reposted by its author alone.",
        "Lassen Sie es: Einen Beitrag für Follower teilt nur, wer ihn verfasst hat.";
    NotFound = "not_found", NOT_FOUND,
        "There is no such thing", "Das gibt es nicht",
        "Check the id or the path. What is hidden from you gives the same answer.",
        "Prüfen Sie Kennung oder Pfad. Was vor Ihnen verborgen ist, ergibt dieselbe Antwort.";
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED,
        "The method is not allowed here", "Die Methode ist hier nicht erlaubt",
        "Use one of the methods in Allow.",
        "Verwenden Sie eine der Methoden in Allow.";
    NotAcceptable = "not_acceptable", NOT_ACCEPTABLE,
        "No acceptable representation", "Keine annehmbare Darstellung",
        "Accept application/json, which everything here is, or leave Accept out.",
        "Nehmen Sie application/json an, das alles hier ist, oder lassen Sie Accept weg.";
    Conflict = "conflict", CONFLICT,
        "The state does not allow this", "Der Stand lässt das nicht zu",
        "Read what it is now.",
        "Lesen Sie, wie es jetzt ist.";
    SelfFollow = "self_follow", CONFLICT,
        "Nobody can follow themselves", "Niemand kann sich selbst folgen",
        "Follow another account: this is your own.",
        "Folgen Sie einem anderen Konto: Dies ist Ihr eigenes.";
    SelfBlock = "self_block", CONFLICT,
        "Nobody can block themselves", "Niemand kann sich selbst blockieren",
        "Block another account: this is your own.",
        "Blockieren Sie ein anderes Konto: Dies ist Ihr eigenes.";
    SelfMute = "self_mute", CONFLICT,
        "Nobody can mute themselves", "Niemand kann sich selbst stummschalten",
        "Mute another account: this is your own.",
        "Schalten Sie ein anderes Konto stumm: Dies ist Ihr eigenes.";
    /// The account that writes blocks it.
    AccountBlocked = "account_blocked", CONFLICT,
        "You block this account", "Sie blockieren dieses Konto",
        "Unblock the account first.",
        "Heben Sie zuerst die Blockierung auf.";
    NotPinnable = "not_pinnable", CONFLICT,
        "The post cannot be pinned", "Der Beitrag kann nicht angeheftet werden",
        "Pin a public post of your own that still exists.",
        "Heften Sie einen eigenen öffentlichen Beitrag an, den es noch gibt.";
    TooManyFolders = "too_many_folders", CONFLICT,
        "There are as many folders as an account may have", "Es gibt so viele Ordner, wie ein Konto haben darf",
        "Delete a folder first.",
        "Löschen Sie zuerst einen Ordner.";
    HandleTaken = "handle_taken", CONFLICT,
        "The handle is taken", "Der Handle ist vergeben",
        "Choose another handle.",
        "Wählen Sie einen anderen Handle.";
    EmailTaken = "email_taken", CONFLICT,
        "The e-mail address is taken", "Die E-Mail-Adresse ist vergeben",
        "Sign in with this address, reset its password, or use another one.",
        "Melden Sie sich mit dieser Adresse an, setzen Sie ihr Passwort zurück, oder verwenden Sie eine andere.";
    /// There is nothing to send a code for.
    EmailVerified = "email_verified", CONFLICT,
        "There is no address to verify", "Es gibt keine Adresse zu bestätigen",
        "Go on: the address is verified already, or the account has none.",
        "Fahren Sie fort: Die Adresse ist schon bestätigt, oder das Konto hat keine.";
    UndeliverableEmail = "undeliverable_email", CONFLICT,
        "Mail cannot be sent to this address", "An diese Adresse kann keine Post gesendet werden",
        "Use another e-mail address.",
        "Verwenden Sie eine andere E-Mail-Adresse.";
    /// One process of registering died, and another took what it held.
    RegistrationExpired = "registration_expired", CONFLICT,
        "The registration took too long", "Die Registrierung hat zu lange gedauert",
        "Register again.",
        "Registrieren Sie sich noch einmal.";
    /// Two changed it at the same moment.
    PasswordChanged = "password_changed", CONFLICT,
        "The password was changed meanwhile", "Das Passwort wurde inzwischen geändert",
        "Sign in with the new password.",
        "Melden Sie sich mit dem neuen Passwort an.";
    SecondFactorExists = "second_factor_exists", CONFLICT,
        "There is a second factor already", "Es gibt schon einen zweiten Faktor",
        "Remove the second factor before you add another one.",
        "Entfernen Sie den zweiten Faktor, bevor Sie einen anderen hinzufügen.";
    VersionMismatch = "version_mismatch", PRECONDITION_FAILED,
        "It has changed since it was read", "Es hat sich geändert, seit es gelesen wurde",
        "Read it again, apply the change to what it is now, and send its new ETag.",
        "Lesen Sie es neu, wenden Sie die Änderung auf den jetzigen Stand an, und senden Sie dessen ETag.";
    /// The edit does not say which version it is of.
    PreconditionRequired = "precondition_required", PRECONDITION_REQUIRED,
        "The edit must say what it edits", "Die Änderung muss sagen, was sie ändert",
        "Send the ETag that you read as If-Match, or * for whatever there is.",
        "Senden Sie den gelesenen ETag als If-Match, oder * für jeden Stand.";
    PayloadTooLarge = "payload_too_large", PAYLOAD_TOO_LARGE,
        "The body is too long", "Der Inhalt ist zu lang",
        "Send a shorter body.",
        "Senden Sie einen kürzeren Inhalt.";
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE,
        "The media type is not supported", "Der Medientyp wird nicht unterstützt",
        "Send JSON, and say so: Content-Type: application/json.",
        "Senden Sie JSON, und sagen Sie es: Content-Type: application/json.";
    /// JSON, but a field is missing, unknown or has a value that is not taken.
    InvalidField = "invalid_field", UNPROCESSABLE_ENTITY,
        "A field is not acceptable", "Ein Feld ist nicht zulässig",
        "Correct the fields that errors lists.",
        "Korrigieren Sie die Felder, die errors aufzählt.";
    IdempotencyKeyReused = "idempotency_key_reused", UNPROCESSABLE_ENTITY,
        "The idempotency key was used with another body", "Der Idempotenzschlüssel wurde mit anderem Inhalt verwendet",
        "Use a new Idempotency-Key for a new request, or send the first body again.",
        "Verwenden Sie für eine neue Anfrage einen neuen Idempotency-Key, oder senden Sie den ersten Inhalt noch einmal.";
    /// The request line and the headers.
    HeadTooLarge = "head_too_large", REQUEST_HEADER_FIELDS_TOO_LARGE,
        "The head of the request is too long", "Der Kopf der Anfrage ist zu lang",
        "Send fewer or shorter headers, or a shorter path.",
        "Senden Sie weniger oder kürzere Header oder einen kürzeren Pfad.";
    TooManyRequests = "too_many_requests", TOO_MANY_REQUESTS,
        "Too many requests", "Zu viele Anfragen",
        "Wait as many seconds as Retry-After says. RateLimit-Policy names the limit.",
        "Warten Sie so viele Sekunden, wie Retry-After sagt. RateLimit-Policy nennt die Grenze.";
    Internal = "internal", INTERNAL_SERVER_ERROR,
        "Something went wrong here", "Hier ist etwas schiefgegangen",
        "Try again later, and tell the operators the request_id.",
        "Versuchen Sie es später noch einmal, und nennen Sie den Betreibern die request_id.";
    Unavailable = "unavailable", SERVICE_UNAVAILABLE,
        "A server that this needs does not answer", "Ein benötigter Server antwortet nicht",
        "Try again after Retry-After seconds, a write with the same Idempotency-Key.",
        "Versuchen Sie es nach Retry-After Sekunden noch einmal, Schreibendes mit demselben Idempotency-Key.";
    Overloaded = "overloaded", SERVICE_UNAVAILABLE,
        "Too much is going on", "Es ist zu viel los",
        "Try again after Retry-After seconds, a write with the same Idempotency-Key.",
        "Versuchen Sie es nach Retry-After Sekunden noch einmal, Schreibendes mit demselben Idempotency-Key.";
    ProjectionBehind = "projection_behind", SERVICE_UNAVAILABLE,
        "The read model is behind", "Das Lesemodell liegt zurück",
        "Try again after Retry-After seconds: it will have caught up.",
        "Versuchen Sie es nach Retry-After Sekunden noch einmal: Dann hat es aufgeholt.";
    /// Events of what was asked for wait for an operator.
    Parked = "parked", SERVICE_UNAVAILABLE,
        "This waits for an operator", "Dies wartet auf die Betreiber",
        "Try again later: an operator has to look at it. Everything else works.",
        "Versuchen Sie es später noch einmal: Die Betreiber müssen es ansehen. Alles andere geht.";
    DeadlineExceeded = "deadline_exceeded", SERVICE_UNAVAILABLE,
        "The request took too long", "Die Anfrage hat zu lange gedauert",
        "Try again after Retry-After seconds, a write with the same Idempotency-Key: it may have been done.",
        "Versuchen Sie es nach Retry-After Sekunden noch einmal, Schreibendes mit demselben Idempotency-Key: Es kann geschehen sein.";
}
