-- Entries that succeeded, by their accounts. Those with ids from `counted` on are not here yet: they are few, and are found
-- by their ids. Written for many entries at once, so that the end of a call writes no index.
CREATE TABLE succeeded (
    account INTEGER NOT NULL,
    entry   INTEGER NOT NULL,
    PRIMARY KEY (account, entry)
) STRICT, WITHOUT ROWID;
INSERT INTO succeeded
    SELECT account, id FROM entries
    WHERE state = 4 AND id < (SELECT value FROM numbers WHERE name = 'counted')
    ORDER BY account, id;
DROP INDEX entries_succeeded;
