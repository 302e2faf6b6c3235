//! Fields of a tar header, and what is made of them.

/// Length of a header, in bytes.
pub(crate) const HEADER: usize = 512;
/// Longest path, in bytes.
pub(crate) const PATH_MAX: usize = 4096;
/// Longest name of one file, in bytes.
pub(crate) const NAME_MAX: usize = 255;

/// The number in a field: octal digits, or in GNU's way the bytes of one.
pub(crate) fn number(field: &[u8]) -> Result<u64, String> {
    const BAD: &str = "a number in a header makes no sense";
    if field[0] & 0x80 != 0 {
        // Negative ones are none that are asked for.
        if field[0] != 0x80 {
            return Err(BAD.into());
        }
        let add = |number: u64, byte: &u8| number.checked_mul(256)?.checked_add(u64::from(*byte));
        return field[1..].iter().try_fold(0, add).ok_or_else(|| BAD.into());
    }
    let digits = field.iter().skip_while(|byte| **byte == b' ').take_while(|byte| !matches!(**byte, 0 | b' '));
    digits
        .copied()
        .try_fold(0u64, |number, byte| {
            (b'0'..=b'7').contains(&byte).then(|| number.checked_mul(8)?.checked_add(u64::from(byte - b'0')))?
        })
        .ok_or_else(|| BAD.into())
}

pub(crate) fn small(field: &[u8]) -> Result<u32, String> {
    u32::try_from(number(field)?).map_err(|_| "a device's number makes no sense".into())
}

/// A time that makes no sense, such as one before 1970 in GNU's way, is no reason to refuse a file.
pub(crate) fn time(field: &[u8]) -> i64 {
    number(field).ok().and_then(|seconds| i64::try_from(seconds).ok()).unwrap_or(0)
}

/// The name in a header; of POSIX's form it may be in two parts.
pub(crate) fn name_of(header: &[u8; HEADER]) -> Vec<u8> {
    let name = until_nul(&header[..100]);
    let prefix = if &header[257..263] == b"ustar\0" { until_nul(&header[345..500]) } else { &[] };
    if prefix.is_empty() { name.into() } else { [prefix, b"/", name].concat() }
}

pub(crate) fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// The names of a path. A leading slash and dots are left out; whatever would lead upward is refused.
pub(crate) fn path(raw: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    if raw.len() > PATH_MAX || raw.contains(&0) {
        return Err(format!("a path has {} bytes, or a NUL; at most {PATH_MAX} are taken", raw.len()));
    }
    let mut names = vec![];
    for name in raw.split(|byte| *byte == b'/').filter(|name| !matches!(name, [] | [b'.'])) {
        if name == b".." || name.len() > NAME_MAX {
            return Err(format!("the path {} leads upward, or has a name of more than 255 bytes", lossy(raw)));
        }
        names.push(name.to_vec());
    }
    Ok(names)
}

/// What a symbolic link says. Where it leads is the guest's business: here it is a text.
pub(crate) fn target(link: Vec<u8>) -> Result<Vec<u8>, String> {
    if link.is_empty() || link.len() >= PATH_MAX || link.contains(&0) {
        return Err("a symbolic link says nothing, or too much".into());
    }
    Ok(link)
}

/// A path for people.
pub(crate) fn shown(path: &[Vec<u8>]) -> String {
    lossy(&path.join(&b'/'))
}

fn lossy(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let shown: String = text.chars().filter(|c| !c.is_control()).take(120).collect();
    if shown.is_empty() { "/".into() } else { shown }
}
