//! Names the cause of a failure below HTTP in the words of whoever has to fix it. It reads the errors of the client crates, innermost first.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::iter::successors;

use jiff::Timestamp;
use rustls::pki_types::UnixTime;
use rustls::{CertificateError, InvalidMessage};

use super::machine;

/// Why a request failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// This machine could not do its part.
    Machine(String),
    /// The network or the other side.
    Outside(String),
}

/// The cause of `error`, which the other side or this machine may have.
pub(super) fn of(error: &(dyn Error + 'static)) -> Cause {
    if let Some(lack) = chain(error).filter_map(|error| error.downcast_ref()).find_map(machine::lack) {
        return Cause::Machine(lack);
    }
    if let Some(tls) = chain(error).find_map(|error| error.downcast_ref::<rustls::Error>()) {
        return Cause::Outside(of_tls(tls));
    }
    let innermost = chain(error).last().map(ToString::to_string).unwrap_or_default();
    if let Some(said) = innermost.strip_prefix(LOOKUP) {
        // The system's resolver does not say so when it could not open what it reads.
        return machine::lacks_files().map_or_else(|| Cause::Outside(of_lookup(said)), Cause::Machine);
    }
    let kind = chain(error).filter_map(|error| error.downcast_ref::<io::Error>()).map(io::Error::kind).last();
    Cause::Outside(kind.and_then(of_kind).map_or(innermost, str::to_owned))
}

/// The same for people who need not know whose trouble it is.
#[must_use]
pub fn sentence(error: &(dyn Error + 'static)) -> String {
    match of(error) {
        Cause::Machine(said) | Cause::Outside(said) => said,
    }
}

/// Whether it was the time that ran out.
pub(super) fn is_late(error: &(dyn Error + 'static)) -> bool {
    let mut kinds = chain(error).filter_map(|error| error.downcast_ref::<io::Error>()).map(io::Error::kind);
    kinds.any(|kind| kind == ErrorKind::TimedOut)
}

/// How the standard library begins what the system's resolver says.
const LOOKUP: &str = "failed to lookup address information: ";

/// The error and what is beneath it. What an `io::Error` wraps is not its source: it stands for it.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |outer| {
        let outer: &'a (dyn Error + 'static) = *outer;
        match outer.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => outer.source(),
        }
    })
}

fn of_lookup(said: &str) -> String {
    if said.contains("emporary") {
        format!("its name cannot be looked up now (DNS: {said})")
    } else {
        format!("its name is not found (DNS: {said})")
    }
}

fn of_kind(kind: ErrorKind) -> Option<&'static str> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the standard library's list is open")]
    match kind {
        ErrorKind::ConnectionRefused => Some("connection refused"),
        ErrorKind::ConnectionReset => Some("connection reset"),
        ErrorKind::ConnectionAborted => Some("connection aborted"),
        ErrorKind::BrokenPipe => Some("the other side closed the connection"),
        ErrorKind::TimedOut => Some("timed out: the network brought no answer"),
        ErrorKind::HostUnreachable => Some("no route to that host"),
        ErrorKind::NetworkUnreachable => Some("no route to that network"),
        _ => None,
    }
}

fn of_tls(error: &rustls::Error) -> String {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the crate's list is open")]
    match error {
        rustls::Error::InvalidCertificate(problem) => of_certificate(problem),
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "what answers there does not speak TLS; is it http instead of https?".to_owned()
        }
        rustls::Error::AlertReceived(alert) => format!("it ended the TLS handshake ({alert:?})"),
        rustls::Error::PeerIncompatible(why) => format!("no version or cipher of TLS in common ({why:?})"),
        other => format!("TLS failed ({other})"),
    }
}

