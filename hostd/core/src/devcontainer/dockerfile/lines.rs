//! A Dockerfile's lines, with those that go on in the next one put together.

/// An instruction, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Number of the line that it begins on, from 1.
    pub(super) number: usize,
    pub(super) text: String,
}

/// The instructions of a text; an error has the line's number.
pub(super) fn logical(text: &str) -> Result<Vec<Line>, (usize, String)> {
    let (mut all, mut open): (Vec<Line>, Option<Line>) = (vec![], None);
    let mut is_top = true;
    for (number, line) in (1..).zip(text.lines()) {
        let trimmed = line.trim();
        if let Some(comment) = trimmed.strip_prefix('#') {
            let directive = comment.trim().to_ascii_lowercase().replace(' ', "");
            if is_top && directive.starts_with("escape=") && directive != "escape=\\" {
                return Err((number, "it changes what goes on in the next line".into()));
            }
            continue;
        }
        if trimmed.is_empty() {
            continue;
        }
        is_top = false;
        // In a line that goes on, what stands before its first word is apart from what was before.
        let text = if open.is_some() { line.trim_end() } else { trimmed };
        let mut now = open.take().unwrap_or(Line { number, text: String::new() });
        match text.strip_suffix('\\') {
            Some(rest) => {
                now.text.push_str(rest);
                open = Some(now);
            }
            None => {
                now.text.push_str(text);
                all.push(now);
            }
        }
    }
    all.extend(open);
    Ok(all)
}
