//! One file's contents, compared.

use bytes::Bytes;
use hostd_core::diff::{Contents, Limits, diff};

use super::{
    error::DiffError,
    objects::Objects,
    pieces::Pieces,
    run::has_contents,
    types::{Compared, Detail, File, FileEnd, Piece, Wish},
};

/// Bytes of both sides together from which on a file waits for a place.
const LARGE: u64 = 8 << 20;

/// What is to be read of a file.
#[derive(Debug)]
pub(super) struct Wanted {
    file: File,
    /// Result that is known without reading; None: both sides are to be read.
    known: Option<Compared>,
}

/// Contents of both sides; None: one is missing, or none was to be read.
type Both = Option<(Bytes, Bytes)>;

impl Wanted {
    pub(super) fn of(file: File) -> Self {
        let max = Limits::default().bytes as u64;
        let known = match (file.old_bytes, file.new_bytes) {
            _ if file.change.old_id == file.change.new_id => Some(Compared::Same),
            (Some(old), Some(new)) if old.max(new) > max => Some(Compared::TooLarge),
            (Some(_), Some(_)) => None,
            _ => Some(Compared::Missing),
        };
        Self { file, known }
    }

    /// Ids of the objects that are to be read, in order.
    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        let change = &self.file.change;
        let sides = [(&change.old_id, change.old_mode), (&change.new_id, change.new_mode)];
        let read = self.known.is_none();
        sides.into_iter().filter(move |(_, mode)| read && has_contents(*mode)).map(|(id, _)| id.as_str())
    }

    /// Whether the comparison takes much memory, and waits for a place.
    pub(super) fn is_large(&self) -> bool {
        let bytes = self.file.old_bytes.unwrap_or(0).saturating_add(self.file.new_bytes.unwrap_or(0));
        self.known.is_none() && bytes > LARGE
    }

    /// Reads the contents that were asked for.
    pub(super) async fn read(&self, objects: &mut Objects) -> Result<Both, DiffError> {
        let change = &self.file.change;
        let mut sides = [Some(Bytes::new()), Some(Bytes::new())];
        if self.known.is_some() {
            return Ok(None);
        }
        for (side, (id, mode)) in
            sides.iter_mut().zip([(&change.old_id, change.old_mode), (&change.new_id, change.new_mode)])
        {
            if has_contents(mode) {
                *side = objects.contents(Limits::default().bytes as u64).await?;
            } else if mode.is_submodule() {
                // As `git diff` shows it.
                *side = Some(format!("Subproject commit {id}\n").into());
            }
        }
        let [old, new] = sides;
        Ok(old.zip(new))
    }
}

/// Comparison of one file, under way.
#[derive(Debug)]
pub(super) struct Comparison {
    number: u32,
    known: Option<Compared>,
    detail: Detail,
    context: u32,
    file_bytes: Option<u64>,
    state: State,
}

#[derive(Debug)]
enum State {
    Read(Both),
    Going(Box<Pieces>),
}

impl Comparison {
    pub(super) fn new(wanted: Wanted, contents: Both, wish: &Wish) -> Self {
        let Wish { detail, context, file_bytes, .. } = *wish;
        Self {
            number: wanted.file.number,
            known: wanted.known,
            detail,
            context,
            file_bytes,
            state: State::Read(contents),
        }
    }

    /// The next piece, and the comparison if something is left of it. Takes its time.
    pub(super) fn piece(mut self) -> (Option<Self>, Piece) {
        let mut pieces = match std::mem::replace(&mut self.state, State::Read(None)) {
            State::Going(pieces) => pieces,
            State::Read(contents) => match self.compare(contents) {
                Ok(pieces) => Box::new(pieces),
                Err(end) => return (None, Piece { file: self.number, hunks: vec![], end: Some(end) }),
            },
        };
        let (hunks, end) = pieces.next();
        let piece = Piece { file: self.number, hunks, end };
        if end.is_some() {
            return (None, piece);
        }
        self.state = State::Going(pieces);
        (Some(self), piece)
    }

    /// Compares the contents; Err: there are no lines to show, and why.
    fn compare(&self, contents: Both) -> Result<Pieces, FileEnd> {
        let end = |contents| FileEnd { contents, added: 0, removed: 0, cut: false, not_utf8: false };
        let (old, new) = match (self.known, contents) {
            (Some(known), _) => return Err(end(known)),
            (None, None) => return Err(end(Compared::Missing)),
            (None, Some(both)) => both,
        };
        let text = match diff(old, new, Limits::default()) {
            Contents::Same => return Err(end(Compared::Same)),
            Contents::Binary => return Err(end(Compared::Binary)),
            Contents::TooLarge => return Err(end(Compared::TooLarge)),
            Contents::Text(text) => text,
        };
        let (added, removed) = (text.added, text.removed);
        let hunks = text.hunks(self.context);
        let (old, new) = hunks.texts();
        let not_utf8 = [old, new].into_iter().any(|text| std::str::from_utf8(text).is_err());
        let end = FileEnd { added, removed, not_utf8, ..end(Compared::Text) };
        if self.detail == Detail::Counts { Err(end) } else { Ok(Pieces::new(hunks, end, self.file_bytes)) }
    }
}
