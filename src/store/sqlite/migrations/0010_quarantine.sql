-- An event is known by its id and its kind: src/store/keys.rs. Deliveries up to this id have the key of the event id alone.
INSERT INTO numbers SELECT 'old_keys', coalesce(max(id), 0) FROM deliveries;

-- Of a conflict (1): the identity of the event, which another body had before.
ALTER TABLE quarantine ADD COLUMN conflict INTEGER NOT NULL DEFAULT 0;
ALTER TABLE quarantine ADD COLUMN event_id TEXT NOT NULL DEFAULT '';
ALTER TABLE quarantine ADD COLUMN event_type TEXT NOT NULL DEFAULT '';
ALTER TABLE quarantine ADD COLUMN sub_event_type TEXT NOT NULL DEFAULT '';
CREATE INDEX quarantine_by_body ON quarantine (account, body_hash);

-- Conflicts were kept where no call showed them. Their ids are those of deliveries from now on.
INSERT OR IGNORE INTO deliveries (account, received, key, body)
    SELECT d.account, c.received, body_key(c.body), c.body_hash
    FROM conflicts c JOIN deliveries d ON d.id = c.delivery ORDER BY c.id;
INSERT OR IGNORE INTO quarantine (id, received, account, reason, body_hash, body, conflict)
    SELECT k.id, c.received, k.account, 'another body came before with the same event id', sha256(c.body), c.body, 1
    FROM conflicts c
    JOIN deliveries d ON d.id = c.delivery
    JOIN deliveries k ON k.account = d.account AND k.key = body_key(c.body)
    ORDER BY c.id;
DROP TABLE conflicts;

-- Intents have a key.
UPDATE events SET message = with_intent_key(events.message, a.seller)
    FROM deliveries d JOIN accounts a ON a.id = d.account
    WHERE d.seq = events.seq;
