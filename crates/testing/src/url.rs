//! Small changes to `postgres://` URLs.

/// The same server, another database.
pub(crate) fn with_database(url: &str, database: &str) -> String {
    let (main, query) = split_query(url);
    format!("{}/{database}{query}", server(main))
}

/// The same server and database, another login.
pub(crate) fn with_login(url: &str, user: &str, password: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("postgres", url));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{user}:{password}@{host}/{path}")
}

/// Host and port of the server.
pub(crate) fn host(url: &str) -> &str {
    let main = server(split_query(url).0);
    let authority = main.find("://").map_or(main, |at| &main[at + 3..]);
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

/// The same login and database on another host and port.
pub(crate) fn with_host(url: &str, other: &str) -> String {
    url.replacen(host(url), other, 1)
}

/// The URL without login and query, fit for printing.
pub(crate) fn printable(url: &str) -> String {
    let (main, _) = split_query(url);
    let (scheme, rest) = main.split_once("://").unwrap_or(("postgres", main));
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    format!("{scheme}://{host}")
}

fn split_query(url: &str) -> (&str, &str) {
    url.find('?').map_or((url, ""), |at| url.split_at(at))
}

fn server(main: &str) -> &str {
    let authority = main.find("://").map_or(0, |at| at + 3);
    main[authority..].find('/').map_or(main, |slash| &main[..authority + slash])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_replaced() {
        let url = "postgres://u:p@h:5/postgres?sslmode=disable";
        assert_eq!(with_database(url, "t"), "postgres://u:p@h:5/t?sslmode=disable");
        assert_eq!(with_database("postgres://h", "t"), "postgres://h/t");
        assert_eq!(with_login(url, "a", "b"), "postgres://a:b@h:5/postgres?sslmode=disable");
        assert_eq!(printable(url), "postgres://h:5/postgres");
    }
}
