-- The tables are views of the logs, for look-ups and lists; no right is ever decided by them.
-- Users and devices are fed by the directory's log, conversations by the logs of their shards: between rows of different
-- logs there are no foreign keys, for either log may be applied further than the other. Ids are never given twice.
-- Ids of users and devices are 64 random bits, kept as SQLite's signed integers; times are ms since 1970.

-- How far each log was applied, in the same transaction as what was applied.
CREATE TABLE positions (
    log_id  INTEGER PRIMARY KEY,
    applied INTEGER NOT NULL
) STRICT;

CREATE TABLE users (
    user_id       INTEGER PRIMARY KEY,
    username      TEXT NOT NULL UNIQUE,   -- folded
    phone         TEXT,
    name          TEXT,
    status        TEXT,
    picture       TEXT,
    last_seen     TEXT NOT NULL DEFAULT 'everyone' CHECK (last_seen IN ('everyone', 'contacts', 'nobody')),
    read_receipts INTEGER NOT NULL DEFAULT 1 CHECK (read_receipts IN (0, 1)),
    password      TEXT,                   -- argon2id, encoded; NULL: no login by password
    created       INTEGER NOT NULL
) STRICT;

CREATE TABLE devices (
    user_id    INTEGER NOT NULL REFERENCES users,
    device_id  INTEGER NOT NULL,
    token_hash BLOB NOT NULL UNIQUE,      -- keyed; the token itself is nowhere
    created    INTEGER NOT NULL,
    PRIMARY KEY (user_id, device_id)
) STRICT, WITHOUT ROWID;

-- One-to-one conversations, there from their first message. In a chat of one, a = b.
CREATE TABLE chats (
    conv    BLOB PRIMARY KEY,
    a       INTEGER NOT NULL,
    b       INTEGER NOT NULL,
    created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX chats_of_a ON chats (a);
CREATE INDEX chats_of_b ON chats (b);

CREATE TABLE groups (
    conv        BLOB PRIMARY KEY,
    seq         INTEGER NOT NULL,         -- of the last entry that is in this row and its members
    title       TEXT NOT NULL,
    description TEXT,
    picture     TEXT,
    announce    INTEGER NOT NULL CHECK (announce IN (0, 1)),
    locked      INTEGER NOT NULL CHECK (locked IN (0, 1)),
    history_all INTEGER NOT NULL CHECK (history_all IN (0, 1)),
    creator     INTEGER NOT NULL,
    created     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Everybody who is or was in a group: who left keeps what they saw, so their row stays.
CREATE TABLE group_members (
    conv       BLOB NOT NULL REFERENCES groups,
    user_id    INTEGER NOT NULL,
    role       INTEGER NOT NULL CHECK (role IN (0, 1, 2)),  -- member, admin, owner
    joined_seq INTEGER NOT NULL,          -- of the entry that (last) added them
    joined_at  INTEGER NOT NULL,
    left_seq   INTEGER,                   -- of the entry that removed them; NULL: they are in
    PRIMARY KEY (conv, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX group_members_of ON group_members (user_id);

CREATE TABLE contacts (
    user_id INTEGER NOT NULL,
    other   INTEGER NOT NULL,
    since   INTEGER NOT NULL,
    PRIMARY KEY (user_id, other)
) STRICT, WITHOUT ROWID;

CREATE TABLE blocks (
    user_id INTEGER NOT NULL,
    other   INTEGER NOT NULL,
    since   INTEGER NOT NULL,
    PRIMARY KEY (user_id, other)
) STRICT, WITHOUT ROWID;

-- What members who were offline are owed: one row for a user and conversation, however many messages.
CREATE TABLE owed (
    user_id   INTEGER NOT NULL,
    conv      BLOB NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq  INTEGER NOT NULL,
    count     INTEGER NOT NULL,
    since     INTEGER NOT NULL,
    PRIMARY KEY (user_id, conv)
) STRICT, WITHOUT ROWID;

-- How far each log was worked through for what is owed, in the same transaction.
CREATE TABLE owed_positions (
    log_id INTEGER PRIMARY KEY,
    pos    INTEGER NOT NULL
) STRICT;
