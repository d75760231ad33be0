-- The key with which access tokens of webhooks are signed: one row, or none before the first was needed.
CREATE TABLE token_key (
    key BLOB NOT NULL
) STRICT;
