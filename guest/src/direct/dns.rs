//! DNS messages (RFC 1035), as far as a resolver needs them that has an address for every name and nothing else.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Length of a message's header, in bytes.
const HEADER: usize = 12;
/// Longest name, in bytes, with its dots and without the last one.
const NAME: usize = 253;
/// Seconds that an answer is good for: an address may stand for nothing later.
const TTL: u32 = 60;

const A: u16 = 1;
const AAAA: u16 = 28;
const INTERNET: u16 = 1;

/// `RCODE` of an answer.
#[derive(Clone, Copy)]
enum Code {
    NoError = 0,
    FormatError = 1,
    ServerFailure = 2,
    NoSuchName = 3,
    NotImplemented = 4,
    Refused = 5,
}

/// The answer to a query: for a host name the address that `address` has for it, and no other record of anything. None: the bytes
/// are no query, and are not answered.
pub(super) fn answer(query: &[u8], address: impl FnOnce(&str) -> Option<Ipv4Addr>) -> Option<Vec<u8>> {
    let (header, rest) = query.split_first_chunk::<HEADER>()?;
    let [first, second, flags, _, questions @ ..] = *header;
    if flags & 0x80 != 0 {
        return None;
    }
    // QR, OPCODE and RD as they came.
    let response = |code: Code, question: &[u8], data: Option<Record>| {
        let numbers = [0, u8::from(!question.is_empty()), 0, u8::from(data.is_some()), 0, 0, 0, 0];
        let mut bytes = vec![first, second, 0x80 | (flags & 0x79), 0x80 | code as u8];
        bytes.extend_from_slice(&numbers);
        bytes.extend_from_slice(question);
        if let Some(record) = data {
            record.write(&mut bytes);
        }
        Some(bytes)
    };
    if flags & 0x78 != 0 {
        return response(Code::NotImplemented, &[], None);
    }
    let question = if questions[..2] == [0, 1] { Question::parse(rest) } else { None };
    let Some(question) = question else { return response(Code::FormatError, &[], None) };
    if question.class != INTERNET {
        return response(Code::Refused, question.bytes, None);
    }
    let name = question.name.as_str();
    let local = name == "localhost" || name.ends_with(".localhost");
    let record = match question.kind {
        A if local => Some(Record::A(Ipv4Addr::LOCALHOST)),
        AAAA if local => Some(Record::Aaaa(Ipv6Addr::LOCALHOST)),
        A if !is_host(name) => return response(Code::NoSuchName, question.bytes, None),
        A => match address(name) {
            Some(address) => Some(Record::A(address)),
            None => return response(Code::ServerFailure, question.bytes, None),
        },
        _ => None,
    };
    response(Code::NoError, question.bytes, record)
}

struct Question<'a> {
    /// Name in lower case. What is no letter, digit, dash or underscore in it is a question mark.
    name: String,
    kind: u16,
    class: u16,
    /// The question as it came.
    bytes: &'a [u8],
}

impl<'a> Question<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut name = String::new();
        let mut rest = bytes;
        loop {
            let (&length, after) = rest.split_first()?;
            // Two bits that are set are a pointer, which a question has nothing to point at with.
            if length > 63 {
                return None;
            }
            let (label, after) = after.split_at_checked(length.into())?;
            rest = after;
            if label.is_empty() {
                break;
            }
            if !name.is_empty() {
                name.push('.');
            }
            let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            name.extend(label.iter().map(|&byte| if known(byte) { byte.to_ascii_lowercase().into() } else { '?' }));
            if name.len() > NAME {
                return None;
            }
        }
        let (&[a, b, c, d], after) = rest.split_first_chunk()?;
        let bytes = &bytes[..bytes.len() - after.len()];
        Some(Self { name, kind: u16::from_be_bytes([a, b]), class: u16::from_be_bytes([c, d]), bytes })
    }
}

/// Whether a name can be that of a host; one below `invalid` never is (RFC 6761).
fn is_host(name: &str) -> bool {
    !name.is_empty() && !name.contains('?') && name.rsplit('.').next() != Some("invalid")
}

enum Record {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
}