fn of_certificate(problem: &CertificateError) -> String {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the crate's list is open")]
    match problem {
        CertificateError::Expired => "its certificate has expired".to_owned(),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("its certificate expired at {}", time(*not_after))
        }
        CertificateError::NotValidYet => "its certificate is not valid yet; is this machine's clock right?".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("its certificate is not valid before {}; is this machine's clock right?", time(*not_before))
        }
        CertificateError::UnknownIssuer => {
            let outer = rustls::Error::InvalidCertificate(problem.clone());
            format!("its certificate is not trusted: this machine does not know who issued it ({outer})")
        }
        CertificateError::NotValidForName => "its certificate is for another name".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let expected = expected.to_str();
            if presented.is_empty() {
                return format!("its certificate is not for the name {expected}: it has none");
            }
            // As `DnsName("api.example.com")`.
            let names = presented.iter().map(|name| name.split('"').nth(1).unwrap_or(name));
            format!("its certificate is not for the name {expected}, only for {}", names.collect::<Vec<_>>().join(", "))
        }
        CertificateError::Revoked => "its certificate has been revoked".to_owned(),
        other => format!("its certificate is refused ({other})"),
    }
}

fn time(time: UnixTime) -> String {
    let at = i64::try_from(time.as_secs()).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    at.map_or_else(|| "a time beyond the calendar".to_owned(), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// An error with another beneath it, as client crates wrap them.
    #[derive(Debug, thiserror::Error)]
    #[error("error sending request")]
    struct Outer(#[source] io::Error);

    fn outside(error: io::Error) -> String {
        match of(&Outer(error)) {
            Cause::Outside(said) => said,
            Cause::Machine(said) => panic!("the machine's: {said}"),
        }
    }

    fn certificate(problem: CertificateError) -> String {
        outside(io::Error::other(rustls::Error::InvalidCertificate(problem)))
    }

    fn unix(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    #[test]
    fn a_certificate_is_told_by_what_is_wrong_with_it() {
        let (time, early) = (unix(1_700_000_000), unix(1_600_000_000));
        let expired = certificate(CertificateError::ExpiredContext { time, not_after: early });
        assert_eq!(expired, "its certificate expired at 2020-09-13T12:26:40Z");
        let yet = certificate(CertificateError::NotValidYetContext { time: early, not_before: time });
        assert!(yet.starts_with("its certificate is not valid before 2023-11-14T22:13:20Z"), "{yet}");
        assert!(certificate(CertificateError::UnknownIssuer).contains("not trusted"));
        let name = certificate(CertificateError::NotValidForNameContext {
            expected: rustls::pki_types::ServerName::try_from("api.example.com").unwrap(),
            presented: vec!["DnsName(\"a.example.com\")".to_owned(), "b.example.com".to_owned()],
        });
        assert_eq!(name, "its certificate is not for the name api.example.com, only for a.example.com, b.example.com");
        let plain = rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType);
        assert!(outside(io::Error::other(plain)).contains("does not speak TLS"));
    }

    #[test]
    fn the_network_is_told_in_plain_words() {
        for (kind, said) in [
            (ErrorKind::ConnectionRefused, "connection refused"),
            (ErrorKind::ConnectionReset, "connection reset"),
            (ErrorKind::NetworkUnreachable, "no route to that network"),
        ] {
            assert_eq!(outside(kind.into()), said);
        }
        let lookup = |said: &str| outside(io::Error::other(format!("{LOOKUP}{said}")));
        assert_eq!(lookup("Name or service not known"), "its name is not found (DNS: Name or service not known)");
        assert!(lookup("Temporary failure in name resolution").starts_with("its name cannot be looked up now"));
        assert_eq!(outside(io::Error::other("unheard of")), "unheard of");
    }

    #[test]
    fn what_the_machine_lacks_is_told_as_the_machines() {
        for (code, lack) in
            [(24, "file descriptors"), (23, "file descriptors"), (12, "memory"), (99, "local port"), (105, "memory")]
        {
            let Cause::Machine(said) = of(&Outer(io::Error::from_raw_os_error(code))) else { panic!("{code}") };
            assert!(said.contains(lack), "{said}");
        }
    }
}
