CREATE TABLE sessions (
    id      TEXT PRIMARY KEY,
    slug    TEXT NOT NULL UNIQUE,
    state   TEXT NOT NULL, -- hostd_core::Session as JSON
    machine TEXT NOT NULL  -- store::Machine as JSON
) STRICT;

-- Effects that are committed and not yet carried out.
CREATE TABLE outbox (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    session TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    effect  TEXT NOT NULL  -- hostd_core::Effect as JSON
) STRICT;

CREATE INDEX outbox_session ON outbox (session);
