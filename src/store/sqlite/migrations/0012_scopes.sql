-- The accounts that a subscription means, by name with spaces between them, or * for every account: no row of it is of another.
-- Not known of subscriptions that earlier versions made: the first one who uses such a subscription finds out.
ALTER TABLE subscriptions ADD COLUMN scope TEXT;
