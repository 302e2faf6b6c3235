-- What repositories of the local forge ask of their pull requests; a repository without a row has the defaults.
CREATE TABLE repositories (
    name    TEXT PRIMARY KEY,
    rules   TEXT,                       -- hostd_core::pulls::Rules as JSON
    numbers INTEGER NOT NULL DEFAULT 0  -- the last number of a pull request
) STRICT;

CREATE TABLE pulls (
    repository  TEXT NOT NULL,
    number      INTEGER NOT NULL,
    session     TEXT NOT NULL,    -- its author's id; outlives the session
    head_branch TEXT NOT NULL,
    open        INTEGER NOT NULL, -- 0 or 1
    state       TEXT NOT NULL,    -- hostd_core::pulls::PullRequest as JSON
    pushes      INTEGER NOT NULL, -- entries of the head branch's reflog that are in its revisions
    PRIMARY KEY (repository, number)
) STRICT;

CREATE UNIQUE INDEX pulls_open ON pulls (repository, head_branch) WHERE open = 1;
CREATE INDEX pulls_session ON pulls (session);

CREATE TABLE checks (
    repository TEXT NOT NULL,
    "commit"   TEXT NOT NULL,
    name       TEXT NOT NULL,
    state      TEXT NOT NULL,    -- hostd_core::checks::Check as JSON
    PRIMARY KEY (repository, "commit", name)
) STRICT;
