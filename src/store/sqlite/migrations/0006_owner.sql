-- Which process owns the database: raised by each that opens it.
INSERT INTO numbers VALUES ('epoch', 0);

-- Of an account of the settings: its seller (partner_id), by which everything is kept. `name` is the id that the account has
-- now, or had last. NULL: a file of an earlier version whose account no settings had since.
ALTER TABLE accounts ADD COLUMN seller TEXT;
CREATE UNIQUE INDEX accounts_by_seller ON accounts (seller);
-- Events up to this position were stored when it had another name.
ALTER TABLE accounts ADD COLUMN renamed_at INTEGER NOT NULL DEFAULT 0;

-- What the store is tried with: a row of the size of an entry.
CREATE TABLE probe (
    id     INTEGER PRIMARY KEY,
    filler BLOB NOT NULL
) STRICT;

-- Of those that succeeded, which are in no other index. Written when a call ends, at the end of the index.
CREATE INDEX entries_succeeded ON entries (account) WHERE state = 4;

-- When the earliest was made of each 1024 ids (span 0: 0 to 1023). Finds a time also where the clock went back.
CREATE TABLE entry_spans (
    span     INTEGER PRIMARY KEY,
    earliest INTEGER NOT NULL
) STRICT;
INSERT INTO entry_spans SELECT id / 1024, min(created) FROM entries GROUP BY id / 1024;
