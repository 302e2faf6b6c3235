//! Which keys mean which command, and where: layers of bindings, each with a condition, as chord tries.

mod file;

use std::collections::BTreeMap;

use crate::{
    Command,
    key::{Code, Key},
    when::{Conditions, When},
};

const ENTER: Key = Key { code: Code::Enter, ctrl: false, alt: false, shift: false };

/// Bindings of keys to commands. Later layers go before earlier ones; a user's file is laid over the default.
#[derive(Clone, Debug, Default)]
pub struct Keymap {
    layers: Vec<Layer>,
}

#[derive(Clone, Debug)]
struct Layer {
    when: When,
    root: BTreeMap<Key, Node>,
}

#[derive(Clone, Debug)]
enum Node {
    /// The key begins a chord; these keys may follow.
    More(BTreeMap<Key, Node>),
    /// The key runs a command.
    Run(Command),
    /// The key is unbound on purpose, which hides what earlier layers bind.
    Nothing,
}

/// A binding of keys to a command, for the help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding<'a> {
    /// Where the binding holds.
    pub when: &'a When,
    /// Keys of the chord, one after the other.
    pub keys: Vec<Key>,
    /// Command that the keys run.
    pub command: Command,
}

/// Meaning of the keys that were pressed so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The keys run this command.
    Run(Command),
    /// The keys begin a chord.
    More,
    /// The keys mean nothing.
    Nothing,
}

impl Keymap {
    /// Meaning of these keys where these conditions hold.
    #[must_use]
    pub fn meaning(&self, keys: &[Key], now: Conditions) -> Meaning {
        let active = self.layers.iter().rev().filter(|layer| layer.when.holds(now));
        for layer in active {
            match find(&layer.root, keys) {
                Some(Node::Run(command)) => return Meaning::Run(*command),
                Some(Node::More(_)) => return Meaning::More,
                Some(Node::Nothing) => return Meaning::Nothing,
                None => {}
            }
        }
        Meaning::Nothing
    }

    /// Every binding, in the order of the files.
    #[must_use]
    pub fn bindings(&self) -> Vec<Binding<'_>> {
        let mut all = Vec::new();
        for layer in &self.layers {
            collect(&layer.root, &mut Vec::new(), &mut |keys, command| {
                all.push(Binding { when: &layer.when, keys: keys.to_vec(), command });
            });
        }
        all
    }

    /// The chord that means this command where these conditions hold, as people are told: Enter where it does, which is the first
    /// to be tried, else the shortest as written.
    #[must_use]
    pub fn keys_for(&self, command: Command, now: Conditions) -> Option<Vec<Key>> {
        self.bindings()
            .into_iter()
            .filter(|b| b.command == command && self.meaning(&b.keys, now) == Meaning::Run(command))
            .map(|b| b.keys)
            .min_by_key(|keys| (keys[..] != [ENTER], crate::key::chord(keys).len()))
    }
}

fn find<'a>(mut nodes: &'a BTreeMap<Key, Node>, keys: &[Key]) -> Option<&'a Node> {
    let (last, first) = keys.split_last()?;
    for key in first {
        match nodes.get(key)? {
            Node::More(more) => nodes = more,
            _ => return None,
        }
    }
    nodes.get(last)
}

fn collect(nodes: &BTreeMap<Key, Node>, keys: &mut Vec<Key>, take: &mut impl FnMut(&[Key], Command)) {
    for (key, node) in nodes {
        keys.push(*key);
        match node {
            Node::More(more) => collect(more, keys, take),
            Node::Run(command) => take(keys, *command),
            Node::Nothing => {}
        }
        keys.pop();
    }
}
