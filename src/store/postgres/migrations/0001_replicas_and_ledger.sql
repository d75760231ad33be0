-- Tables without a schema name: the session's search_path has the schema of the settings. Numbers of kinds, states and effects:
-- src/store/postgres/ledger/rows.rs. Times are milliseconds since 1970; leases are times of the server.

-- One row for each life of a process. `until` is renewed by heartbeats; only another replica or the process itself ends it.
CREATE TABLE replicas (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name    text NOT NULL,
    version text NOT NULL,
    started timestamptz NOT NULL DEFAULT clock_timestamp(),
    until   timestamptz NOT NULL,
    ended   boolean NOT NULL DEFAULT false
);

-- One row for each connection of a life that writes: src/store/postgres/lane.rs.
CREATE TABLE lanes (
    replica bigint NOT NULL,
    lane    smallint NOT NULL,
    epoch   bigint NOT NULL DEFAULT 0,
    seq     bigint NOT NULL DEFAULT 0,
    ended   boolean NOT NULL DEFAULT false,
    PRIMARY KEY (replica, lane)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- The first statement of each transaction of a lane. It fails when the lane's epoch was raised or the transaction was done before.
CREATE FUNCTION lane_step(of_replica bigint, of_lane smallint, of_epoch bigint, wanted bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE lanes SET seq = wanted WHERE replica = of_replica AND lane = of_lane AND epoch = of_epoch AND seq = wanted - 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the lane belongs to a later connection or to nobody' USING ERRCODE = 'OG001';
    END IF;
END
$$;

-- Work that one replica does for all.
CREATE TABLE owners (
    what    text PRIMARY KEY,
    replica bigint NOT NULL,
    epoch   bigint NOT NULL DEFAULT 0,
    until   timestamptz NOT NULL
) WITH (fillfactor = 50);

-- A seller by partner_id; `account:` and the id of an account whose seller no settings told.
CREATE TABLE accounts (
    id     int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    seller text NOT NULL UNIQUE
);

CREATE SEQUENCE entry_ids;

-- No index names a column that changes while an entry is open, so that updates stay on their page.
CREATE TABLE entries (
    id              bigint PRIMARY KEY,
    -- The id of batch 0 of the same request.
    first           bigint NOT NULL,
    fence           bigint NOT NULL DEFAULT 0,
    account         int NOT NULL,
    kind            smallint NOT NULL,
    state           smallint NOT NULL,
    effect          smallint NOT NULL,
    attempts        int NOT NULL,
    batch           int NOT NULL,
    batches         int NOT NULL,
    created         bigint NOT NULL,
    updated         bigint NOT NULL,
    not_after       bigint NOT NULL,
    next            bigint,
    doubt_since     bigint,
    doubt_last_byte bigint,
    doubt_lookups   int,
    doubt_absences  int,
    doubt_last_absence bigint,
    -- Of a creation whose state holds its order number.
    number_key      bytea,
    request_key     bytea,
    -- Whether this entry leaves the request id free; the id is free when all entries of the request do.
    frees           boolean NOT NULL,
    -- 0 while the request holds its id, else `first`.
    freed           bigint NOT NULL DEFAULT 0,
    -- Of another mutation that is open, or whose outcome is owed.
    content_key     bytea,
    correlation_id  bytea NOT NULL,
    fingerprint     bytea NOT NULL,
    order_number    text NOT NULL,
    request_id      text,
    answer          bytea NOT NULL DEFAULT '',
    last_error      text NOT NULL DEFAULT '',
    resolution      text NOT NULL DEFAULT '',
    evidence        bytea,
    -- What only open entries have.
    body            bytea NOT NULL,
    snapshot        bytea NOT NULL,
    marks           bytea
) WITH (fillfactor = 60);
CREATE UNIQUE INDEX entries_by_number ON entries (account, number_key) WHERE number_key IS NOT NULL;
CREATE UNIQUE INDEX entries_by_request ON entries (account, kind, request_key, batch, freed) WHERE request_key IS NOT NULL;
CREATE INDEX entries_by_content ON entries (account, content_key) WHERE content_key IS NOT NULL;
CREATE INDEX entries_by_first ON entries (first) WHERE batches > 1;
-- Entries about an object: an order, a return, a kind of event. Creations (kind 0) are found by their number.
CREATE INDEX entries_by_object ON entries (account, order_number, kind) WHERE kind <> 0;

-- Every entry but those that succeeded. `owner` is the life that has it in hand; NULL: whoever resolves the account.
CREATE TABLE unfinished (
    id      bigint PRIMARY KEY,
    account int NOT NULL,
    state   smallint NOT NULL,
    created bigint NOT NULL,
    owner   bigint,
    next    bigint
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX unfinished_by_state ON unfinished (account, state, id);
CREATE INDEX unfinished_by_next ON unfinished (account, next) WHERE next IS NOT NULL AND owner IS NULL;
CREATE INDEX unfinished_by_owner ON unfinished (owner) WHERE owner IS NOT NULL;

-- Entries that succeeded, each replica in rows of its own; those of ended lives are added to replica 0.
CREATE TABLE counts (
    account int NOT NULL,
    replica bigint NOT NULL,
    entries bigint NOT NULL,
    PRIMARY KEY (account, replica)
) WITH (fillfactor = 50);

-- What stays of creations that succeeded.
CREATE TABLE tombstones (
    account      int NOT NULL,
    number_key   bytea NOT NULL,
    order_number text NOT NULL,
    fingerprint  bytea NOT NULL,
    answer       bytea NOT NULL,
    PRIMARY KEY (account, number_key)
);

CREATE TABLE audits (
    time  bigint NOT NULL,
    entry bigint NOT NULL,
    PRIMARY KEY (time, entry)
);

CREATE TABLE alerts (
    entry bigint NOT NULL,
    kind  smallint NOT NULL,
    time  bigint NOT NULL,
    PRIMARY KEY (entry, kind)
);

-- The key with which access tokens of webhooks are signed: one row, or none before the first was needed.
CREATE TABLE token_key (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    key bytea NOT NULL
);

-- What a process last knew of its clocks: one row, or none.
CREATE TABLE clock_record (
    one        boolean PRIMARY KEY DEFAULT true CHECK (one),
    boot       bytea NOT NULL,
    wall       bigint NOT NULL,
    steady     bigint NOT NULL,
    pause_left bigint NOT NULL
);
