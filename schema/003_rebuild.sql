-- Shards of which rows are being made anew from their conversations, because the logs were trimmed before they were
-- applied. Up to which conversation that is done, in the same transaction.
CREATE TABLE rebuild (
    shard INTEGER PRIMARY KEY,
    what  INTEGER NOT NULL,               -- bits: 1 chats, groups and their members; 2 what is owed
    conv  BLOB                            -- all up to it are done; NULL: none is
) STRICT;
