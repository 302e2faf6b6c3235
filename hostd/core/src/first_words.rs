//! What a program says first on a connection: whether it is what the entry of egress lets through.

use crate::recipe::Speaks;

/// Most bytes that are looked at.
pub const MOST: usize = 16 << 10;
/// Longest name of a method of HTTP, in bytes.
const METHOD_MAX: usize = 20;

/// What the first bytes of a connection tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// There are too few of them to tell.
    More,
    /// They are of what is let through.
    Fits,
    /// They are of a protocol, or for a host, that is not let through.
    Other,
}

/// Whether what a program has said so far to this host, a name or an address, is what may be spoken with it.
#[must_use]
pub fn told(said: &[u8], host: &str, speaks: Speaks) -> Told {
    let told = match speaks {
        Speaks::Anything => Told::Fits,
        Speaks::Http => http(said),
        Speaks::Tls => tls(said, host),
    };
    if told == Told::More && said.len() >= MOST { Told::Other } else { told }
}

/// The line of a request in HTTP/1, or what a connection in HTTP/2 begins with.
fn http(said: &[u8]) -> Told {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";
    if said.starts_with(PREFACE) {
        return Told::Fits;
    }
    let Some(end) = said.iter().position(|&byte| byte == b'\n') else {
        let method = said.split(|&byte| byte == b' ').next().unwrap_or_default();
        let fits = method.len() <= METHOD_MAX && method.iter().all(|&byte| is_token(byte));
        return if fits { Told::More } else { Told::Other };
    };
    let line = said[..end].strip_suffix(b"\r").unwrap_or(&said[..end]);
    let mut words = line.split(|&byte| byte == b' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    let fits = method.is_some_and(|it| (1..=METHOD_MAX).contains(&it.len()) && it.iter().all(|&byte| is_token(byte)))
        && target.is_some_and(|it| !it.is_empty() && it.iter().all(u8::is_ascii_graphic))
        && version.is_some_and(|it| matches!(it, b"HTTP/1.1" | b"HTTP/1.0"))
        && words.next().is_none();
    if fits { Told::Fits } else { Told::Other }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A ClientHello (RFC 8446) that asks for this host, or for none by name.
fn tls(said: &[u8], host: &str) -> Told {
    let mut hello = Vec::new();
    let mut rest = said;
    // It may come in several records.
    loop {
        if let Some(told) = client_hello(&hello, host) {
            return told;
        }
        let head = rest.first_chunk::<5>();
        // Of a head that is not whole yet, as much as there is.
        let begins = rest.iter().zip([22, 3]).all(|(byte, wanted)| *byte == wanted);
        let Some(&[_, _, _, high, low]) = head.filter(|_| begins) else {
            return if begins { Told::More } else { Told::Other };
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let Some(record) = rest.get(5..5 + length) else { return Told::More };
        if record.is_empty() {
            return Told::Other;
        }
        hello.extend_from_slice(record);
        rest = &rest[5 + length..];
    }
}

/// What the bytes of a handshake tell; None: too few.
fn client_hello(bytes: &[u8], host: &str) -> Option<Told> {
    let &[kind, a, b, c] = bytes.first_chunk::<4>()?;
    let length = u32::from_be_bytes([0, a, b, c]) as usize;
    if kind != 1 || length > MOST {
        return Some(Told::Other);
    }
    let hello = bytes.get(4..4 + length)?;
    let fits = match server_name(hello) {
        Some(Some(name)) => name.eq_ignore_ascii_case(host.as_bytes()),
        Some(None) => true,
        None => false,
    };
    Some(if fits { Told::Fits } else { Told::Other })
}

/// The name that a ClientHello asks for, if it asks for any; None: it is none.
fn server_name(hello: &[u8]) -> Option<Option<&[u8]>> {
    let mut bytes = Bytes(hello);
    // Version and random.
    bytes.take(2 + 32)?;
    let session = bytes.number(1)?;
    bytes.take(session)?;
    let ciphers = bytes.number(2)?;
    bytes.take(ciphers)?;
    let compressions = bytes.number(1)?;
    bytes.take(compressions)?;
    if bytes.0.is_empty() {
        return Some(None);
    }
    let length = bytes.number(2)?;
    let mut extensions = Bytes(bytes.take(length)?);
    let mut name = None;
    while !extensions.0.is_empty() {
        let (kind, length) = (extensions.number(2)?, extensions.number(2)?);
        let mut extension = Bytes(extensions.take(length)?);
        if kind != 0 {
            continue;
        }
        // Two of them are one too many, whichever the server would take.
        let (list, kind) = (extension.number(2)?, extension.number(1)?);
        let length = extension.number(2)?;
        let one = extension.take(length)?;
        if name.replace(one).is_some() || kind != 0 || list != length + 3 || !extension.0.is_empty() {
            return None;
        }
    }
    Some(name)
}

/// Bytes that are taken apart from their begin.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number of so many bytes, big-endian.
    fn number(&mut self, length: usize) -> Option<usize> {
        Some(self.take(length)?.iter().fold(0, |number, &byte| number << 8 | usize::from(byte)))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    /// A ClientHello that asks for these names, each in an extension of its own, behind one that means nothing here.
    fn hello(names: &[&str]) -> Vec<u8> {
        let sized = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat();
        let mut extensions = [&[0x2b, 0x2b][..], &sized(&[2, 3, 4])].concat();
        for name in names {
            let one = [&[0][..], &sized(name.as_bytes())].concat();
            extensions.extend([&[0, 0][..], &sized(&sized(&one))].concat());
        }
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([2, 9, 9, 0, 2, 0x13, 1, 1, 0]);
        body.extend(sized(&extensions));
        [&[1, 0][..], &sized(&body)].concat()
    }

    fn records(handshake: &[u8], size: usize) -> Vec<u8> {
        let record =
            |piece: &[u8]| [&[22, 3, 1][..], &u16::try_from(piece.len()).unwrap().to_be_bytes(), piece].concat();
        handshake.chunks(size).flat_map(record).collect()
    }

    #[rstest]
    #[case::named(&["api.example"], Told::Fits)]
    #[case::in_capitals(&["API.example"], Told::Fits)]
    #[case::nobody(&[], Told::Fits)]
    #[case::another(&["evil.example"], Told::Other)]
    #[case::below(&["x.api.example"], Told::Other)]
    #[case::twice(&["api.example", "evil.example"], Told::Other)]
    fn tls_asks_for_the_host(#[case] names: &[&str], #[case] expected: Told) {
        for size in [1, 7, 16_000] {
            let said = records(&hello(names), size);
            assert_eq!(told(&said, "api.example", Speaks::Tls), expected, "in records of {size}");
            for length in 0..said.len() {
                assert_eq!(told(&said[..length], "api.example", Speaks::Tls), Told::More, "{length}");
            }
            assert_eq!(told(&said, "api.example", Speaks::Http), Told::Other);
            assert_eq!(told(&said, "api.example", Speaks::Anything), Told::Fits);
        }
    }

    #[rstest]
    #[case(b"GET / HTTP/1.1\r\n", Told::Fits)]
    #[case(b"M-SEARCH * HTTP/1.0\n", Told::Fits)]
    #[case(b"PRI * HTTP/2.0\r\n\r\nSM", Told::Fits)]
    #[case(b"GET / HTTP/1", Told::More)]
    #[case(b"", Told::More)]
    #[case(b"GET / HTTP/3\r\n", Told::Other)]
    #[case(b"GET  HTTP/1.1\r\n", Told::Other)]
    #[case(b"GET / x HTTP/1.1\r\n", Told::Other)]
    #[case(b"SSH-2.0-OpenSSH_9.2\r\n", Told::Other)]
    #[case(b"\x00\x00\x00\x08", Told::Other)]
    #[case(b"AVERYLONGWORDTHATISNOMETHOD", Told::Other)]
    fn http_begins_with_a_request(#[case] said: &[u8], #[case] expected: Told) {
        assert_eq!(told(said, "a.example", Speaks::Http), expected);
        assert_ne!(told(said, "a.example", Speaks::Tls), Told::Fits);
    }

    #[test]
    fn what_never_says_what_it_is_does_not_fit() {
        let endless = [b"GET /".to_vec(), vec![b'a'; MOST]].concat();
        assert_eq!(told(&endless, "a.example", Speaks::Http), Told::Other);
        assert_eq!(told(&records(&[1, 0, 0x3f, 0], 1), "a.example", Speaks::Tls), Told::More);
        assert_eq!(told(&records(&[1, 1, 0, 0], 4), "a.example", Speaks::Tls), Told::Other, "it is too long");
        assert_eq!(told(&[22, 3, 1, 0, 0], "a.example", Speaks::Tls), Told::Other, "a record of nothing");
    }

    proptest! {
        #[test]
        fn more_bytes_change_nothing_that_was_told(said in prop::collection::vec(any::<u8>(), 0..64), tls in any::<bool>()) {
            let begin: &[u8] = if tls { &[22, 3, 1, 0, 40, 1, 0, 0, 36] } else { b"GET " };
            let said = [begin, &said].concat();
            for speaks in [Speaks::Http, Speaks::Tls] {
                let mut before = Told::More;
                for length in 0..=said.len() {
                    let now = told(&said[..length], "a.example", speaks);
                    prop_assert!(before == Told::More || before == now);
                    before = now;
                }
            }
        }
    }
}
