//! Finds usage, model and error in the bytes of an answer.

use serde_json::Value;

use super::Tokens;

/// Longest object that is read, in bytes.
const OBJECT_MAX: usize = 8 * 1024;
/// Longest name of a model, in bytes.
const MODEL_MAX: usize = 128;
/// Bytes of a string that are kept to see whether it is a key that is looked for; the longest of these is shorter.
const KEY_MAX: usize = 16;

/// How an answer is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// The answer is JSON.
    Json,
    /// The answer is a stream of events (SSE), each of which has JSON on one line.
    Events,
}

/// Reads an answer piece by piece. Keeps at most `OBJECT_MAX` bytes of it, and its last error.
///
/// Usage, model and error are looked for where the APIs have them, in the outermost object or in its `message` or `response`: what a model
/// says, or what of the request is repeated in the answer, stands elsewhere.
#[derive(Clone, Debug)]
pub struct Scanner {
    framing: Framing,
    place: Place,
    /// What was read of the string or object that is under way.
    buffer: Vec<u8>,
    /// Whether the byte before was a backslash in a string.
    escaped: bool,
    /// Number of objects that are open around the place.
    depth: u32,
    /// Whether the second of these is a `message` or `response`.
    wrapped: bool,
    tokens: Option<Tokens>,
    model: String,
    error: Option<Value>,
}

/// Where in the JSON the scanner is.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// Between strings.
    Outside,
    /// In a string, which may be a key.
    Text,
    /// Behind a string, and with `colon` behind the colon after it.
    Behind { key: Key, colon: bool },
    /// In the object of usage or of an error, in which so many objects and lists are open.
    Object { key: Key, open: u32, string: bool },
    /// In the name of the model.
    Model,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Usage,
    Error,
    Model,
    Wrapper,
    Other,
}

impl Scanner {
    /// A scanner of an answer that is framed so.
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        Self {
            framing,
            place: Place::Outside,
            buffer: vec![],
            escaped: false,
            depth: 0,
            wrapped: false,
            tokens: None,
            model: String::new(),
            error: None,
        }
    }

    /// Takes the next piece of the answer.
    pub fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.step(byte);
        }
    }

    /// Tokens that the answer took, as far as it has come; None: it says nothing of them.
    #[must_use]
    pub fn tokens(&self) -> Option<Tokens> {
        self.tokens
    }

    /// Object that says what went wrong, as far as the answer has come; None: there is none, or it is too long.
    #[must_use]
    pub fn error(&self) -> Option<&Value> {
        self.error.as_ref()
    }

    /// Name of the model, at most 128 bytes; empty: the answer has none.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }

    fn step(&mut self, byte: u8) {
        if self.framing == Framing::Events && matches!(byte, b'\n' | b'\r') {
            // Each event begins anew, however the one before ended.
            (self.place, self.depth, self.escaped) = (Place::Outside, 0, false);
            return;
        }
        match self.place {
            Place::Outside => self.outside(byte),
            Place::Text => self.text(byte),
            Place::Behind { key, colon } => self.behind(key, colon, byte),
            Place::Object { key, open, string } => self.object(key, open, string, byte),
            Place::Model => self.name(byte),
        }
    }

    fn outside(&mut self, byte: u8) {
        self.place = Place::Outside;
        match byte {
            b'"' => {
                self.buffer.clear();
                self.place = Place::Text;
            }
            b'{' => self.enter(false),
            b'}' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }

    fn enter(&mut self, wrapper: bool) {
        self.depth = self.depth.saturating_add(1);
        if self.depth == 2 {
            self.wrapped = wrapper;
        }
    }

    fn text(&mut self, byte: u8) {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' => self.escaped = true,
            b'"' => {
                self.place = Place::Behind { key: self.key(), colon: false };
                return;
            }
            _ => {}
        }
        if self.buffer.len() < KEY_MAX {
            self.buffer.push(byte);
        }
    }

    /// What the string that has just ended is, if it is a key.
    fn key(&self) -> Key {
        let inner = self.depth == 1 || self.depth == 2 && self.wrapped;
        match self.buffer.as_slice() {
            b"usage" | b"usageMetadata" if inner => Key::Usage,
            b"error" if inner => Key::Error,
            b"model" | b"modelVersion" if inner => Key::Model,
            b"message" | b"response" if self.depth == 1 => Key::Wrapper,
            _ => Key::Other,
        }
    }

    fn behind(&mut self, key: Key, colon: bool, byte: u8) {
        match (key, byte) {
            (_, b' ' | b'\t' | b'\n' | b'\r') => {}
            (_, b':') if !colon => self.place = Place::Behind { key, colon: true },
            (Key::Wrapper, b'{') if colon => {
                self.enter(true);
                self.place = Place::Outside;
            }
            (Key::Usage | Key::Error, b'{') if colon => {
                self.buffer.clear();
                self.object(key, 0, false, byte);
            }
            (Key::Model, b'"') if colon => {
                self.buffer.clear();
                self.place = Place::Model;
            }
            // A value of another kind; or it was no key.
            _ => self.outside(byte),
        }
    }

    fn object(&mut self, key: Key, mut open: u32, mut string: bool, byte: u8) {
        self.buffer.push(byte);
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if string => self.escaped = true,
            b'"' => string = !string,
            b'{' | b'[' if !string => open += 1,
            b'}' | b']' if !string => open = open.saturating_sub(1),
            _ => {}
        }
        self.place = Place::Object { key, open, string };
        if open == 0 {
            if let Ok(said) = serde_json::from_slice::<Value>(&self.buffer) {
                if key == Key::Error {
                    self.error = Some(said);
                } else {
                    self.tokens = self.tokens.unwrap_or_default().updated(&said).or(self.tokens);
                }
            }
            self.place = Place::Outside;
        } else if self.buffer.len() >= OBJECT_MAX {
            // No usage or error is so long. What is in it is passed over: all the deeper, as lists count too.
            self.depth = self.depth.saturating_add(open);
            self.place = Place::Outside;
            if string {
                self.unknown_text();
            }
        }
    }

    fn name(&mut self, byte: u8) {
        match byte {
            b'"' => {
                if self.model.is_empty() {
                    self.model = String::from_utf8(std::mem::take(&mut self.buffer)).unwrap_or_default();
                }
                self.place = Place::Outside;
            }
            b'\\' => {
                self.unknown_text();
                self.escaped = true;
            }
            _ if self.buffer.len() >= MODEL_MAX => self.unknown_text(),
            _ => self.buffer.push(byte),
        }
    }

    /// Goes on in a string that is no key.
    fn unknown_text(&mut self) {
        self.buffer.clear();
        self.buffer.resize(KEY_MAX, b'\\');
        self.place = Place::Text;
    }
}
