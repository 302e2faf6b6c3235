//! How a registry says that it wants to know who asks: `WWW-Authenticate`.

/// Longest header that is read, in bytes.
const HEADER_MAX: usize = 4096;

/// What a registry wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// A user and a password.
    Basic,
    /// A token, which is asked for elsewhere.
    Bearer {
        /// URL that gives tokens.
        realm: String,
        /// Whom the token is for; empty: it does not say.
        service: String,
    },
}

impl Challenge {
    /// Reads a header. A token is preferred where there are several ways.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        if header.len() > HEADER_MAX {
            return None;
        }
        let mut basic = false;
        let mut rest = header;
        while let Some(word) = next_word(&mut rest) {
            if word.eq_ignore_ascii_case("basic") {
                basic = true;
            } else if word.eq_ignore_ascii_case("bearer") {
                let (mut realm, mut service) = (None, String::new());
                for (key, value) in Parameters(rest) {
                    match key.to_ascii_lowercase().as_str() {
                        "realm" => realm = Some(value),
                        "service" => service = value,
                        _ => {}
                    }
                }
                return realm.map(|realm| Self::Bearer { realm, service });
            }
        }
        basic.then_some(Self::Basic)
    }

    /// The URL that gives a token: the realm with what is asked for.
    #[must_use]
    pub fn token_url(realm: &str, service: &str, scope: &str) -> String {
        let mut url = realm.to_owned();
        let mut mark = if realm.contains('?') { '&' } else { '?' };
        for (name, value) in [("service", service), ("scope", scope)].into_iter().filter(|(_, value)| !value.is_empty())
        {
            url.push(mark);
            url.push_str(name);
            url.push('=');
            value.bytes().for_each(|byte| percent(byte, &mut url));
            mark = '&';
        }
        url
    }
}

fn percent(byte: u8, url: &mut String) {
    use std::fmt::Write as _;
    if byte.is_ascii_alphanumeric() || b"-._~:/,".contains(&byte) {
        url.push(char::from(byte));
    } else {
        // Writing into a String does not fail.
        let _ = write!(url, "%{byte:02X}");
    }
}

/// Takes the next word that is no parameter: the name of a scheme.
fn next_word<'a>(rest: &mut &'a str) -> Option<&'a str> {
    loop {
        *rest = rest.trim_start_matches([' ', ',', '\t']);
        if rest.is_empty() {
            return None;
        }
        let end = rest.find([' ', ',', '=', '"']).unwrap_or(rest.len());
        let word = &rest[..end];
        let behind = &rest[end..];
        if behind.starts_with('=') {
            parameter(rest)?;
            continue;
        }
        *rest = behind.strip_prefix('"').unwrap_or(behind);
        return Some(word);
    }
}

/// Takes `key=value` or `key="value"`.
fn parameter<'a>(rest: &mut &'a str) -> Option<(&'a str, String)> {
    let (key, behind) = rest.split_once('=')?;
    if key.is_empty() || key.contains([' ', ',', '"']) {
        return None;
    }
    let Some(quoted) = behind.strip_prefix('"') else {
        let end = behind.find([',', ' ']).unwrap_or(behind.len());
        *rest = &behind[end..];
        return Some((key, behind[..end].into()));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                *rest = &quoted[at + 1..];
                return Some((key, value));
            }
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            _ => value.push(c),
        }
    }
    None
}

/// Parameters up to the next scheme.
struct Parameters<'a>(&'a str);

impl<'a> Iterator for Parameters<'a> {
    type Item = (&'a str, String);

    fn next(&mut self) -> Option<Self::Item> {
        self.0 = self.0.trim_start_matches([' ', ',', '\t']);
        parameter(&mut self.0)
    }
}
