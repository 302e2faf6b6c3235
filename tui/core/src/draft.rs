//! Reviews that are being written: kept on disk by the runtime, carried from revision to revision, sent with a verdict.

use serde::{Deserialize, Serialize};

use crate::text;

/// Most comments of one draft: a host takes no more.
const COMMENTS_MAX: usize = 500;
/// Longest text, in bytes: a host takes no more.
const TEXT_MAX: usize = 16 << 10;
/// Longest path and quoted line, in bytes.
const PLACE_MAX: usize = 4096;

/// What a comment is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// A line of a file, in the head commit of a revision.
    Line {
        /// Path of the file in the repository.
        path: String,
        /// Number of the line, from 1.
        line: u32,
        /// Id of the commit.
        head: String,
        /// Text of the line.
        quote: String,
    },
    /// The thread of this id, in which the comment is a reply.
    Thread(u64),
}

impl Place {
    /// Whether it is the same line or thread; the line's text is only told with it.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.key() == other.key()
    }

    fn key(&self) -> (u64, &str, u32, &str) {
        match self {
            Self::Line { path, line, head, .. } => (0, path, *line, head),
            Self::Thread(id) => (*id, "", 0, ""),
        }
    }

    /// Id of the commit whose line it is; None for a thread.
    #[must_use]
    pub fn head(&self) -> Option<&str> {
        match self {
            Self::Line { head, .. } => Some(head),
            Self::Thread(_) => None,
        }
    }

    /// Name of the place for people.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Line { path, line, .. } => format!("{}:{line}", text::one_line(path, 1024)),
            Self::Thread(id) => format!("thread {id}"),
        }
    }
}

/// A comment that was not sent yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comment {
    /// Line or thread that the comment is about.
    pub place: Place,
    /// Text of the comment.
    pub body: String,
    /// Whether the comment was put away while it was being written: no verdict takes it along.
    #[serde(default)]
    pub unfinished: bool,
}

/// A review that is being written: it goes with the next verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// Comments of the review, sorted by place.
    #[serde(default)]
    pub comments: Vec<Comment>,
    /// Text about the pull request as a whole; empty: none yet.
    #[serde(default)]
    pub body: String,
}

impl Draft {
    /// Whether the draft has neither comments nor a text.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.comments.is_empty() && self.body.is_empty()
    }

    /// Text that is being written about a place: what was put away while it was being written goes before what was finished.
    #[must_use]
    pub fn at(&self, place: &Place) -> Option<&str> {
        let here = || self.comments.iter().filter(|it| it.place.is(place));
        here().find(|it| it.unfinished).or_else(|| here().next()).map(|it| &*it.body)
    }

    /// Comments that a verdict takes along.
    #[must_use]
    pub fn finished(&self) -> Vec<Comment> {
        self.comments.iter().filter(|it| !it.unfinished).cloned().collect()
    }

    /// Sets the finished comment on a place instead of the one before; none where the text is empty. False: there is no room.
    pub fn finish(&mut self, place: Place, body: &str) -> bool {
        self.comments.retain(|it| !it.place.is(&place));
        self.add(place, body, false)
    }

    /// Keeps the text that is being written about a place, beside the finished comment. False: there is no room.
    pub fn put_away(&mut self, place: Place, body: &str) -> bool {
        self.comments.retain(|it| !(it.unfinished && it.place.is(&place)));
        let said = self.comments.iter().any(|it| it.place.is(&place) && it.body == body);
        said || self.add(place, body, true)
    }

    fn add(&mut self, place: Place, body: &str, unfinished: bool) -> bool {
        let body = text::many_lines(body, TEXT_MAX);
        if body.is_empty() || self.comments.len() >= COMMENTS_MAX {
            return body.is_empty();
        }
        self.comments.push(Comment { place, body, unfinished });
        self.comments.sort_by(|a, b| a.place.cmp(&b.place));
        true
    }

    /// What is to be kept where another console has kept `theirs` since this one kept `before`: what this one has changed, on
    /// top of theirs. None: there is no room for both.
    #[must_use]
    pub fn on_top_of(&self, before: &Self, theirs: &Self) -> Option<Self> {
        let changed = |it: &&Comment| !before.comments.contains(it);
        let kept = theirs.comments.iter().filter(|it| !before.comments.contains(it) || self.comments.contains(it));
        let mut comments: Vec<Comment> = kept.cloned().collect();
        for comment in self.comments.iter().filter(changed) {
            if !comments.contains(comment) {
                comments.push(comment.clone());
            }
        }
        comments.sort_by(|a, b| a.place.cmp(&b.place));
        let body = body_on_top_of(&self.body, &before.body, &theirs.body);
        (comments.len() <= COMMENTS_MAX && body.len() <= TEXT_MAX).then_some(Self { comments, body })
    }

    /// Returns the draft within its bounds, and without anything that could hurt a terminal or a layout: a file may have been
    /// changed by others.
    #[must_use]
    pub fn cleaned(mut self) -> Self {
        self.comments.truncate(COMMENTS_MAX);
        self.body = text::many_lines(&self.body, TEXT_MAX);
        for comment in &mut self.comments {
            comment.body = text::many_lines(&comment.body, TEXT_MAX);
            if let Place::Line { path, head, quote, .. } = &mut comment.place {
                let end = (0..=PLACE_MAX).rev().find(|end| path.is_char_boundary(*end)).unwrap_or(0);
                path.truncate(end);
                *head = text::one_line(head, 64);
                *quote = text::many_lines(quote, PLACE_MAX).replace('\n', " ");
            }
        }
        self.comments.retain(|it| !it.body.is_empty());
        self
    }
}

