//! Addresses that stand for names.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Most names that have an address at a time.
const NAMES: usize = 4096;
/// First of the network's addresses that is given to a name: before it are the network's own and the resolver's.
const FIRST: u32 = 2;

/// Addresses of a network, given to names that were asked for. An address stands for one name, or for none: the name that was used
/// longest ago loses its address where there are too many, and one that has a connection keeps it. That address is given to another
/// name only after all others were: a program that remembers it reaches nothing rather than somebody else.
#[derive(Debug)]
pub struct Names {
    network: u32,
    /// Number of addresses in the network.
    size: u32,
    /// Most names that have an address at a time.
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    addresses: HashMap<Arc<str>, u32>,
    names: HashMap<u32, Entry>,
    /// Offset of the address that was given last.
    last: u32,
    /// Number of uses so far.
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    name: Arc<str>,
    /// Number of connections to the name.
    open: usize,
    /// Number of the name's last use.
    used: u64,
}

impl Names {
    /// Names without addresses so far. The network, an address and a number of bits, has room for more than 4096 of them. The first
    /// address is another one each time: what an earlier boot has written to disk leads to nobody else.
    #[must_use]
    pub fn new(network: (Ipv4Addr, u8)) -> Self {
        Self::of_at_most(NAMES, network, RandomState::new().hash_one(NAMES))
    }

    /// Names of which the first gets the address behind as many others as `begin` says, which may be more than there are.
    fn of_at_most(most: usize, (network, bits): (Ipv4Addr, u8), begin: u64) -> Self {
        let size = 1_u32.checked_shl(32_u32.saturating_sub(bits.into())).unwrap_or(u32::MAX);
        let begin = u32::try_from(begin % u64::from(size.saturating_sub(FIRST + 1).max(1))).unwrap_or_default();
        Self {
            network: network.to_bits(),
            size,
            most,
            state: Mutex::new(State { last: FIRST - 1 + begin, ..State::default() }),
        }
    }

    /// The address of a name. None: all addresses are in use.
    #[must_use]
    pub fn address(&self, name: &str) -> Option<Ipv4Addr> {
        let mut state = self.state();
        let offset = match state.addresses.get(name) {
            Some(&offset) => offset,
            None => state.give(name, self.size, self.most)?,
        };
        state.touch(offset);
        Some(Ipv4Addr::from_bits(self.network + offset))
    }

