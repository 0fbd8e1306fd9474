//! The one rule on where requests may go: next links, Link headers and redirects all pass here. Pure.
//!
//! An address is the source's own when scheme, host and port are those of `base_url`. A host of `allow_hosts` may be asked too,
//! without credentials and headers of the source. Everything else is refused. The `url` crate normalises the tricks of spelling
//! (`0x7f.1`, `2130706433`, backslashes, tabs, upper case) before anything is compared.

use std::net::IpAddr;

use url::{Host, Url};

use super::address::is_public;

/// Where a source may go.
#[derive(Clone, Debug)]
pub(super) struct OriginRule {
    scheme: String,
    host: Host<String>,
    port: Option<u16>,
    allowed: Vec<AllowedHost>,
    allow_private: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct AllowedHost {
    host: Host<String>,
    /// `None`: the scheme's usual port.
    port: Option<u16>,
}

/// What an allowed address is to the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The source itself: gets credentials and headers.
    Own,
    /// Named in `allow_hosts`: gets neither.
    Allowed,
}

impl OriginRule {
    /// The error says which of the settings is wrong.
    pub(super) fn new(base_url: &Url, allow_hosts: &[String], allow_private: bool) -> Result<Self, String> {
        let host = match base_url.host() {
            Some(host) if matches!(base_url.scheme(), "http" | "https") => host.to_owned(),
            _ => return Err("base_url is not an http or https address with a host".to_owned()),
        };
        let allowed = allow_hosts.iter().map(|text| parse_host(text)).collect::<Result<_, _>>()?;
        let port = base_url.port_or_known_default();
        Ok(OriginRule { scheme: base_url.scheme().to_owned(), host, port, allowed, allow_private })
    }

    /// Whether an address may be asked. The error says why not; it names the origin only, for a query can hold secrets.
    pub(super) fn check(&self, url: &Url) -> Result<Standing, String> {
        let origin = describe(url);
        let (Some(host), "http" | "https") = (url.host(), url.scheme()) else {
            return Err(format!("`{origin}` is not an http or https address"));
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(format!("the address at `{origin}` carries a user name or password"));
        }
        let host = host.to_owned();
        if url.scheme() == self.scheme && host == self.host && url.port_or_known_default() == self.port {
            return Ok(Standing::Own);
        }
        if self.scheme == "https" && url.scheme() == "http" {
            return Err(format!("`{origin}` gives up the encryption that base_url has"));
        }
        let port = url.port_or_known_default();
        let usual = if url.scheme() == "https" { 443 } else { 80 };
        if !self.allowed.iter().any(|allowed| allowed.host == host && Some(allowed.port.unwrap_or(usual)) == port) {
            return Err(format!("`{origin}` is neither the origin of base_url nor in allow_hosts"));
        }
        if let Some(address) = literal(&host)
            && !self.allow_private
            && !is_public(address)
        {
            return Err(format!("`{origin}` is a private address and allow_private is not set"));
        }
        Ok(Standing::Allowed)
    }

    /// Whether a token may be asked for there: any host, with the encryption that `base_url` has, and no private address unless
    /// `base_url` is one or `allow_private` is set. Names that lead to private addresses are refused when they are looked up.
    pub(super) fn check_token_url(&self, url: &Url) -> Result<(), String> {
        let origin = describe(url);
        let (Some(host), "http" | "https") = (url.host(), url.scheme()) else {
            return Err(format!("the token address `{origin}` is not an http or https address"));
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(format!("the token address at `{origin}` carries a user name or password"));
        }
        if self.scheme == "https" && url.scheme() == "http" {
            return Err(format!("the token address `{origin}` gives up the encryption that base_url has"));
        }
        let is_private = |host: &Host<String>| literal(host).is_some_and(|address| !is_public(address));
        if is_private(&host.to_owned()) && !is_private(&self.host) && !self.allow_private {
            return Err(format!("the token address `{origin}` is a private address and allow_private is not set"));
        }
        Ok(())
    }

    /// A link of an answer that came from `from`, checked. Fragments are dropped: they are never sent.
    pub(super) fn follow(&self, from: &Url, link: &str) -> Result<(Url, Standing), String> {
        let mut url = from.join(link.trim()).map_err(|error| format!("the link is not an address: {error}"))?;
        url.set_fragment(None);
        let standing = self.check(&url)?;
        Ok((url, standing))
    }
}

