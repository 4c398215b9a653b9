-- Records that a view could not take: kept whole, in the same transaction that passes them over. In the order of their
-- ids the letters with one subject are what is missing of it.
CREATE TABLE letters (
    id       INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice
    log_id   INTEGER NOT NULL,
    pos      INTEGER NOT NULL,
    kind     INTEGER NOT NULL,
    shard    INTEGER NOT NULL,
    subject  BLOB NOT NULL,               -- the conversation or user that it is about; empty: it cannot be told
    kept     INTEGER NOT NULL,            -- when
    attempts INTEGER NOT NULL,            -- 0: none; it came behind another one of its subject
    why      TEXT NOT NULL,
    sum      INTEGER NOT NULL,            -- of the body, seeded with log and position
    body     BLOB NOT NULL,
    UNIQUE (log_id, pos)
) STRICT;
CREATE INDEX letters_of ON letters (subject, id);
