//! E-mail addresses, in the one form that mail is sent to and that is compared.

use std::{fmt, str::FromStr};

use icu_properties::{CodePointSetData, props::DefaultIgnorableCodePoint};
use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

/// RFC 5321 allows 254 characters of an address in a path, 64 before the @.
const EMAIL_CHARACTERS_MAX: usize = 254;
const LOCAL_PART_CHARACTERS_MAX: usize = 64;

/// An address that a letter can be sent to. Its domain is in the form that the domain
/// name system has (RFC 5890, A-labels); compared without regard to case.
#[derive(Clone, PartialEq, Eq)]
pub struct Email(String);

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an e-mail address looks like name@example.org: one @; before it up to \
     {LOCAL_PART_CHARACTERS_MAX} of the letters a-z, digits and signs, without quotes; after it \
     the name of a domain; {EMAIL_CHARACTERS_MAX} characters in all, none invisible"
)]
pub struct InvalidEmail;

impl Email {
    /// As it is kept, and sent to.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As it is compared.
    pub fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }

    /// As letters are counted: what stands after a `+` leads to the same mailbox.
    pub fn mailbox(&self) -> String {
        let folded = self.folded();
        let (name, domain) = folded.rsplit_once('@').unwrap_or_default();
        let name = name.split('+').next().unwrap_or_default();
        format!("{name}@{domain}")
    }

    /// What is before the host.
    pub fn local_part(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(name, _)| name)
    }
}

impl FromStr for Email {
    type Err = InvalidEmail;

    /// Blanks around it do not count.
    fn from_str(text: &str) -> Result<Self, InvalidEmail> {
        let (name, domain) = text.trim().rsplit_once('@').ok_or(InvalidEmail)?;
        // IDNA would leave out what is not seen, and quotes are nobody's address any more.
        if !is_dot_atom(name) || domain.chars().any(is_invisible) {
            return Err(InvalidEmail);
        }
        let domain = Uts46::new()
            .to_ascii(
                domain.as_bytes(),
                AsciiDenyList::STD3,
                Hyphens::CheckFirstLast,
                DnsLength::Verify,
            )
            .map_err(|_| InvalidEmail)?;
        // No name of one part, and no number of a machine.
        let numeric = |last: &str| last.bytes().all(|b| b.is_ascii_digit());
        let named = (domain.rsplit_once('.')).is_some_and(|(_, last)| !numeric(last));
        let email = format!("{name}@{domain}");
        let mail_takes_it = || email.parse::<lettre::Address>().is_ok();
        match named && email.len() <= EMAIL_CHARACTERS_MAX && mail_takes_it() {
            true => Ok(Self(email)),
            false => Err(InvalidEmail),
        }
    }
}

/// RFC 5322, 3.2.3, in ASCII: not every server on the way takes more (RFC 6531).
fn is_dot_atom(name: &str) -> bool {
    let sign = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b);
    let atom = |part: &str| !part.is_empty() && part.bytes().all(sign);
    name.len() <= LOCAL_PART_CHARACTERS_MAX && name.split('.').all(atom)
}

/// Controls, and what is neither seen nor a blank.
pub(crate) fn is_invisible(c: char) -> bool {
    c.is_control() || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

impl fmt::Debug for Email {
    /// Never the address: debug output ends in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email(…)")
    }
}

#[cfg(test)]
mod tests {
    use mail::{Letter, Mailer, Purpose};

    use super::*;

    fn good() -> Vec<(String, &'static str)> {
        let long = |part: &str, count| part.repeat(count);
        let mut good: Vec<_> = [
            ("a@b.co", "a@b.co"),
            (
                "First.Last+tag@Sub.Example.ORG",
                "First.Last+tag@sub.example.org",
            ),
            (" kim@example.org\n", "kim@example.org"),
            ("\u{a0}kim@example.org\u{3000}", "kim@example.org"),
            (
                "!#$%&'*+-/=?^_`{|}~@example.org",
                "!#$%&'*+-/=?^_`{|}~@example.org",
            ),
            ("kim@bücher.example", "kim@xn--bcher-kva.example"),
            ("kim@BU\u{308}CHER.example", "kim@xn--bcher-kva.example"),
            ("kim@xn--bcher-kva.example", "kim@xn--bcher-kva.example"),
            ("kim@例え.テスト", "kim@xn--r8jz45g.xn--zckzah"),
            ("kim@例え。テスト", "kim@xn--r8jz45g.xn--zckzah"),
            ("kim@ｅｘａｍｐｌｅ.org", "kim@example.org"),
            ("kim@1and1.example", "kim@1and1.example"),
        ]
        .map(|(text, kept)| (text.to_owned(), kept))
        .into();
        good.push((format!("{}@example.org", long("x", 64)), ""));
        good.push((format!("x@{}.org", long("y", 63)), ""));
        good.push((format!("x@{}org", long("yyyyyyyyy.", 24)), ""));
        good
    }

