-- Lines of purchase orders of which an intent was stored, so that a scan of the orders does not find them again as new, also after
-- their events were trimmed. Kept as long as deliveries. Keys: src/store/keys.rs.
CREATE TABLE intent_lines (
    id       INTEGER PRIMARY KEY,
    account  INTEGER NOT NULL,
    received INTEGER NOT NULL,
    key      BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX intent_lines_by_key ON intent_lines (account, key);

-- Those of deliveries with ids up to this one are there.
INSERT INTO numbers SELECT 'intent_lines_noted', coalesce(min(id), 1) - 1 FROM deliveries;