impl Record {
    /// Writes the record of the name that the question has.
    fn write(self, bytes: &mut Vec<u8>) {
        let (kind, data) = match self {
            Self::A(address) => (A, address.octets().to_vec()),
            Self::Aaaa(address) => (AAAA, address.octets().to_vec()),
        };
        // The name is where the question has it, right after the header.
        bytes.extend_from_slice(&[0xc0, 12]);
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&INTERNET.to_be_bytes());
        bytes.extend_from_slice(&TTL.to_be_bytes());
        bytes.extend_from_slice(&[0, if kind == A { 4 } else { 16 }]);
        bytes.extend_from_slice(&data);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const POOL: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 7);

    fn query(name: &str, kind: u16, class: u16) -> Vec<u8> {
        let mut bytes = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.').filter(|label| !label.is_empty()) {
            bytes.push(u8::try_from(label.len()).unwrap());
            bytes.extend_from_slice(label.as_bytes());
        }
        bytes.push(0);
        bytes.extend_from_slice(&[kind.to_be_bytes(), class.to_be_bytes()].concat());
        bytes
    }

    /// Code, number of answers, and the last four bytes.
    fn told(answer: &[u8]) -> (u8, u8, [u8; 4]) {
        (answer[3] & 15, answer[7], *answer.last_chunk().unwrap())
    }

    #[test]
    fn a_name_has_the_address_that_it_is_given() {
        let asked = query("API.Example.com", A, INTERNET);
        let answer = answer(&asked, |name| (name == "api.example.com").then_some(POOL)).unwrap();
        assert_eq!(answer[..4], [0xab, 0xcd, 0x81, 0x80]);
        assert_eq!(answer[4..12], [0, 1, 0, 1, 0, 0, 0, 0]);
        // The question comes back letter by letter: some programs mix cases and compare.
        assert_eq!(answer[12..asked.len()], asked[12..]);
        assert_eq!(answer[asked.len()..], [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 198, 18, 0, 7]);
    }

    #[rstest]
    #[case("a.example", AAAA, INTERNET, (0, 0, [0, 28, 0, 1]))]
    #[case::https("a.example", 65, INTERNET, (0, 0, [0, 65, 0, 1]))]
    #[case::chaos("version.bind", 16, 3, (5, 0, [0, 16, 0, 3]))]
    #[case("localhost", A, INTERNET, (0, 1, [127, 0, 0, 1]))]
    #[case("x.localhost.", AAAA, INTERNET, (0, 1, [0, 0, 0, 1]))]
    #[case::no_host("a b.example", A, INTERNET, (3, 0, [0, 1, 0, 1]))]
    #[case::invalid("no.such.Invalid", A, INTERNET, (3, 0, [0, 1, 0, 1]))]
    #[case::root("", A, INTERNET, (3, 0, [0, 1, 0, 1]))]
    #[case::reverse("2.0.18.198.in-addr.arpa", 12, INTERNET, (0, 0, [0, 12, 0, 1]))]
    fn all_else_is_answered_at_once(
        #[case] name: &str,
        #[case] kind: u16,
        #[case] class: u16,
        #[case] expected: (u8, u8, [u8; 4]),
    ) {
        let answer = answer(&query(name, kind, class), |_| panic!("it is given no address")).unwrap();
        assert_eq!(told(&answer), expected);
    }

    #[test]
    fn what_is_no_query_is_refused_or_not_answered() {
        let whole = query("a.example", A, INTERNET);
        let with = |at: usize, byte: u8| {
            let mut bytes = whole.clone();
            bytes[at] = byte;
            answer(&bytes, |_| Some(POOL))
        };
        assert_eq!(with(2, 0x81), None, "an answer");
        assert_eq!(told(&with(2, 0x29).unwrap()), (4, 0, [0; 4]), "an update");
        assert_eq!(told(&with(5, 2).unwrap()), (1, 0, [0; 4]), "two questions");
        assert_eq!(told(&with(12, 0xc0).unwrap()), (1, 0, [0; 4]), "a pointer");
        for length in 0..whole.len() {
            let answer = answer(&whole[..length], |_| panic!("it is given no address"));
            assert_eq!(answer.is_some(), length >= HEADER, "{length}");
        }
        assert_eq!(told(&answer(&query("a.example", A, INTERNET), |_| None).unwrap()), (2, 0, [0, 1, 0, 1]));
        let long = vec!["a".repeat(63); 4].join(".");
        assert_eq!(told(&answer(&query(&long, A, INTERNET), |_| Some(POOL)).unwrap()).0, 1);
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered_within_bounds(mut bytes in prop::collection::vec(any::<u8>(), 0..600), asks in any::<bool>()) {
            if asks && bytes.len() > HEADER {
                bytes[..HEADER].copy_from_slice(&query("", A, INTERNET)[..HEADER]);
            }
            if let Some(answer) = answer(&bytes, |_| Some(POOL)) {
                prop_assert!(answer.len() <= HEADER + 255 + 4 + 28 && answer[2] & 0x80 != 0 && answer[..2] == bytes[..2]);
            }
        }
    }
}