    /// What a connection to this address is to: the name that it stands for, or the address itself where it is not one of the
    /// network's. None: it stands for no name. The name keeps its address until the destination is dropped.
    pub(super) fn destination(&self, address: IpAddr) -> Option<Destination<'_>> {
        let literal = |host: String| Destination { names: self, host: host.into(), offset: None };
        let IpAddr::V4(v4) = address else { return Some(literal(format!("[{address}]"))) };
        let offset = match v4.to_bits().checked_sub(self.network) {
            Some(offset) if offset < self.size => offset,
            _ => return Some(literal(v4.to_string())),
        };
        let mut state = self.state();
        state.touch(offset);
        let entry = state.names.get_mut(&offset)?;
        entry.open += 1;
        Some(Destination { names: self, host: entry.name.clone(), offset: Some(offset) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn give(&mut self, name: &str, size: u32, most: usize) -> Option<u32> {
        if self.names.len() >= most {
            let idle = self.names.iter().filter(|(_, entry)| entry.open == 0);
            let (&offset, _) = idle.min_by_key(|(_, entry)| entry.used)?;
            let entry = self.names.remove(&offset)?;
            self.addresses.remove(&entry.name);
        }
        // The last address of the network is its broadcast address by custom.
        let next = |offset: u32| if offset + 2 < size { offset + 1 } else { FIRST };
        let mut offset = next(self.last);
        // Ends: there are more addresses than names.
        while self.names.contains_key(&offset) {
            offset = next(offset);
        }
        self.last = offset;
        let name: Arc<str> = name.into();
        self.addresses.insert(name.clone(), offset);
        self.names.insert(offset, Entry { name, open: 0, used: 0 });
        Some(offset)
    }

    fn touch(&mut self, offset: u32) {
        self.uses += 1;
        if let Some(entry) = self.names.get_mut(&offset) {
            entry.used = self.uses;
        }
    }
}

/// What a connection is to.
#[derive(Debug)]
pub(super) struct Destination<'a> {
    names: &'a Names,
    /// A name, or an address as a URL has it.
    pub(super) host: Arc<str>,
    offset: Option<u32>,
}

impl Drop for Destination<'_> {
    fn drop(&mut self) {
        let Some(offset) = self.offset else { return };
        if let Some(entry) = self.names.state().names.get_mut(&offset) {
            entry.open -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::direct::{NETWORK, OWN};

    fn host(names: &Names, address: impl Into<IpAddr>) -> Option<String> {
        names.destination(address.into()).map(|to| to.host.to_string())
    }

    #[test]
    fn an_address_leads_back_to_its_name_and_others_are_themselves() {
        let names = Names::of_at_most(NAMES, NETWORK, 0);
        let first = names.address("a.example").unwrap();
        let second = names.address("b.example").unwrap();
        assert_eq!((first, second), (Ipv4Addr::new(198, 18, 0, 2), Ipv4Addr::new(198, 18, 0, 3)));
        assert_eq!(names.address("a.example"), Some(first));
        assert_eq!(host(&names, first).as_deref(), Some("a.example"));
        assert_eq!(host(&names, second).as_deref(), Some("b.example"));
        assert_eq!(host(&names, OWN), None, "it stands for no name");
        assert_eq!(host(&names, Ipv4Addr::new(198, 19, 255, 255)), None);
        for (address, itself) in [("198.17.255.255", "198.17.255.255"), ("198.20.0.0", "198.20.0.0"), ("::2", "[::2]")]
        {
            assert_eq!(host(&names, address.parse::<IpAddr>().unwrap()).as_deref(), Some(itself));
        }
    }

    #[test]
    fn the_name_used_longest_ago_goes_and_its_address_is_not_given_again_soon() {
        let names = Names::new(NETWORK);
        let (open, idle) = (names.address("open").unwrap(), names.address("idle").unwrap());
        let connection = names.destination(open.into()).unwrap();
        let mut given = vec![open, idle];
        for n in 0..NAMES {
            let address = names.address(&format!("n{n}")).unwrap();
            assert!(!given.contains(&address));
            given.push(address);
        }
        assert_eq!((host(&names, open).as_deref(), host(&names, idle)), (Some("open"), None));
        drop(connection);
        for n in 0..NAMES {
            assert!(names.address(&format!("m{n}")).is_some());
        }
        assert_eq!(host(&names, open), None);
    }

    #[test]
    fn a_name_finds_no_address_only_where_all_are_in_use() {
        let names = Names::new(NETWORK);
        let all: Vec<_> = (0..NAMES).map(|n| names.address(&n.to_string()).unwrap()).collect();
        let mut connections: Vec<_> = all.iter().map(|&it| names.destination(it.into()).unwrap()).collect();
        assert_eq!(names.address("one more"), None);
        connections.pop();
        assert!(names.address("one more").is_some());
    }

    proptest! {
        /// In a network that is hardly larger than the number of names, so that addresses come around.
        #[test]
        fn names_and_addresses_are_one_to_one(asked in prop::collection::vec((0..40_u32, any::<bool>()), 1..200)) {
            let most = 8;
            let names = Names::of_at_most(most, (Ipv4Addr::new(127, 18, 0, 0), 28), u64::MAX);
            let mut connections = vec![];
            for (n, opens) in asked {
                let Some(address) = names.address(&n.to_string()) else {
                    prop_assert_eq!(names.state().names.values().filter(|entry| entry.open > 0).count(), most);
                    connections.clear();
                    continue;
                };
                let to = names.destination(address.into()).unwrap();
                prop_assert_eq!(&*to.host, &n.to_string());
                if opens {
                    connections.push((address, to));
                }
                for (address, to) in &connections {
                    let now = host(&names, *address);
                    prop_assert_eq!(now.as_deref(), Some(&*to.host));
                }
                let state = names.state();
                prop_assert!(state.names.len() == state.addresses.len() && state.names.len() <= most);
                prop_assert!(state.addresses.iter().all(|(name, offset)| state.names[offset].name == *name));
            }
        }
    }
}