/// The same of the text of a verdict: where both have changed it, both texts stand there.
fn body_on_top_of(ours: &str, before: &str, theirs: &str) -> String {
    match () {
        () if ours == before || ours == theirs => theirs.to_owned(),
        () if theirs == before => ours.to_owned(),
        // What this console has kept is a part of what is there, since an earlier time.
        () if !before.is_empty() && theirs.contains(before) => {
            let (first, last) = theirs.rsplit_once(before).unwrap_or(("", theirs));
            [first, ours, last].concat().trim_matches('\n').to_owned()
        }
        () if ours.is_empty() || theirs.contains(ours) => theirs.to_owned(),
        () if theirs.is_empty() => ours.to_owned(),
        () => format!("{theirs}\n{ours}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(line: u32) -> Place {
        Place::Line { path: "a.rs".into(), line, head: "aaaa".into(), quote: "let a;".into() }
    }

    #[test]
    fn two_consoles_lose_nothing_to_each_other() {
        let draft = |comments: &[(u32, &str)], body: &str| {
            let mut draft = Draft { body: body.into(), ..Draft::default() };
            comments.iter().for_each(|(line, text)| assert!(draft.finish(place(*line), text)));
            draft
        };
        let before = draft(&[(1, "both"), (2, "to go"), (3, "old")], "start");
        let ours = draft(&[(1, "both"), (3, "new"), (4, "ours")], "start, ours");
        let theirs = draft(&[(1, "both"), (2, "to go"), (3, "old"), (5, "theirs")], "start");
        let merged = ours.on_top_of(&before, &theirs).unwrap();
        assert_eq!(merged, draft(&[(1, "both"), (3, "new"), (4, "ours"), (5, "theirs")], "start, ours"));
        // Both have said something of one line, and in general.
        let theirs = draft(&[(3, "theirs")], "start, theirs");
        let merged = ours.on_top_of(&before, &theirs).unwrap();
        let said: Vec<_> = merged.comments.iter().map(|it| &*it.body).collect();
        assert_eq!((said, &*merged.body), (vec!["theirs", "new", "ours"], "start, ours, theirs"));
        // As this one types on, its own text changes and the other's stays; when it is sent, its own goes.
        let more = Draft { body: "start, ours and more".into(), ..ours.clone() };
        let merged = more.on_top_of(&ours, &Draft { body: "theirs\nstart, ours".into(), ..merged }).unwrap();
        assert_eq!(merged.body, "theirs\nstart, ours and more");
        let left = Draft::default().on_top_of(&more, &merged).unwrap();
        assert_eq!((&*left.body, left.comments.len()), ("theirs", 1));
        // Nobody else was there.
        assert_eq!(ours.on_top_of(&before, &before), Some(ours.clone()));
        assert_eq!(ours.on_top_of(&Draft::default(), &Draft::default()), Some(ours));
    }

    #[test]
    fn what_is_put_away_stands_beside_what_was_said() {
        let mut draft = Draft::default();
        assert!(draft.finish(place(3), "why?") && draft.put_away(place(3), "why not"));
        assert_eq!((draft.at(&place(3)), draft.finished().len()), (Some("why not"), 1));
        assert_eq!(draft.finished()[0].body, "why?");
        assert!(draft.finish(place(3), "because") && draft.put_away(place(3), "because"));
        assert_eq!(draft.comments.len(), 1, "the same again is nothing new");
        assert!(draft.put_away(Place::Thread(4), "so?") && draft.finish(place(3), ""));
        assert_eq!((draft.finished(), draft.at(&Place::Thread(4))), (vec![], Some("so?")));
        assert!(draft.put_away(Place::Thread(4), "") && draft.is_empty());
    }

    #[test]
    fn a_draft_is_bounded_and_harmless() {
        let mut draft = Draft::default();
        assert!((1..=500).all(|line| draft.finish(place(line), "x")));
        assert!(!draft.finish(place(501), "x") && draft.finish(place(7), "y"));
        let hostile = Comment { place: place(1), body: "\x1b[2J".repeat(1 << 16), unfinished: false };
        let cleaned = Draft { comments: vec![hostile; 600], body: "a\u{202e}b".into() }.cleaned();
        assert_eq!((cleaned.comments.len(), &*cleaned.body), (500, "ab"));
        assert!(cleaned.comments[0].body.len() <= TEXT_MAX && !cleaned.comments[0].body.contains('\x1b'));
    }
}
