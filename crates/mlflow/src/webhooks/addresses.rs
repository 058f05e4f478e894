//! Which addresses a webhook may have. A server reaches more than its clients do, so what is not on
//! the public Internet is refused: when a webhook is made, and again when a connection is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Url, dns};

/// Where webhooks may lead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// `https://` on the public Internet.
    #[default]
    Public,
    /// Any address, and `http://`: for a network that one trusts.
    Everywhere,
}

/// How long a name may take to resolve.
const RESOLVING: Duration = Duration::from_secs(5);

/// Whether an address belongs to the public Internet.
pub(crate) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

/// Blocks of the registry of special purposes (RFC 6890 and its successors), and multicast.
fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !matches!(
        (a, b, c),
        (0 | 10 | 127 | 224..=255, _, _)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (192, 168, _)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    )
}

/// An address that carries one of version 4 is as public as that one.
fn is_public_v6(ip: Ipv6Addr) -> bool {
    if let Some(mapped) = ip.to_ipv4_mapped() {
        return is_public_v4(mapped);
    }
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match ip.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => is_public_v4(v4(high, low)),
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => false,
        [0x3fff, second, ..] if second < 0x1000 => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

/// Checks an address that somebody gives to a webhook.
pub(crate) async fn check(url: &str, reach: Reach) -> Result<(), String> {
    let read = Url::parse(url).map_err(|e| match e.to_string() {
        e if e.contains("host") => format!("Webhook URL must include a hostname: '{url}'"),
        e => format!("Invalid webhook URL '{url}': {e}"),
    })?;
    let schemes: &[&str] = if reach == Reach::Public { &["https"] } else { &["https", "http"] };
    if !schemes.contains(&read.scheme()) {
        return Err(format!(
            "Invalid webhook URL scheme: '{}'. Allowed schemes are: {}.",
            read.scheme(),
            schemes.join(", ")
        ));
    }
    let host = read.host_str().filter(|h| !h.is_empty());
    let host = host.ok_or_else(|| format!("Webhook URL must include a hostname: '{url}'"))?;
    if reach == Reach::Everywhere {
        return Ok(());
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found = match bare.parse::<IpAddr>() {
        Ok(ip) => vec![ip],
        Err(_) => resolve(bare).await?.into_iter().map(|a| a.ip()).collect(),
    };
    match found.into_iter().find(|ip| !is_public(*ip)) {
        None => Ok(()),
        Some(ip) => Err(format!("Webhook URL must not resolve to a non-public IP address. '{host}' resolves to {ip}.")),
    }
}

async fn resolve(host: &str) -> Result<Vec<SocketAddr>, String> {
    let looked = tokio::time::timeout(RESOLVING, tokio::net::lookup_host((host, 0))).await;
    match looked {
        Ok(Ok(found)) => Ok(found.collect()),
        Ok(Err(error)) => Err(format!("Cannot resolve Webhook URL hostname '{host}': {error}")),
        Err(_) => Err(format!("Cannot resolve Webhook URL hostname '{host}': no answer in {RESOLVING:?}")),
    }
}

/// Resolves names for connections: a name that leads inside, even by one of its addresses, leads
/// nowhere. There is no second look between this one and the connection.
#[derive(Debug)]
pub(crate) struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = resolve(name.as_str()).await?;
            if let Some(inside) = found.iter().find(|address| !is_public(address.ip())) {
                return Err(format!("'{}' resolves to {}, which is not public", name.as_str(), inside.ip()).into());
            }
            let addresses: dns::Addrs = Box::new(found.into_iter()) as Addrs;
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_on_the_public_internet_is_told_apart() {
        for public in
            ["93.184.216.34", "1.1.1.1", "172.32.0.1", "2606:4700::1111", "64:ff9b::101:101", "2002:101:101::"]
        {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for inside in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.2.1",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "ff02::1",
            "2001::1",
            "::127.0.0.1",
        ] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
    }

    #[tokio::test]
    async fn an_address_that_leads_inside_is_refused_however_it_is_written() {
        for url in [
            "https://127.0.0.1/x",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://0177.0.0.1/",
            "https://127.1:8443/",
            "https://[::1]/",
            "https://[::ffff:10.0.0.1]/",
            "https://169.254.169.254/latest/meta-data",
            "https://localhost/",
            "http://93.184.216.34/",
            "ftp://93.184.216.34/",
            "https:///x",
            "file:///etc/passwd",
            "",
            "nonsense",
        ] {
            assert!(check(url, Reach::Public).await.is_err(), "{url}");
        }
        assert_eq!(check("https://93.184.216.34/hook", Reach::Public).await, Ok(()));
        assert_eq!(check("http://localhost:1/hook", Reach::Everywhere).await, Ok(()));
        assert!(check("ftp://localhost/", Reach::Everywhere).await.is_err());
    }
}
