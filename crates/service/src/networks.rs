//! Networks: where a project may be called from, which proxies are believed, what is public.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

/// Means every network.
const EVERYWHERE: &str = "*";

/// Bits in front of the IPv4 address in an IPv4-mapped IPv6 address.
const MAPPED_PREFIX_BITS: u8 = 96;

/// A public address that means the host of the virtual machine in one large cloud (Azure), with
/// its metadata.
const CLOUD_HOST: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);

/// Reads a network in CIDR notation, or a single address. IPv4-mapped IPv6 networks become the
/// IPv4 networks that they stand for.
pub(crate) fn parse(text: &str) -> Option<IpNet> {
    let text = text.trim();
    let network = match text.parse::<IpNet>() {
        Ok(network) => network,
        Err(_) => IpNet::from(text.parse::<IpAddr>().ok()?),
    };
    Some(unmapped(network))
}

fn unmapped(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else {
        return network;
    };
    let v4 = v6.addr().to_ipv4_mapped();
    let bits = v6.prefix_len().checked_sub(MAPPED_PREFIX_BITS);
    match (v4, bits) {
        (Some(address), Some(bits)) => Ipv4Net::new(address, bits).map_or(network, IpNet::V4),
        _ => network,
    }
}

/// A list of networks that an operator wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

/// An entry that is no network.
#[derive(Debug, thiserror::Error)]
#[error("\"{0}\" is not a network: write it like 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32")]
pub struct NotANetwork(String);

impl Networks {
    /// Reads networks in CIDR notation and single addresses.
    ///
    /// # Errors
    /// [`NotANetwork`] names the first entry that is none.
    pub fn parse<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, NotANetwork> {
        let read = |entry: &'a str| parse(entry).ok_or_else(|| NotANetwork(entry.to_owned()));
        entries
            .into_iter()
            .map(read)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether an address is in one of them. An IPv4-mapped address counts as what it stands for.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = canonical(address);
        self.0.iter().any(|network| network.contains(&address))
    }

    pub(crate) fn push(&mut self, network: IpNet) {
        self.0.push(network);
    }
}

/// Whether an entry of an allow-list can be understood.
pub(crate) fn is_valid(entry: &str) -> bool {
    entry.trim() == EVERYWHERE || parse(entry).is_some()
}

/// Whether an allow-list lets an address in. An empty list lets everyone in; an entry that cannot
/// be understood lets no one in.
pub(crate) fn allows(networks: &[String], remote: IpAddr) -> bool {
    let remote = canonical(remote);
    let admits = |entry: &String| {
        entry.trim() == EVERYWHERE || parse(entry).is_some_and(|network| network.contains(&remote))
    };
    networks.is_empty() || networks.iter().any(admits)
}

/// The IPv4 address that an IPv4-mapped IPv6 address stands for; others as they are.
pub(crate) fn canonical(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
    }
}

/// Whether an address belongs to the public internet: what a client may make this service
/// connect to. Everything that the registries of special-purpose addresses (RFC 6890 and its
/// successors) set apart is not.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match canonical(address) {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            let this_network = a == 0;
            let shared_nat = a == 100 && (64..128).contains(&b);
            let protocol_assignments = a == 192 && b == 0 && c == 0;
            let relay_anycast = a == 192 && b == 88 && c == 99;
            let benchmarking = a == 198 && (b == 18 || b == 19);
            let reserved = a >= 240;
            !(v4 == CLOUD_HOST
                || this_network
                || shared_nat
                || protocol_assignments
                || relay_anycast
                || benchmarking
                || reserved
                || v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_documentation()
                || v4.is_multicast())
        }
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // RFC 6052: an IPv4 address reached through a translator.
    if segments[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
        return is_public(IpAddr::V4(low_v4(segments[6], segments[7])));
    }
    // 2001::/23 holds protocol assignments, Teredo among them.
    let protocol_assignments = segments[0] == 0x2001 && segments[1] < 0x200;
    let documentation = (segments[0] == 0x2001 && segments[1] == 0xdb8)
        || (segments[0] == 0x3fff && segments[1] < 0x1000);
    // 6to4 leads through a relay to any IPv4 address, and is given up (RFC 7526).
    let six_to_four = segments[0] == 0x2002;
    // Only 2000::/3 is handed out for global unicast.
    let global_unicast = segments[0] & 0xe000 == 0x2000;
    global_unicast && !protocol_assignments && !documentation && !six_to_four
}

fn low_v4(high: u16, low: u16) -> Ipv4Addr {
    let [a, b] = high.to_be_bytes();
    let [c, d] = low.to_be_bytes();
    Ipv4Addr::new(a, b, c, d)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn allows_from(networks: &[&str], remote: &str) -> bool {
        let networks: Vec<_> = networks.iter().map(|&network| network.to_owned()).collect();
        allows(&networks, address(remote))
    }

    #[test]
    fn allow_lists_are_read_as_networks() {
        for (networks, remote, expected) in [
            (&[][..], "203.0.113.9", true),
            (&["*"], "203.0.113.9", true),
            (&["10.0.0.0/8"], "10.1.2.3", true),
            (&["10.0.0.0/8"], "11.1.2.3", false),
            (&["10.0.0.0/8"], "::ffff:10.1.2.3", true),
            (&["::ffff:10.0.0.0/104"], "10.1.2.3", true),
            (&["192.0.2.7"], "192.0.2.7", true),
            (&["192.0.2.7"], "192.0.2.8", false),
            (&["2001:db8::/32"], "2001:db8::1", true),
            (&["2001:db8::/32"], "10.1.2.3", false),
            (&["nonsense"], "10.1.2.3", false),
            (&["nonsense", " 10.0.0.0/8 "], "10.1.2.3", true),
            (&["0.0.0.0/0"], "2001:db8::1", false),
        ] {
            assert_eq!(
                allows_from(networks, remote),
                expected,
                "{networks:?} {remote}"
            );
        }
    }

    #[test]
    fn only_addresses_of_the_public_internet_are_public() {
        for public in [
            "1.1.1.1",
            "93.184.216.34",
            "100.63.255.255",
            "172.15.0.1",
            "2606:4700::1111",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
        ] {
            assert!(is_public(address(public)), "{public}");
        }
        for other in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.255",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:101:101::",
            "2001::1",
            "2001:db8::1",
            "3fff::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "100::1",
        ] {
            assert!(!is_public(address(other)), "{other}");
        }
    }
}
