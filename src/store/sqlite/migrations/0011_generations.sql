-- Generations of subscriptions below this are used; none is used twice, so that a lease of a subscription that was deleted fits
-- no later one of its name. How far earlier ones had come is not known: the number begins beyond what they can have reached.
INSERT INTO numbers
    SELECT 'next_generation', iif(value = 1, 1, 1000000 + (SELECT coalesce(max(generation), 0) FROM subscriptions))
    FROM numbers WHERE name = 'next_subscription';
