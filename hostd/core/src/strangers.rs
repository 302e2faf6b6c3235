//! Whom a listener lets in that anybody may connect to. Who connects waits as a stranger until it has said who it is; strangers
//! are few, all together and of each address, and where there are too many the one that has waited longest makes room. Who
//! speaks at once is therefore heard, however many only connect.

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv6Addr},
};

/// Connections whose peers have not said yet who they are.
#[derive(Clone, Debug)]
pub struct Strangers {
    /// Numbers and addresses of the strangers, the longest waiting first.
    waiting: VecDeque<(u64, IpAddr)>,
    next: u64,
    of_all: usize,
    of_address: usize,
}

impl Strangers {
    /// Creates an empty record for at most `of_all` strangers, and at most `of_address` of one address; 0 counts as 1.
    #[must_use]
    pub fn new(of_all: usize, of_address: usize) -> Self {
        Self { waiting: VecDeque::new(), next: 0, of_all: of_all.max(1), of_address: of_address.max(1) }
    }

    /// Admits a stranger. Returns its number, and the number of the stranger that must be disconnected for it.
    pub fn admit(&mut self, address: IpAddr) -> (u64, Option<u64>) {
        let address = counted(address);
        let of_address = self.waiting.iter().filter(|(_, other)| *other == address).count();
        let goes = if of_address >= self.of_address {
            self.waiting.iter().position(|(_, other)| *other == address)
        } else {
            (self.waiting.len() >= self.of_all).then_some(0)
        };
        let gone = goes.and_then(|at| self.waiting.remove(at)).map(|(number, _)| number);
        let number = self.next;
        self.next += 1;
        self.waiting.push_back((number, address));
        (number, gone)
    }

    /// Removes a stranger that has said who it is, or is gone. False: it made room for another before.
    pub fn leave(&mut self, number: u64) -> bool {
        let at = self.waiting.iter().position(|(other, _)| *other == number);
        at.and_then(|at| self.waiting.remove(at)).is_some()
    }

    /// Number of strangers that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether no stranger waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// The address that is counted for a peer: of IPv6 its network of 64 bits, all of which one machine may have.
fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([127, 0, 0, last])
    }

    #[test]
    fn the_longest_waiting_of_an_address_makes_room_for_its_next() {
        let mut strangers = Strangers::new(3, 2);
        assert_eq!(strangers.admit(address(1)), (0, None));
        assert_eq!(strangers.admit(address(2)), (1, None));
        assert_eq!(strangers.admit(address(1)), (2, None));
        assert_eq!(strangers.admit(address(1)), (3, Some(0)), "its own, though another could go");
        assert_eq!(strangers.admit(address(3)), (4, Some(1)), "the longest waiting of all");
        assert!(strangers.leave(2) && !strangers.leave(2) && !strangers.leave(0));
        assert_eq!(strangers.admit(address(1)), (5, None));
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let parse = |text: &str| counted(text.parse().unwrap());
        assert_eq!(parse("2001:db8::1"), parse("2001:db8::ffff:1"));
        assert_ne!(parse("2001:db8::1"), parse("2001:db8:0:1::1"));
        assert_eq!(parse("::ffff:10.0.0.1"), parse("10.0.0.1"));
    }

    proptest! {
        #[test]
        fn bounds_hold_and_the_newest_stays(steps in proptest::collection::vec((0u8..5, any::<bool>()), 0..60)) {
            let mut strangers = Strangers::new(6, 3);
            let mut numbers = vec![];
            for (last, leaves) in steps {
                if let Some(number) = numbers.pop().filter(|_| leaves) {
                    strangers.leave(number);
                }
                let (number, gone) = strangers.admit(address(last));
                prop_assert_ne!(gone, Some(number));
                numbers.push(number);
                let of_address = strangers.waiting.iter().filter(|(_, it)| *it == address(last)).count();
                prop_assert!(strangers.len() <= 6 && of_address <= 3);
                prop_assert!(strangers.waiting.back().is_some_and(|(newest, _)| *newest == number));
            }
        }
    }
}
