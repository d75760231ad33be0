-- What deliveries are known again by finds them here: src/store/sqlite/lookup.rs. The hashes are of their keys (src/store/keys.rs).
-- Deliveries with ids from `delivery_keyed` on may not be here yet.
CREATE TABLE delivery_keys (
    hash     INTEGER NOT NULL,
    delivery INTEGER NOT NULL,
    PRIMARY KEY (hash, delivery)
) STRICT, WITHOUT ROWID;
INSERT INTO delivery_keys SELECT delivery_hash(key) AS hash, id FROM deliveries ORDER BY hash, id;
INSERT INTO numbers SELECT 'delivery_keyed', coalesce(max(id), 0) + 1 FROM deliveries;
DROP INDEX deliveries_by_key;
