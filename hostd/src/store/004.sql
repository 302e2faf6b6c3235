-- What happened to sessions, in order: hostd_core::story::Event, its actor as JSON. Outlives its session.
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session TEXT NOT NULL,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    what TEXT NOT NULL,
    text TEXT NOT NULL
) STRICT;
CREATE INDEX events_of_session ON events (session, id);
