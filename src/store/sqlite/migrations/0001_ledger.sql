-- Numbers in kind, state, effect and alerts.kind: src/store/sqlite/rows.rs. Times are milliseconds since 1970.

CREATE TABLE accounts (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

-- One row each: ids below the next entry's are used or reserved (none is used twice); entries with ids below the counted
-- one are in `counts`; and what a failing store is tried with.
CREATE TABLE numbers (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO numbers VALUES ('next_entry', 1), ('counted', 1), ('tried', 0);

-- A key is NULL, and so in no index, once the entry no longer stands against another by it. An update that leaves the
-- keys alone touches none of their indexes, whose rows are scattered over the file.
CREATE TABLE entries (
    id                 INTEGER PRIMARY KEY,
    fence              INTEGER NOT NULL,
    account            INTEGER NOT NULL,
    kind               INTEGER NOT NULL,
    state              INTEGER NOT NULL,
    effect             INTEGER NOT NULL,
    attempts           INTEGER NOT NULL,
    batch              INTEGER NOT NULL,
    batches            INTEGER NOT NULL,
    created            INTEGER NOT NULL,
    updated            INTEGER NOT NULL,
    not_after          INTEGER NOT NULL,
    next               INTEGER,
    doubt_since        INTEGER,
    doubt_last_byte    INTEGER,
    doubt_lookups      INTEGER,
    doubt_absences     INTEGER,
    doubt_last_absence INTEGER,
    -- Of the order number: a creation that holds the number. Keys: src/store/keys.rs.
    number_key         BLOB,
    -- Of the request id. Stays; `freed` is the row's own id once it is not sent, 0 before.
    request_key        BLOB,
    freed              INTEGER NOT NULL,
    -- Of order number and fingerprint: an open cancellation.
    content_key        BLOB,
    correlation_id     BLOB NOT NULL,
    fingerprint        BLOB NOT NULL,
    order_number       TEXT NOT NULL,
    request_id         TEXT,
    answer             BLOB NOT NULL,
    last_error         TEXT NOT NULL,
    resolution         TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX entries_by_number ON entries (account, number_key) WHERE number_key IS NOT NULL;
CREATE UNIQUE INDEX entries_by_request ON entries (account, kind, request_key, batch, freed) WHERE request_key IS NOT NULL;
CREATE INDEX entries_by_content ON entries (account, content_key) WHERE content_key IS NOT NULL;
-- Nearly all entries are sent at once (1) and succeed (4), so neither the begin nor the end of a call writes this index.
-- Those that are sent are found by their bodies, those that succeeded by their ids.
CREATE INDEX entries_by_state ON entries (account, state, id, created) WHERE state <> 1 AND state <> 4;

-- What only open entries have, apart from them: its pages are used again and again, and what is personal goes for good.
-- An entry that is sent always has a row here.
CREATE TABLE bodies (
    id       INTEGER PRIMARY KEY,
    body     BLOB NOT NULL,
    snapshot BLOB NOT NULL
) STRICT;

-- Of the entries with ids below `counted`. The newest are counted when somebody asks, so that few commits write this.
CREATE TABLE counts (
    account INTEGER NOT NULL,
    state   INTEGER NOT NULL,
    entries INTEGER NOT NULL,
    PRIMARY KEY (account, state)
) STRICT, WITHOUT ROWID;

-- What stays of creations that succeeded.
CREATE TABLE trimmed (
    id           INTEGER PRIMARY KEY,
    account      INTEGER NOT NULL,
    number_key   BLOB NOT NULL,
    order_number TEXT NOT NULL,
    fingerprint  BLOB NOT NULL,
    answer       BLOB NOT NULL,
    UNIQUE (account, number_key)
) STRICT;

CREATE TABLE audits (
    time  INTEGER NOT NULL,
    entry INTEGER NOT NULL,
    PRIMARY KEY (time, entry)
) STRICT, WITHOUT ROWID;

CREATE TABLE alerts (
    entry INTEGER NOT NULL,
    kind  INTEGER NOT NULL,
    time  INTEGER NOT NULL,
    PRIMARY KEY (entry, kind)
) STRICT, WITHOUT ROWID;
