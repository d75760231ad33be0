-- What callers chose finds its entries here: src/store/sqlite/lookup.rs. The hashes are those of number_key, of request_key (by
-- kind) and of content_key. Entries with ids from `keyed` on may not be here yet.
CREATE TABLE keys (
    hash  INTEGER NOT NULL,
    entry INTEGER NOT NULL,
    PRIMARY KEY (hash, entry)
) STRICT, WITHOUT ROWID;
INSERT INTO numbers SELECT 'keyed', value FROM numbers WHERE name = 'next_entry';

DROP INDEX entries_by_number;
DROP INDEX entries_by_request;
DROP INDEX entries_by_content;

-- From now on their ids are those of the entries; what is there has others.
ALTER TABLE trimmed RENAME TO trimmed_before;
CREATE TABLE trimmed (
    id           INTEGER PRIMARY KEY,
    account      INTEGER NOT NULL,
    number_key   BLOB NOT NULL,
    order_number TEXT NOT NULL,
    fingerprint  BLOB NOT NULL,
    answer       BLOB NOT NULL
) STRICT;
INSERT INTO trimmed SELECT -id, account, number_key, order_number, fingerprint, answer FROM trimmed_before;
DROP TABLE trimmed_before;

INSERT INTO keys SELECT * FROM (
    SELECT key_hash(0, account, number_key) AS hash, id FROM entries WHERE number_key IS NOT NULL
    UNION ALL SELECT key_hash(0, account, number_key), id FROM trimmed
    UNION ALL SELECT key_hash(1 + kind, account, request_key), id FROM entries WHERE request_key IS NOT NULL
    UNION ALL SELECT key_hash(3, account, content_key), id FROM entries WHERE content_key IS NOT NULL
) ORDER BY hash, id;
