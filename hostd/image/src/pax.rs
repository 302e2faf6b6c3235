//! Extended headers of tar: `LENGTH KEY=VALUE\n`, one after the other.

/// Longest extended header, in bytes: attributes of a file are in it.
pub(crate) const LENGTH_MAX: u64 = 1 << 20;

/// Gives each record to `each`.
///
/// # Errors
/// The records make no sense.
pub(crate) fn records<'a>(
    mut bytes: &'a [u8],
    mut each: impl FnMut(&'a [u8], &'a [u8]) -> Result<(), String>,
) -> Result<(), String> {
    const BAD: &str = "an extended header makes no sense";
    while !bytes.is_empty() && bytes[0] != 0 {
        let space = bytes.iter().take(12).position(|byte| *byte == b' ').ok_or(BAD)?;
        let length = decimal(&bytes[..space]).ok_or(BAD)?;
        let length = usize::try_from(length).map_err(|_| BAD)?;
        if length <= space + 1 || length > bytes.len() || bytes[length - 1] != b'\n' {
            return Err(BAD.into());
        }
        let record = &bytes[space + 1..length - 1];
        let equals = record.iter().position(|byte| *byte == b'=').ok_or(BAD)?;
        each(&record[..equals], &record[equals + 1..])?;
        bytes = &bytes[length..];
    }
    Ok(())
}

/// A number of digits alone.
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 20 {
        return None;
    }
    text.iter().try_fold(0u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// Seconds and nanoseconds of a time such as `1700000000.25`, or `-1`.
pub(crate) fn time(text: &[u8]) -> Option<(i64, u32)> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let seconds = i64::try_from(decimal(parts.next()?)?).ok()?;
    let digits = parts.next().unwrap_or_default();
    let nanos = (0..9).try_fold(0u32, |nanos, at| {
        let digit = digits.get(at).copied().unwrap_or(b'0');
        digit.is_ascii_digit().then(|| nanos * 10 + u32::from(digit - b'0'))
    })?;
    match (negative, nanos) {
        (false, _) => Some((seconds, nanos)),
        (true, 0) => Some((-seconds, 0)),
        (true, _) => Some((-seconds - 1, 1_000_000_000 - nanos)),
    }
}
