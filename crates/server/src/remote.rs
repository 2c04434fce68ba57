//! Where a request really comes from, if a proxy that the operator trusts stands in front.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;
use tintype_service::Networks;

/// Where proxies write whom they speak for. Everybody on the way adds the address it saw to the
/// end, so the end is what the nearest proxy says and the beginning is what anybody may have made up.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The address that a request comes from: the peer's, unless that is a trusted proxy; then the last
/// one in its list that is not a trusted proxy itself.
pub(crate) fn remote_address(peer: SocketAddr, headers: &HeaderMap, trusted: &Networks) -> IpAddr {
    // IPv4 callers of an IPv6 socket are IPv4 callers.
    let mut nearest = peer.ip().to_canonical();
    let lines: Vec<&[u8]> = headers
        .get_all(FORWARDED_FOR)
        .iter()
        .map(|line| line.as_bytes())
        .collect();
    let mut hops = lines
        .iter()
        .rev()
        .flat_map(|line| line.rsplit(|&byte| byte == b','));
    while trusted.contains(nearest) {
        // What cannot be read was not written by a proxy: nothing before it is believed.
        match hops.next().and_then(read_hop) {
            Some(hop) => nearest = hop,
            None => break,
        }
    }
    nearest
}

/// An address, perhaps with a port.
fn read_hop(hop: &[u8]) -> Option<IpAddr> {
    let hop = std::str::from_utf8(hop).ok()?.trim();
    let address = hop.parse::<IpAddr>().ok();
    let address = address.or_else(|| Some(hop.parse::<SocketAddr>().ok()?.ip()));
    let bare = || hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    Some(address.or_else(bare)?.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn remote(peer: &str, lines: &[&'static str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            let name = HeaderName::from_static(FORWARDED_FOR);
            headers.append(name, HeaderValue::from_static(line));
        }
        let peer = SocketAddr::new(peer.parse().expect("an address"), 4000);
        let trusted = Networks::parse(trusted.iter().copied()).expect("networks");
        remote_address(peer, &headers, &trusted).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let proxies = ["10.0.0.0/8", "2001:db8::/32"];
        for (peer, lines, expected) in [
            ("192.0.2.7", &[][..], "192.0.2.7"),
            ("192.0.2.7", &["203.0.113.9"], "192.0.2.7"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            ("::ffff:10.0.0.1", &["::ffff:203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["6.6.6.6, 203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["6.6.6.6", "203.0.113.9"], "203.0.113.9"),
            (
                "10.0.0.1",
                &["203.0.113.9 , 10.2.2.2,10.3.3.3"],
                "203.0.113.9",
            ),
            (
                "10.0.0.1",
                &["6.6.6.6,203.0.113.9", "10.2.2.2"],
                "203.0.113.9",
            ),
            ("10.0.0.1", &["10.4.4.4,10.3.3.3"], "10.4.4.4"),
            ("10.0.0.1", &["203.0.113.9:5555"], "203.0.113.9"),
            ("10.0.0.1", &["[2a00::1]:5555"], "2a00::1"),
            ("10.0.0.1", &["[2a00::1]"], "2a00::1"),
            ("2001:db8::1", &["2a00::1"], "2a00::1"),
            ("10.0.0.1", &["203.0.113.9, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9, unknown, 10.2.2.2"], "10.2.2.2"),
            ("10.0.0.1", &[""], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9,"], "10.0.0.1"),
        ] {
            assert_eq!(remote(peer, lines, &proxies), expected, "{peer} {lines:?}");
        }
        assert_eq!(remote("127.0.0.1", &["203.0.113.9"], &[]), "127.0.0.1");
    }
}
