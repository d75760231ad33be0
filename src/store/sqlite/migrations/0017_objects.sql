-- Entries about an object: an order, a return, a kind of event. Not of creations (kind 0), which are found by their number.
CREATE INDEX entries_by_object ON entries (account, order_number, kind) WHERE kind <> 0;
