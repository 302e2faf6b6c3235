-- What models' answers took: a row for each session, day (UTC) and model. Outlives its session.
CREATE TABLE usage (
    session TEXT NOT NULL,
    day TEXT NOT NULL,
    model TEXT NOT NULL,
    environment TEXT NOT NULL,
    person TEXT NOT NULL,
    answers INTEGER NOT NULL,
    input INTEGER NOT NULL,
    cache_read INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    output INTEGER NOT NULL,
    micros INTEGER NOT NULL, -- millionths of a US dollar
    unpriced INTEGER NOT NULL, -- tokens of models that no table knows
    PRIMARY KEY (session, day, model)
) STRICT, WITHOUT ROWID;
