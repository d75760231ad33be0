-- The latest time of receipt in each finished span of a log (1,024 positions: src/store/sqlite/feed/memory.rs). Times of receipt do
-- not rise with positions: deliveries overtake each other, clocks are set, and a body from quarantine comes late. A reader who
-- starts at a time starts before the first event of that time or later, which is in the first span whose latest time is not
-- before it.
DROP TABLE spans;
CREATE TABLE spans (
    span   INTEGER PRIMARY KEY,
    latest INTEGER NOT NULL
) STRICT;
INSERT INTO spans SELECT seq / 1024 AS span, max(received) FROM events
    GROUP BY span HAVING span < (SELECT max(seq) / 1024 FROM events);

DROP TABLE update_spans;
CREATE TABLE update_spans (
    span   INTEGER PRIMARY KEY,
    latest INTEGER NOT NULL
) STRICT;
INSERT INTO update_spans SELECT seq / 1024 AS span, max(received) FROM updates
    GROUP BY span HAVING span < (SELECT max(seq) / 1024 FROM updates);