    #[tokio::test]
    async fn a_letter_can_be_sent_to_what_is_taken() -> Result<(), mail::MailError> {
        let folder = tempfile::tempdir().map_err(|_| mail::MailError::Full)?;
        let url = format!("file://{}", folder.path().display());
        let mailer = Mailer::open(&url, "a@example.org")?;
        for (text, kept) in good() {
            let email = text.parse::<Email>();
            assert!(email.is_ok(), "{text}");
            let Ok(email) = email else { continue };
            if !kept.is_empty() {
                assert_eq!(email.as_str(), kept, "{text}");
            }
            assert_eq!(email.as_str().parse(), Ok(email.clone()));
            let letter = Letter {
                to: email.as_str().to_owned(),
                subject: "Your code".into(),
                text: String::new(),
            };
            mailer.place(Purpose::Reset)?.send(letter)?;
        }
        Ok(())
    }

    #[test]
    fn what_no_letter_can_be_sent_to_is_refused() {
        let long = |part: &str, count: usize| part.repeat(count);
        let mut bad: Vec<String> = [
            "",
            "a",
            "@b.co",
            "a@",
            "a@b",
            "a@localhost",
            "a b@c.de",
            "a@c.de b@c.de",
            "a@.de",
            "a@b..c",
            "a@b.de.",
            "a@-b.de",
            "a@b-.de",
            "a@b_c.de",
            "x<victim@example.org>",
            "Kim <kim@example.org>",
            "x@example.org@example.org",
            "x@@example.org",
            "x@example.org/",
            "x@example.org?subject=y",
            "x@example.org:25",
            "mailto:x@example.org",
            ".x@example.org",
            "x.@example.org",
            "x..y@example.org",
            "\"x y\"@example.org",
            "\"x\"@example.org",
            "x(comment)@example.org",
            "x@(comment)example.org",
            "x,y@example.org",
            "x;y@example.org",
            "x\\y@example.org",
            "x@127.0.0.1",
            "x@[127.0.0.1]",
            "x@[IPv6:::1]",
            "x@1.2.3.4.5",
            "x\0@example.org",
            "x\n@example.org",
            "x@exam\nple.org",
            "x@example.org\r\nBcc: y@example.org",
            "x＠example.org",
            "x﹫example.org",
            "é@example.org",
            "用户@example.org",
            "x@xn--a.example",
            "x@xn--.example",
            "x@exa mple.org",
            "x@example.org\u{7f}",
            "x@☃\u{fe0f}.example",
        ]
        .map(str::to_owned)
        .into();
        bad.push(format!("{}@example.org", long("x", 65)));
        bad.push(format!("x@{}.org", long("y", 64)));
        bad.push(format!("{}@{}org", long("x", 64), long("yyyyyyyyy.", 19)));
        bad.push(format!("x@{}.org", long("ü", 60)));
        for hidden in [
            '\u{200b}',
            '\u{200c}',
            '\u{200d}',
            '\u{200e}',
            '\u{200f}',
            '\u{202e}',
            '\u{2060}',
            '\u{2066}',
            '\u{feff}',
            '\u{ad}',
            '\u{34f}',
            '\u{61c}',
            '\u{115f}',
            '\u{3164}',
            '\u{ffa0}',
            '\u{180e}',
            '\u{fe0f}',
            '\u{e0020}',
            '\u{e0100}',
            '\0',
            '\u{1b}',
            '\u{85}',
        ] {
            bad.push(format!("x{hidden}y@example.org"));
            bad.push(format!("x@exam{hidden}ple.org"));
            bad.push(format!("x@example{hidden}.org"));
        }
        for text in bad {
            assert_eq!(text.parse::<Email>(), Err(InvalidEmail), "{text:?}");
        }
    }

    #[test]
    fn a_mailbox_has_many_addresses() {
        let mailbox = |text: &str| text.parse::<Email>().map(|email| email.mailbox());
        for address in [
            "Kim@example.org",
            "kim+1@example.org",
            "KIM+a+b@EXAMPLE.org",
        ] {
            assert_eq!(
                mailbox(address).as_deref(),
                Ok("kim@example.org"),
                "{address}"
            );
        }
        assert_ne!(mailbox("kim@example.org"), mailbox("kim@example.com"));
    }

    #[test]
    fn one_address_has_one_form() {
        let folded = |text: &str| text.parse::<Email>().map(|email| email.folded());
        for (one, other) in [
            ("Kim@Example.org", "kim@example.ORG"),
            ("kim@BÜCHER.example", "KIM@xn--bcher-kva.example"),
            ("kim@bu\u{308}cher.example", "kim@bücher.example"),
            ("\u{2003}kim@ＥＸＡＭＰＬＥ．org", "kim@example.org"),
        ] {
            assert!(one.parse::<Email>().is_ok(), "{one}");
            assert_eq!(folded(one), folded(other), "{one} {other}");
        }
    }
}
