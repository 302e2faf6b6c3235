//! Where a binding holds: what the console shows, as named conditions, and expressions over them.

use std::fmt;

macro_rules! conditions {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// A condition of the console that bindings can name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Condition { $($(#[doc = $doc])+ $variant,)+ }

        impl Condition {
            /// Every condition that bindings can name.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Name of the condition in keymaps.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

conditions! {
    /// The condition holds wherever one is.
    Always = "always",
    /// One of the lists has the keyboard, no dialog and no terminal.
    List = "list",
    /// The list of sessions has the keyboard.
    Sessions = "sessions",
    /// The queue of pull requests has the keyboard.
    Review = "review",
    /// The list of hosts has the keyboard.
    Hosts = "hosts",
    /// The list of environments has the keyboard.
    Environments = "environments",
    /// The list of crashed sessions has the keyboard.
    Crashes = "crashes",
    /// The selected session offers answers.
    Choices = "choices",
    /// The selected session needs a permission that keys answer.
    Permission = "permission",
    /// A filter is set.
    Filtered = "filtered",
    /// The filter is being typed.
    Filter = "filter",
    /// A session's terminal has the whole window and gets the keys.
    Attached = "attached",
    /// The attached terminal shows its history.
    Scroll = "scroll",
    /// The attached program has taken the alternate screen, which has no history.
    Alternate = "alternate",
    /// This console is the attached session's writer.
    Writer = "writer",
    /// A session's log has the whole window.
    Log = "log",
    /// The changes of a session or a pull request have the whole window.
    Diff = "diff",
    /// The form for a new session is open.
    Form = "form",
    /// The line for a message is open.
    Message = "message",
    /// The keys that are pressed go to an agent.
    Keys = "keys",
    /// A question is open.
    Question = "question",
    /// The palette is open.
    Palette = "palette",
    /// The help is open.
    Help = "help",
    /// A text field has the keyboard.
    Text = "text",
    /// The text field takes several lines.
    Lines = "lines",
}

/// A set of conditions that hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conditions(u32);

impl Conditions {
    /// Adds this condition.
    #[must_use]
    pub fn with(self, condition: Condition) -> Self {
        Self(self.0 | 1 << condition as u8)
    }

    /// Adds this condition, if `holds`.
    #[must_use]
    pub fn with_if(self, condition: Condition, holds: bool) -> Self {
        if holds { self.with(condition) } else { self }
    }

    /// Whether this condition holds.
    #[must_use]
    pub fn has(self, condition: Condition) -> bool {
        self.0 & 1 << condition as u8 != 0
    }
}

/// An expression over conditions: names joined with `&`, alternatives with `|`, negated with `!`. `&` binds closer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct When {
    /// Alternatives, of which one holds when all of its terms do: a condition, and whether it is wanted.
    alternatives: Vec<Vec<(Condition, bool)>>,
    text: String,
}

impl When {
    /// Parses an expression.
    ///
    /// # Errors
    /// The word that is no condition, with those that are.
    pub fn parse(text: &str) -> Result<Self, String> {
        let alternatives = text.split('|').map(|all| all.split('&').map(term).collect()).collect::<Result<_, _>>()?;
        Ok(Self { alternatives, text: text.trim().to_owned() })
    }

    /// Whether the expression holds where these conditions do.
    #[must_use]
    pub fn holds(&self, now: Conditions) -> bool {
        self.alternatives.iter().any(|all| all.iter().all(|&(condition, wanted)| now.has(condition) == wanted))
    }
}

impl When {
    /// A smallest set of conditions in which the expression holds.
    #[must_use]
    pub fn example(&self) -> Conditions {
        let wanted = self.alternatives.iter().take(1).flatten().filter(|(_, wanted)| *wanted);
        wanted.fold(Conditions::default().with(Condition::Always), |now, (condition, _)| now.with(*condition))
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn term(text: &str) -> Result<(Condition, bool), String> {
    let word = text.trim();
    let (word, wanted) = word.strip_prefix('!').map_or((word, true), |rest| (rest.trim(), false));
    match Condition::ALL.iter().find(|c| c.name() == word) {
        Some(condition) => Ok((*condition, wanted)),
        None => {
            let names: Vec<_> = Condition::ALL.iter().map(|c| c.name()).collect();
            Err(format!("'{word}' is no condition; there are: {}", names.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_hold_when_they_say() {
        let now = Conditions::default().with(Condition::List).with(Condition::Sessions);
        for (text, holds) in [
            ("list", true),
            ("sessions & !choices", true),
            ("choices", false),
            ("hosts | sessions", true),
            ("! list", false),
        ] {
            assert_eq!(When::parse(text).unwrap().holds(now), holds, "{text}");
        }
        assert!(When::parse("list & nowhere").unwrap_err().contains("'nowhere'"));
        assert!(When::parse("").is_err());
    }
}
