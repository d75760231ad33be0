-- The boot of the machine that `steady` below counts from: one row, or none before the first start that knew of it.
CREATE TABLE lease_boot (
    boot BLOB NOT NULL
) STRICT;

-- When a loan or a pause ends by the steady clock: milliseconds since that boot. `time` tells people.
ALTER TABLE subscription_rows ADD COLUMN steady INTEGER;

-- What the last process knew of its clocks: one row, or none. Times are milliseconds, `wall` since 1970, `steady` since the
-- boot.
CREATE TABLE clock_record (
    boot       BLOB NOT NULL,
    wall       INTEGER NOT NULL,
    steady     INTEGER NOT NULL,
    pause_left INTEGER NOT NULL
) STRICT;
