-- Numbers in subscription_rows.state, cause and said: src/store/sqlite/feed/rows.rs. Times are milliseconds since 1970.

-- Which log this is, for good: one row.
CREATE TABLE log (
    id BLOB NOT NULL
) STRICT;
INSERT INTO log VALUES (randomblob(16));

-- What others are known again by, in the order in which they came. Only the keys are scattered over their index, so its
-- rows are small. The last row always stays, so that no id is used twice.
CREATE TABLE deliveries (
    id       INTEGER PRIMARY KEY,
    account  INTEGER NOT NULL,
    received INTEGER NOT NULL,
    -- Of an intent: its position.
    seq      INTEGER,
    -- Of the event id or the body: src/store/keys.rs.
    key      BLOB NOT NULL,
    -- Half the SHA-256 of the body.
    body     BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX deliveries_by_key ON deliveries (account, key);

-- The log. The last row always stays: it tells which position is next.
CREATE TABLE events (
    seq      INTEGER PRIMARY KEY,
    received INTEGER NOT NULL,
    message  BLOB NOT NULL
) STRICT;

-- Apart from the events, which are read far more often.
CREATE TABLE event_bodies (
    seq  INTEGER PRIMARY KEY,
    body BLOB NOT NULL
) STRICT;

-- When the earliest came of each 1024 positions (span 0: 0 to 1023). Finds a time also where the clock went back.
CREATE TABLE spans (
    span     INTEGER PRIMARY KEY,
    earliest INTEGER NOT NULL
) STRICT;

-- Deliveries of other types; ids are those of deliveries.
CREATE TABLE others (
    id         INTEGER PRIMARY KEY,
    received   INTEGER NOT NULL,
    account    INTEGER NOT NULL,
    event_type TEXT NOT NULL,
    body       BLOB NOT NULL
) STRICT;

-- Unreadable deliveries; ids are those of deliveries.
CREATE TABLE quarantine (
    id        INTEGER PRIMARY KEY,
    received  INTEGER NOT NULL,
    account   INTEGER NOT NULL,
    reason    TEXT NOT NULL,
    body_hash BLOB NOT NULL,
    body      BLOB NOT NULL
) STRICT;
CREATE INDEX quarantine_by_account ON quarantine (account);

-- Other bodies that came with the id of a delivery, each once.
CREATE TABLE conflicts (
    id        INTEGER PRIMARY KEY,
    received  INTEGER NOT NULL,
    delivery  INTEGER NOT NULL,
    body_hash BLOB NOT NULL,
    body      BLOB NOT NULL,
    UNIQUE (delivery, body_hash)
) STRICT;

-- Ids below the next subscription's are used; none is used twice.
INSERT INTO numbers VALUES ('next_subscription', 1);

CREATE TABLE subscriptions (
    id         INTEGER PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    version    INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    floor      INTEGER NOT NULL,
    scanned    INTEGER NOT NULL,
    created    INTEGER NOT NULL,
    updated    INTEGER NOT NULL,
    config     BLOB NOT NULL
) STRICT;

CREATE TABLE subscription_rows (
    subscription INTEGER NOT NULL,
    seq          INTEGER NOT NULL,
    state        INTEGER NOT NULL,
    cause        INTEGER,
    -- End of a loan or a pause; when it was parked.
    time         INTEGER,
    -- The consumer that has it; why it was parked.
    words        TEXT,
    attempt      INTEGER NOT NULL,
    failures     INTEGER NOT NULL,
    redriven     INTEGER NOT NULL,
    said         INTEGER,
    received     INTEGER NOT NULL,
    size         INTEGER NOT NULL,
    key          TEXT NOT NULL,
    PRIMARY KEY (subscription, seq)
) STRICT, WITHOUT ROWID;
