-- When a lease was given, in milliseconds since the boot in lease_boot. A lease that an earlier version gave counts from the boot: no
-- stream keeps it for long.
ALTER TABLE subscription_rows ADD COLUMN since INTEGER;
