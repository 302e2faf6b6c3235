//! Files for a report, in one tar: secrets taken out of them, and their names and contents written so that any tar reads them.

/// Shortest value that is taken for a secret, in bytes: shorter ones would be found in any text.
const SECRET_MIN: usize = 6;
/// Bytes of a tar's block.
const BLOCK: usize = 512;
/// Longest name of a file, in bytes.
const NAME_MAX: usize = 99;

/// A file of the bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Name, with slashes; at most 99 bytes.
    pub name: String,
    /// Contents of the file.
    pub bytes: Vec<u8>,
}

/// The bytes with each of these values, by their names, replaced by words that say which one was there: also where a value is broken into
/// rows, and each line of a value by itself. What has less than six bytes stays.
#[must_use]
pub fn without_secrets<'a>(bytes: &[u8], secrets: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let whole_and_lines = |(name, value): (&'a str, &'a str)| {
        let lines = value.lines().map(|line| line.trim().as_bytes().to_vec());
        let all: Vec<_> =
            std::iter::once(value.bytes().filter(|byte| !is_break(*byte)).collect()).chain(lines).collect();
        all.into_iter().map(move |value: Vec<u8>| (name, value))
    };
    let mut secrets: Vec<_> =
        secrets.into_iter().flat_map(whole_and_lines).filter(|(_, value)| value.len() >= SECRET_MIN).collect();
    // One may begin with another: the longer one is all of it.
    secrets.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(first) = rest.first() {
        let found = secrets.iter().find_map(|(name, value)| Some((name, begins(rest, value)?)));
        match found {
            Some((name, length)) => {
                out.extend_from_slice(format!("[{name} left out]").as_bytes());
                rest = rest.get(length..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                rest = rest.get(1..).unwrap_or_default();
            }
        }
    }
    out
}

fn is_break(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

/// How many bytes the value takes that the text begins with, which may break it into rows; None: the text begins otherwise.
fn begins(text: &[u8], value: &[u8]) -> Option<usize> {
    let (mut at, mut left) = (0, value);
    while let Some((next, after)) = left.split_first() {
        let byte = *text.get(at)?;
        if byte == *next {
            left = after;
        } else if at == 0 || !is_break(byte) {
            return None;
        }
        at += 1;
    }
    Some(at)
}

/// A tar (ustar) of these files, below a folder of this name, as of this time in seconds since the Unix epoch. Names that are too long are
/// cut.
#[must_use]
pub fn tar(folder: &str, files: &[File], seconds: u64) -> Vec<u8> {
    let mut out = Vec::new();
    for file in files {
        let mut name = format!("{folder}/{}", file.name);
        while name.len() > NAME_MAX {
            name.pop();
        }
        out.extend_from_slice(&header(&name, file.bytes.len() as u64, seconds));
        out.extend_from_slice(&file.bytes);
        out.resize(out.len().next_multiple_of(BLOCK), 0);
    }
    // Two blocks of nothing are the end.
    out.resize(out.len() + 2 * BLOCK, 0);
    out
}

fn header(name: &str, size: u64, seconds: u64) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| {
        header.iter_mut().skip(at).zip(bytes).for_each(|(to, from)| *to = *from);
    };
    put(0, name.as_bytes());
    put(100, b"0000600\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, format!("{seconds:011o}\0").as_bytes());
    // The sum is made with blanks in its own place.
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    let sum = format!("{sum:06o}\0 ");
    header.iter_mut().skip(148).zip(sum.as_bytes()).for_each(|(to, from)| *to = *from);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_taken_out_wherever_they_are() {
        let secrets = [("TOKEN", "hunter22"), ("LONGER", "hunter22-and-more"), ("SHORT", "12"), ("EMPTY", "")];
        let text = b"a hunter22 b\xff hunter22-and-more 12 hunter2";
        let expected: &[u8] = b"a [TOKEN left out] b\xff [LONGER left out] 12 hunter2";
        assert_eq!(without_secrets(text, secrets), expected);
        assert_eq!(without_secrets(text, []), text);
    }

    #[test]
    fn a_value_is_found_over_rows_and_by_its_lines() {
        let pem = "-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQEF\nab==\n";
        let secrets = [("TOKEN", "hunter22-and-more"), ("PEM", pem)];
        let cleaned = |text: &str| String::from_utf8(without_secrets(text.as_bytes(), secrets)).unwrap();
        assert_eq!(cleaned("a hunter2\r\n2-and-\nmore\r\nb"), "a [TOKEN left out]\r\nb");
        assert_eq!(cleaned(&format!("a\r\n{}b", pem.replace('\n', "\r\n"))), "a\r\n[PEM left out]\r\nb");
        assert_eq!(cleaned("  1 MIIEvQIBADANBg\n  2 kqhkiG9w0BAQEF\n"), "  1 [PEM left out]\n  2 [PEM left out]\n");
        assert_eq!(cleaned("hunter2\n\nand ab=="), "hunter2\n\nand ab==");
    }

    #[test]
    fn a_tar_is_whole_blocks_with_sums_that_hold() {
        let files = [File { name: "a".into(), bytes: vec![b'x'; 513] }, File { name: "é".repeat(100), bytes: vec![] }];
        let tar = tar("fix", &files, 1_700_000_000);
        assert_eq!(tar.len(), BLOCK * (1 + 2 + 1 + 2));
        assert_eq!(
            (&tar[..5], &tar[124..136], &tar[257..265]),
            (&b"fix/a"[..], &b"00000001001\0"[..], &b"ustar\x0000"[..])
        );
        for at in [0, 3 * BLOCK] {
            let header = &tar[at..at + BLOCK];
            let stated = u32::from_str_radix(std::str::from_utf8(&header[148..154]).unwrap(), 8).unwrap();
            let blank = |(n, byte): (usize, &u8)| if (148..156).contains(&n) { 32 } else { u32::from(*byte) };
            assert_eq!(header.iter().enumerate().map(blank).sum::<u32>(), stated);
        }
        assert!(std::str::from_utf8(tar[3 * BLOCK..3 * BLOCK + 99].split(|byte| *byte == 0).next().unwrap()).is_ok());
    }
}
