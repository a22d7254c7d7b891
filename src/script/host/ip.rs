//! `ip`: which networks an address is in.
//!
//! Lists are prepared once, in `on_load`, so that a wrong entry is found when the configuration is loaded and a request costs a
//! search by halves. Purposefully without names: what an address resolves to is no ground to decide by.

use crate::script::{
    Raise, Value,
    list::{Function, Kind, Module, Param, Type},
    object::Object,
    value::Args,
};
use ipnet::IpNet;
use std::{
    net::{IpAddr, Ipv6Addr},
    rc::Rc,
};

pub static MODULE: Module = Module {
    name: "ip",
    doc: "Addresses and networks, IPv4 and IPv6.",
    constants: &[],
    functions: &[Function {
        name: "list",
        params: &[Param::required(
            "networks",
            Type::List(&Type::String),
            "addresses and networks, such as `192.0.2.7`, `10.0.0.0/8` or `2001:db8::/32`",
        )],
        variadic: false,
        returns: Type::Object("ip_list"),
        doc: "Prepares a list of networks once: make it in `on_load` and keep it in the state. An entry that is no address or network is an error.",
        lua: r#"local office = ip.list({ "192.0.2.0/24", "2001:db8::/32" })"#,
        rhai: r#"let office = ip::list(["192.0.2.0/24", "2001:db8::/32"]);"#,
        run: |_, args| list(args.get(0)).map(|ranges| Object::IpList(Rc::new(ranges))).into(),
    }],
};

pub static KIND: Kind = Kind {
    name: "ip_list",
    doc: "A list of networks. Made by `ip.list`.",
    properties: &[],
    methods: &[Function {
        name: "has",
        params: &[Param::required("address", Type::String, "such as `ctx.client.ip`")],
        variadic: false,
        returns: Type::Bool,
        doc: "Whether the address is in one of the networks. An IPv4 address that is written in IPv6 (`::ffff:192.0.2.7`) counts as IPv4. What is no address is an error.",
        lua: r#"if ctx.state.office:has(ctx.client.ip) then return end"#,
        rhai: r#"if ctx.state.office.has(ctx.client.ip) { return; }"#,
        run: |_, args| has(&args).into(),
    }],
    index: None,
};

/// First and last addresses of networks of one family, in order and apart from each other.
type Ranges = Vec<(u128, u128)>;

#[derive(Debug, Default)]
pub struct IpList {
    v4: Ranges,
    v6: Ranges,
}

impl IpList {
    fn new(networks: impl Iterator<Item = IpNet>) -> IpList {
        let mut list = IpList::default();
        for network in networks {
            let (of, range) = match network {
                IpNet::V4(net) => (&mut list.v4, (net.network().to_bits().into(), net.broadcast().to_bits().into())),
                IpNet::V6(net) => mapped(&net).map_or_else(
                    || (&mut list.v6, (net.network().to_bits(), net.broadcast().to_bits())),
                    |range| (&mut list.v4, range),
                ),
            };
            of.push(range);
        }
        list.v4 = merged(list.v4);
        list.v6 = merged(list.v6);
        list
    }

    fn has(&self, address: IpAddr) -> bool {
        let (ranges, bits) = match address.to_canonical() {
            IpAddr::V4(v4) => (&self.v4, v4.to_bits().into()),
            IpAddr::V6(v6) => (&self.v6, v6.to_bits()),
        };
        let after = ranges.partition_point(|(first, _)| *first <= bits);
        after.checked_sub(1).is_some_and(|index| bits <= ranges[index].1)
    }
}

/// The IPv4 network that a network within `::ffff:0:0/96` (RFC 4291 §2.5.5.2) stands for.
fn mapped(net: &ipnet::Ipv6Net) -> Option<(u128, u128)> {
    let v4 = |address: Ipv6Addr| address.to_ipv4_mapped().map(|v4| u128::from(v4.to_bits()));
    (net.prefix_len() >= 96).then_some(())?;
    Some((v4(net.network())?, v4(net.broadcast())?))
}

fn merged(mut ranges: Ranges) -> Ranges {
    ranges.sort_unstable();
    let mut apart: Ranges = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match apart.last_mut() {
            Some(before) if first <= before.1 => before.1 = before.1.max(last),
            _ => apart.push((first, last)),
        }
    }
    apart
}

fn list(networks: &Value) -> Result<IpList, Raise> {
    let Value::List(networks) = networks else {
        return Ok(IpList::default());
    };
    let parse = |entry: &Value| {
        let text = entry.as_str().unwrap_or_default();
        let parsed = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        parsed.ok_or_else(|| Raise::error(format!("`{}` is not an address or a network", text.escape_debug())))
    };
    Ok(IpList::new(networks.iter().map(parse).collect::<Result<Vec<IpNet>, Raise>>()?.into_iter()))
}

fn has(args: &Args) -> Result<bool, Raise> {
    let Object::IpList(list) = args.object()? else {
        return Err(Raise::error("expected an ip_list"));
    };
    let text = args.str(1)?;
    let address: IpAddr =
        text.parse().map_err(|_| Raise::error(format!("`{}` is not an address", text.escape_debug())))?;
    Ok(list.has(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(networks: &[&str]) -> Result<IpList, String> {
        let networks = networks.iter().map(|network| Value::from(*network)).collect();
        list(&Value::List(networks)).map_err(|raise| raise.to_string())
    }

    #[test]
    fn addresses_are_found_in_networks_of_their_family() {
        let networks = [
            "10.1.0.0/16",
            "10.0.0.0/8",
            "192.0.2.7",
            "11.0.0.0/32",
            "2001:db8::/32",
            "::1",
            "::ffff:198.51.100.0/120",
        ];
        let list = listed(&networks).expect("networks");
        for (address, expected) in [
            ("10.255.255.255", true),
            ("11.0.0.0", true),
            ("11.0.0.1", false),
            ("9.255.255.255", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("::ffff:10.2.3.4", true),
            ("::ffff:192.0.2.8", false),
            ("::10.2.3.4", false),
            ("198.51.100.9", true),
            ("198.51.101.9", false),
            ("2001:db8:ffff::1", true),
            ("2001:db9::", false),
            ("::1", true),
            ("0.0.0.1", false),
        ] {
            assert_eq!(list.has(address.parse().expect("an address")), expected, "{address}");
        }
    }

    #[test]
    fn everything_of_one_family_is_nothing_of_the_other() {
        let (v4, v6) = (listed(&["0.0.0.0/0"]).expect("a network"), listed(&["::/0"]).expect("a network"));
        let [four, six] = ["192.0.2.7", "2001:db8::1"].map(|address| address.parse().expect("an address"));
        assert_eq!([v4.has(four), v4.has(six), v6.has(four), v6.has(six)], [true, false, false, true]);
        assert!(!listed(&[]).expect("an empty list").has(four));
    }

    #[test]
    fn a_wrong_entry_is_named() {
        for wrong in ["10.0.0.0/33", "10.0.0", "example.com", "", "1.2.3.4/8/9"] {
            assert_eq!(listed(&[wrong]).map(|_| ()), Err(format!("`{wrong}` is not an address or a network")));
        }
    }
}
