-- The log of order updates, made as that of the intents is (log, events, event_bodies, spans).
CREATE TABLE update_log (
    id BLOB NOT NULL
) STRICT;
INSERT INTO update_log VALUES (randomblob(16));

-- The last row always stays. The account is here too, so that a renamed one needs no index over all deliveries.
CREATE TABLE updates (
    seq      INTEGER PRIMARY KEY,
    received INTEGER NOT NULL,
    account  INTEGER NOT NULL,
    message  BLOB NOT NULL
) STRICT;

CREATE TABLE update_bodies (
    seq  INTEGER PRIMARY KEY,
    body BLOB NOT NULL
) STRICT;

CREATE TABLE update_spans (
    span     INTEGER PRIMARY KEY,
    earliest INTEGER NOT NULL
) STRICT;

-- Of an order update: its position.
ALTER TABLE deliveries ADD COLUMN update_seq INTEGER;
-- Updates up to this position were stored when the account had another name.
ALTER TABLE accounts ADD COLUMN updates_renamed_at INTEGER NOT NULL DEFAULT 0;

-- What was kept apart from the log of intents goes into this one, in the order in which it came.
INSERT INTO updates
    SELECT row_number() OVER (ORDER BY o.id), o.received, o.account,
           order_update(coalesce(a.name, ''), o.received, o.event_type, o.body)
    FROM others o LEFT JOIN accounts a ON a.id = o.account;
INSERT INTO update_bodies SELECT row_number() OVER (ORDER BY id), body FROM others;
INSERT INTO update_spans SELECT seq / 1024, min(received) FROM updates GROUP BY seq / 1024;
UPDATE deliveries SET update_seq = moved.seq
    FROM (SELECT id, row_number() OVER (ORDER BY id) AS seq FROM others) AS moved
    WHERE deliveries.id = moved.id;
DROP TABLE others;
