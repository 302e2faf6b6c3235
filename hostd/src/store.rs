//! SQLite: sessions and the outbox of effects.
