-- What the last look-up told: src/store/sqlite/marks.rs.
ALTER TABLE entries ADD COLUMN evidence BLOB;
-- The steady times of an open entry: src/store/sqlite/marks.rs. NULL until a version that knows them writes the row.
ALTER TABLE bodies ADD COLUMN marks BLOB;