/// Scheme, host and port; nothing that could hold a secret.
pub(super) fn describe(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{}://{host}:{port}", url.scheme()),
        (Some(host), None) => format!("{}://{host}", url.scheme()),
        (None, _) => format!("{}:", url.scheme()),
    }
}

/// Scheme, host, port and path: what messages show.
pub(super) fn without_query(url: &Url) -> String {
    format!("{}{}", describe(url), url.path())
}

fn literal(host: &Host<String>) -> Option<IpAddr> {
    match host {
        Host::Domain(_) => None,
        Host::Ipv4(address) => Some(IpAddr::V4(*address)),
        Host::Ipv6(address) => Some(IpAddr::V6(*address)),
    }
}

fn parse_host(text: &str) -> Result<AllowedHost, String> {
    let wrong = || format!("allow_hosts: `{text}` is not a host or host:port");
    // As http the parser swallows `:80`, as https `:443`; what both leave out was not said.
    let (http, https) = (Url::parse(&format!("http://{text}")), Url::parse(&format!("https://{text}")));
    let (Ok(http), Ok(https)) = (http, https) else { return Err(wrong()) };
    let bare = https.path() == "/" && https.query().is_none() && https.fragment().is_none() && !text.ends_with('/');
    match https.host() {
        Some(host) if bare && https.username().is_empty() && https.password().is_none() => {
            Ok(AllowedHost { host: host.to_owned(), port: https.port().or(http.port()) })
        }
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn rule(base: &str, allow: &[&str]) -> OriginRule {
        let allow: Vec<String> = allow.iter().map(|host| (*host).to_owned()).collect();
        OriginRule::new(&url(base), &allow, false).unwrap()
    }

    fn refused(rule: &OriginRule, link: &str) -> String {
        rule.follow(&url("https://api.example.com/v1/items?page=1"), link).unwrap_err()
    }

    #[test]
    fn links_of_the_own_origin_are_followed() {
        let rule = rule("https://api.example.com/v1", &[]);
        let from = url("https://api.example.com/v1/items?page=1");
        for (link, expected) in [
            ("https://api.example.com/v1/items?page=2#top", "https://api.example.com/v1/items?page=2"),
            ("https://API.example.com:443/v1/items?page=2", "https://api.example.com/v1/items?page=2"),
            ("/other?page=2", "https://api.example.com/other?page=2"),
            ("?page=2", "https://api.example.com/v1/items?page=2"),
            (" ?page=2\n", "https://api.example.com/v1/items?page=2"),
        ] {
            let (followed, standing) = rule.follow(&from, link).unwrap();
            assert_eq!((followed.as_str(), standing), (expected, Standing::Own), "{link}");
        }
    }

    #[test]
    fn links_to_this_machine_and_its_neighbours_are_refused() {
        let rule = rule("https://api.example.com", &[]);
        // S-01 S-02 S-03 S-04
        for link in [
            "https://127.0.0.1/",
            "https://169.254.169.254/latest/meta-data",
            "https://[::1]/",
            "https://2130706433/",
            "https://0177.0.0.1/",
            "https://0x7f.1/",
            "https://[::ffff:127.0.0.1]/",
            "//127.0.0.1/",
            "\\\\127.0.0.1\\x",
        ] {
            assert!(refused(&rule, link).contains("allow_hosts"), "{link}");
        }
    }

    #[test]
    fn a_private_address_is_refused_even_where_its_host_is_allowed() {
        // S-04
        let rule = rule("https://api.example.com", &["127.0.0.1", "files.example.com", "[::1]:8443"]);
        for link in ["https://127.0.0.1/", "https://2130706433/", "https://017700000001/", "https://[::1]:8443/"] {
            assert!(refused(&rule, link).contains("private"), "{link}");
        }
        let open = OriginRule::new(&url("https://api.example.com"), &["127.0.0.1".to_owned()], true).unwrap();
        assert_eq!(open.check(&url("https://127.0.0.1/")), Ok(Standing::Allowed));
    }

    #[test]
    fn a_user_name_in_a_link_is_refused() {
        // S-05
        let rule = rule("https://api.example.com", &[]);
        assert!(refused(&rule, "https://someone@api.example.com/").contains("user name"));
        assert!(refused(&rule, "https://:pass@api.example.com/").contains("user name"));
        assert!(refused(&rule, "https://api.example.com@evil.example/").contains("user name"));
    }

    #[test]
    fn another_port_is_another_origin() {
        // S-06
        let rule = rule("https://api.example.com", &["files.example.com", "odd.example.com:8443"]);
        for link in ["https://api.example.com:8443/", "https://files.example.com:8443/", "https://odd.example.com/"] {
            assert!(refused(&rule, link).contains("allow_hosts"), "{link}");
        }
        assert_eq!(rule.check(&url("https://odd.example.com:8443/")), Ok(Standing::Allowed));
    }

    #[test]
    fn encryption_is_never_given_up() {
        // S-07
        let secure = rule("https://api.example.com", &["files.example.com"]);
        assert!(refused(&secure, "http://api.example.com/v1").contains("encryption"));
        assert!(refused(&secure, "http://files.example.com/").contains("encryption"));
        let plain = rule("http://api.example.com", &["files.example.com"]);
        assert_eq!(plain.check(&url("http://files.example.com/")), Ok(Standing::Allowed));
        assert_eq!(plain.check(&url("https://files.example.com/")), Ok(Standing::Allowed));
        assert!(plain.check(&url("https://api.example.com/")).is_err());
    }

    #[test]
    fn other_schemes_are_refused() {
        // S-08
        let rule = rule("https://api.example.com", &[]);
        for link in ["file:///etc/passwd", "ftp://api.example.com/", "data:text/plain,x", "javascript:1", "gopher://x/"] {
            assert!(refused(&rule, link).contains("not an http"), "{link}");
        }
    }

    #[test]
    fn another_host_needs_allow_hosts() {
        // S-10
        let rule = rule("https://api.example.com", &["files.example.com"]);
        assert!(refused(&rule, "https://evil.example/?token=abc").contains("`https://evil.example`"));
        assert!(refused(&rule, "https://api.example.com.evil.example/").contains("allow_hosts"));
        assert_eq!(rule.check(&url("https://files.example.com/x")), Ok(Standing::Allowed));
    }

    #[test]
    fn a_literal_base_reaches_itself_alone() {
        let rule = rule("http://127.0.0.1:8080/api", &[]);
        assert_eq!(rule.check(&url("http://127.0.0.1:8080/api?x=1")), Ok(Standing::Own));
        assert_eq!(rule.check(&url("http://2130706433:8080/")), Ok(Standing::Own));
        assert!(rule.check(&url("http://127.0.0.2:8080/")).is_err());
        assert!(rule.check(&url("http://127.0.0.1:22/")).is_err());
    }

    #[test]
    fn a_token_may_be_asked_for_elsewhere_but_not_in_the_clear_or_at_home() {
        // S-07 S-09
        let token = |base: &str, token_url: &str| rule(base, &[]).check_token_url(&url(token_url));
        assert_eq!(token("https://api.example.com", "https://id.example.net/token"), Ok(()));
        assert!(token("https://api.example.com", "http://id.example.net/token").unwrap_err().contains("encryption"));
        assert!(token("https://api.example.com", "https://169.254.169.254/token").unwrap_err().contains("allow_private"));
        assert!(token("https://api.example.com", "https://me:pw@id.example.net/").unwrap_err().contains("user name"));
        assert!(token("https://api.example.com", "ftp://id.example.net/").is_err());
        assert_eq!(token("http://127.0.0.1:8080", "http://127.0.0.1:9090/token"), Ok(()));
        assert!(token("http://api.example.com", "http://127.0.0.1/token").is_err());
    }

    #[test]
    fn bad_entries_of_allow_hosts_are_named() {
        for text in ["", "https://x.example", "x.example/path", "u@x.example", "x.example?", "x y"] {
            let error = OriginRule::new(&url("https://api.example.com"), &[text.to_owned()], false).unwrap_err();
            assert!(error.starts_with("allow_hosts"), "{text}: {error}");
        }
    }
}
