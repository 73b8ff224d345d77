//! Where the database is, as a URL says it: the server, the login, and whether it is spoken to by TLS.

use mesh_six_core::ApiError;
use percent_encoding::percent_decode_str;
use tokio_postgres::config::{Host, SslMode};

use crate::{
    error::{DbResult, message},
    tls::{self, Connector, Trust},
};

/// What a text is told that is nothing like a URL.
const EXAMPLE: &str = "such as postgres://me@localhost/mesh is wanted";

/// A URL that was understood.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) config: tokio_postgres::Config,
    /// Speaks none where the URL does not ask for it.
    pub(crate) tls: Connector,
}

impl Target {
    /// Reads `url`. Of `sslmode` tokio-postgres knows half and of `sslrootcert` nothing, so both are taken out first.
    /// Without `sslmode` there is no TLS, other than with libpq, which takes what the server offers.
    pub(crate) fn parse(url: &str) -> DbResult<Self> {
        let (rest, mode, roots) = split(url)?;
        let mut config = rest.parse::<tokio_postgres::Config>().map_err(|error| {
            // The error quotes at most a parameter's name, never the URL with its password.
            let why = if rest.contains("://") || rest.contains('=') { message(&error) } else { EXAMPLE.to_owned() };
            wrong(format!("not a PostgreSQL URL: {why}"))
        })?;
        // What is no URL (`host=... sslmode=require`) is read by tokio-postgres alone.
        let mode = mode.or_else(|| (config.get_ssl_mode() == SslMode::Require).then(|| "require".to_owned()));
        let roots = roots.as_deref().filter(|roots| *roots != "system");
        let (ssl_mode, trust) = match (mode.as_deref(), roots) {
            (None, Some(_)) => return Err(wrong("sslrootcert says nothing without sslmode".to_owned()).into()),
            (None | Some("disable"), _) => (SslMode::Disable, None),
            (Some("prefer"), _) => (SslMode::Prefer, Some(Trust::Anyone)),
            (Some("require"), None) => (SslMode::Require, Some(Trust::Anyone)),
            (Some("require" | "verify-ca"), _) => (SslMode::Require, Some(Trust::Chain)),
            (Some("verify-full"), _) => (SslMode::Require, Some(Trust::ChainAndName)),
            (Some(other), _) => {
                let known = "disable, prefer, require, verify-ca or verify-full";
                return Err(wrong(format!("sslmode: {known} is wanted, not {other:?}")).into());
            }
        };
        config.ssl_mode(ssl_mode);
        let tls = trust.map_or_else(|| Ok(Connector::none()), |trust| tls::connector(trust, roots))?;
        Ok(Self { config, tls })
    }
}

/// The server and database that `config` names, as `host:port/database`; never the login.
pub(crate) fn whereabouts(config: &tokio_postgres::Config) -> String {
    let hosts = config.get_hosts().iter().enumerate().map(|(i, host)| {
        let port = config.get_ports().get(i).or(config.get_ports().first()).copied().unwrap_or(5432);
        match host {
            Host::Tcp(name) => format!("{name}:{port}"),
            Host::Unix(folder) => format!("{}:{port}", folder.display()),
        }
    });
    let hosts: Vec<String> = hosts.collect();
    format!("{}/{}", hosts.join(","), config.get_dbname().or(config.get_user()).unwrap_or_default())
}

/// `url` without its `sslmode` and `sslrootcert`, and these two.
fn split(url: &str) -> Result<(String, Option<String>, Option<String>), ApiError> {
    let Some((server, parameters)) = url.split_once('?').filter(|_| url.contains("://")) else {
        return Ok((url.to_owned(), None, None));
    };
    let (mut kept, mut mode, mut roots) = (Vec::new(), None, None);
    for parameter in parameters.split('&') {
        match parameter.split_once('=') {
            Some(("sslmode", value)) => mode = Some(decoded("sslmode", value)?),
            Some(("sslrootcert", value)) => roots = Some(decoded("sslrootcert", value)?),
            _ => kept.push(parameter),
        }
    }
    let rest = if kept.is_empty() { server.to_owned() } else { format!("{server}?{}", kept.join("&")) };
    Ok((rest, mode, roots))
}

fn decoded(name: &str, value: &str) -> Result<String, ApiError> {
    let text = percent_decode_str(value).decode_utf8().map_err(|_| wrong(format!("{name}: not UTF-8")))?;
    Ok(text.into_owned())
}

fn wrong(message: String) -> ApiError {
    ApiError::validation("DATABASE_URL", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whereabouts_hold_no_login() {
        for (url, says) in [
            ("postgres://u:secret@db.example:6543/mesh", "db.example:6543/mesh"),
            ("postgres://u:secret@h", "h:5432/u"),
            ("postgres://u@h1:1,h2:2/mesh?sslmode=require", "h1:1,h2:2/mesh"),
            ("postgres://u@%2Fvar%2Frun/mesh", "/var/run:5432/mesh"),
        ] {
            assert_eq!(Target::parse(url).map(|target| whereabouts(&target.config)).ok().as_deref(), Some(says));
        }
    }

    #[test]
    fn tls_is_spoken_where_it_is_asked_for_and_nowhere_else() {
        for (url, mode, tls) in [
            ("postgres://u@h/d", SslMode::Disable, false),
            ("postgres://u@h/d?sslmode=disable&application_name=x", SslMode::Disable, false),
            ("postgres://u@h/d?sslmode=prefer", SslMode::Prefer, true),
            ("postgres://u@h/d?application_name=x&sslmode=require&sslnegotiation=direct", SslMode::Require, true),
            ("host=h user=u", SslMode::Disable, false),
            ("host=h user=u sslmode=require", SslMode::Require, true),
        ] {
            let target = Target::parse(url).ok();
            let found = target.map(|target| (target.config.get_ssl_mode(), target.tls.is_some()));
            assert_eq!(found, Some((mode, tls)), "{url}");
        }
    }

    #[test]
    fn what_cannot_be_had_is_told() {
        for (parameters, says) in [
            ("sslmode=always", "sslmode: disable, prefer, require, verify-ca or verify-full is wanted, not \"always\""),
            ("sslmode=allow", "sslmode: disable, prefer,"),
            ("sslrootcert=/ca.pem", "sslrootcert says nothing without sslmode"),
            ("sslmode=verify-full&sslrootcert=%2Fnowhere%2Fca.pem", "sslrootcert: cannot read /nowhere/ca.pem: "),
            ("sslmode=verify-ca&sslrootcert=/dev/null", "sslrootcert: /dev/null holds no certificate"),
            ("sslmode=require&sslcert=/me.pem", "not a PostgreSQL URL: unknown option `sslcert`"),
        ] {
            let told = Target::parse(&format!("postgres://u:secret@h/d?{parameters}")).err().map(|e| e.to_string());
            assert!(told.as_ref().is_some_and(|told| told.contains(says) && !told.contains("secret")), "{told:?}");
        }
        let told = Target::parse("my database").err().map(|error| error.to_string());
        assert_eq!(told.as_deref(), Some("not a PostgreSQL URL: such as postgres://me@localhost/mesh is wanted"));
    }
}
