//! The id of an agent's conversation, where it is us who choose it.

/// What stands for the id in commands.
pub const PLACEHOLDER: &str = "{session_id}";

/// The id that an agent's conversation is given in the session of this id, a ULID: a random UUID in its form (version 4), of
/// the ULID's own bits. None: that is no ULID.
#[must_use]
pub fn session_id(session: &str) -> Option<String> {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    if session.len() != 26 {
        return None;
    }
    let digit = |byte: u8| DIGITS.iter().position(|digit| *digit == byte.to_ascii_uppercase());
    let bits = session.bytes().try_fold(0u128, |bits, byte| Some(bits << 5 | digit(byte)? as u128))?;
    let version = bits & !(0xf << 76) | 4 << 76;
    let uuid = format!("{:032x}", version & !(3 << 62) | 2 << 62);
    Some([&uuid[..8], &uuid[8..12], &uuid[12..16], &uuid[16..20], &uuid[20..]].join("-"))
}

/// Whether a program's own id of a conversation may stand in a command: at most 128 letters, digits, dashes and underscores, of
/// which the first is no dash.
#[must_use]
pub fn is_conversation(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (1..=128).contains(&id.len()) && !id.starts_with('-') && id.bytes().all(plain)
}

/// A command with the id in its place.
#[must_use]
pub fn with_session_id(command: &[String], id: &str) -> Vec<String> {
    command.iter().map(|word| word.replace(PLACEHOLDER, id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_programs_are_no_options_and_no_paths() {
        for (id, is) in [
            ("01a22e7c-ac02-76f0-ba3f-ce6679d72dc2", true),
            ("ses_dd181a250ffe2MlESHPDtWYhQM", true),
            ("", false),
            ("--last", false),
            ("../x", false),
            ("a b", false),
            (&"a".repeat(129), false),
        ] {
            assert_eq!(is_conversation(id), is, "{id}");
        }
    }

    #[test]
    fn the_id_is_a_uuid_of_its_form_and_of_this_session_alone() {
        let id = session_id("01ARZ3NDEKTSV4RRFFQ69G5FAV").unwrap();
        // The ULID is 0x01563e3ab5d3d6764c61efb99302bd5b.
        assert_eq!(id, "01563e3a-b5d3-4676-8c61-efb99302bd5b");
        assert_ne!(session_id("01ARZ3NDEKTSV4RRFFQ69G5FAW").unwrap(), id);
        assert_eq!((session_id("x"), session_id("01ARZ3NDEKTSV4RRFFQ69G5FAU")), (None, None));
        let command = ["a".to_owned(), "--id={session_id}".to_owned()];
        assert_eq!(with_session_id(&command, "7"), ["a", "--id=7"]);
    }
}
