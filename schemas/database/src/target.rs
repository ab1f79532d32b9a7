//! Which database, by URL and environment, and the way to it.

use crate::DatabaseError;
use crate::error::reason;
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How long a server that does not answer is waited for.
const CONNECTS_WITHIN: Duration = Duration::from_secs(15);
/// How long one that has stopped to answer is.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

/// A database. Its password is never shown.
#[derive(Clone)]
pub struct Target(Config);

impl Target {
    /// Whether `text` is the URL of a database.
    #[must_use]
    pub fn is_url(text: &str) -> bool {
        ["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme))
    }

    /// From a URL; user and password that it lacks come from `PGUSER` and
    /// `PGPASSWORD`. Without `sslmode`, TLS is required but for a server on this
    /// machine; certificates are checked wherever it is used.
    ///
    /// # Errors
    /// [`DatabaseError::Url`].
    pub fn new(url: &str) -> Result<Self, DatabaseError> {
        Self::with(url, &|variable| std::env::var(variable).ok())
    }

    fn with(url: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, DatabaseError> {
        let wrong = |reason: &str| DatabaseError::Url { reason: reason.to_owned() };
        if !Self::is_url(url) {
            return Err(wrong("it does not start with postgres://"));
        }
        // The parser's own words may quote what is secret.
        let mut config: Config = url.parse().map_err(|_| {
            wrong("it has an option that is not known, or letters that must be percent-encoded")
        })?;
        if config.get_hosts().is_empty() {
            return Err(wrong("it names no host"));
        }
        if config.get_user().is_none()
            && let Some(user) = variable("PGUSER")
        {
            config.user(user);
        }
        if config.get_password().is_none()
            && let Some(password) = variable("PGPASSWORD")
        {
            config.password(password);
        }
        // Only there is it an option: a password may have these letters, too.
        let place = url.split_once('@').map_or(url, |(_, place)| place);
        let options = place.split_once('?').map_or("", |(_, options)| options);
        if !options.split('&').any(|option| option.starts_with("sslmode=")) {
            // An address that is given is where the connection goes, whatever the host's name.
            let here = config.get_hosts().iter().all(is_here)
                && config.get_hostaddrs().iter().all(IpAddr::is_loopback);
            config.ssl_mode(if here { SslMode::Disable } else { SslMode::Require });
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECTS_WITHIN);
        }
        config.tcp_user_timeout(ANSWERS_WITHIN).application_name("outshine");
        Ok(Self(config))
    }

    /// Host, port and name, for messages.
    #[must_use]
    pub fn place(&self) -> String {
        let host = match self.0.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            #[cfg(unix)]
            Some(Host::Unix(path)) => path.display().to_string(),
            None => "localhost".to_owned(),
        };
        let port = self.0.get_ports().first().copied().unwrap_or(5432);
        let name = self.0.get_dbname().or(self.0.get_user()).unwrap_or_default();
        format!("{host}:{port}/{name}")
    }

    /// A connection that lasts as long as the client.
    pub(crate) async fn connect(&self) -> Result<Client, DatabaseError> {
        let failed = |error: &tokio_postgres::Error| DatabaseError::Connect {
            place: self.place(),
            reason: reason(error),
        };
        if self.0.get_ssl_mode() == SslMode::Disable {
            let (client, connection) = self.0.connect(NoTls).await.map_err(|e| failed(&e))?;
            tokio::spawn(connection);
            return Ok(client);
        }
        let (client, connection) = self.0.connect(self.tls()?).await.map_err(|e| failed(&e))?;
        tokio::spawn(connection);
        Ok(client)
    }

    fn tls(&self) -> Result<MakeRustlsConnect, DatabaseError> {
        let failed = |reason: String| DatabaseError::Connect { place: self.place(), reason };
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(failed(
                "TLS is asked for, and this machine has no certificates of authorities: name a \
                 file of them in SSL_CERT_FILE"
                    .to_owned(),
            ));
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| failed(e.to_string()))?;
        let config = config.with_root_certificates(roots).with_no_client_auth();
        Ok(MakeRustlsConnect::new(config))
    }

    /// An error of the server while `doing` something, for `map_err`.
    pub(crate) fn refused(
        &self,
        doing: &'static str,
    ) -> impl Fn(tokio_postgres::Error) -> DatabaseError {
        let place = self.place();
        move |error| DatabaseError::Refused { place: place.clone(), doing, reason: reason(&error) }
    }
}

fn is_here(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({})", self.place())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Result<Target, DatabaseError> {
        Target::with(url, &|variable| Some(format!("{variable} of the environment")))
    }

    #[test]
    fn the_environment_completes_the_url() {
        let Target(given) = target("postgres://ada:secret@db.example:6000/sky").unwrap();
        assert_eq!((given.get_user(), given.get_password()), (Some("ada"), Some(&b"secret"[..])));
        let Target(bare) = target("postgresql://db.example/sky").unwrap();
        assert_eq!(bare.get_user(), Some("PGUSER of the environment"));
        assert_eq!(bare.get_password(), Some(&b"PGPASSWORD of the environment"[..]));
    }

    #[test]
    fn tls_is_required_but_here() {
        let mode = |url: &str| target(url).unwrap().0.get_ssl_mode();
        assert_eq!(mode("postgres://db.example/sky"), SslMode::Require);
        for here in ["localhost", "127.0.0.1:6000", "[::1]"] {
            assert_eq!(mode(&format!("postgres://{here}/sky")), SslMode::Disable, "{here}");
        }
        assert_eq!(mode("postgres://localhost/sky?sslmode=require"), SslMode::Require);
        assert_eq!(mode("postgres://db.example/sky?sslmode=disable"), SslMode::Disable);
        // An address that is elsewhere is what counts.
        for address in ["203.0.113.5", "127.0.0.1,203.0.113.5", "2001:db8::1"] {
            let hosts = ["localhost"; 2][..address.split(',').count()].join(",");
            let url = format!("postgres://{hosts}/sky?hostaddr={address}");
            assert_eq!(mode(&url), SslMode::Require, "{url}");
        }
        assert_eq!(mode("postgres://localhost/sky?hostaddr=127.0.0.1"), SslMode::Disable);
        // What only looks like an option.
        for text in [
            "postgres://sslmode=disable:x@h/d",
            "postgres://me:sslmode=disable@h/d",
            "postgres://me:a?sslmode=disable@h/d",
        ] {
            assert_eq!(mode(text), SslMode::Require, "{text}");
        }
        assert_eq!(mode("postgres://me@h/sslmode=disable"), SslMode::Require);
        let other = "postgres://h/d?application_name=sslmode=disable&connect_timeout=3";
        assert_eq!(mode(other), SslMode::Require);
    }

    #[test]
    fn no_text_has_the_password() {
        let good = target("postgres://ada:secret@db.example:6000/sky").unwrap();
        assert_eq!(good.place(), "db.example:6000/sky");
        let mut texts = vec![good.place(), format!("{good:?}")];
        for bad in [
            "mysql://ada:secret@h/d",
            "postgres:///d",
            "postgres://ada:secret@h/d?secret=1",
            "postgres://ada:secret%zz@h:port/d",
        ] {
            texts.push(target(bad).unwrap_err().to_string());
        }
        assert!(texts.iter().all(|text| !text.contains("secret")), "{texts:?}");
    }
}
