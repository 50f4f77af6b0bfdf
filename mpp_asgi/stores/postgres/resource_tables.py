"""What a PostgreSQL database keeps of loans, budgets and answers: tables, and the functions that
change them."""

from __future__ import annotations

RESOURCES = """
CREATE TABLE loan (
    account text COLLATE "C" PRIMARY KEY,
    fence bigint NOT NULL,
    free_at bigint NOT NULL,
    sequence bigint,
    returned bigint NOT NULL
);
CREATE SEQUENCE loan_turn;

CREATE TABLE budget (
    name text COLLATE "C" PRIMARY KEY,
    drawn numeric NOT NULL,
    keep_until bigint NOT NULL
) WITH (fillfactor = 50);
CREATE INDEX budget_by_expiry ON budget (keep_until);

-- Keep others from the budgets of these names, there or not, until the transaction ends. In one
-- order; a purge holds none of them and waits for nobody.
CREATE FUNCTION lock_budgets_v1(_names text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(keys.key) FROM (
        SELECT DISTINCT hashtextextended('mpp-asgi budget ' || name, 0) AS key
        FROM unnest(_names) AS name ORDER BY key
    ) AS keys;
END
$$;

CREATE FUNCTION exceeded_v1(_names text[], _limits numeric[], _amount numeric)
RETURNS text LANGUAGE sql AS $$
    SELECT wanted.name
    FROM unnest(_names, _limits) WITH ORDINALITY AS wanted (name, most, place)
        LEFT JOIN budget ON budget.name = wanted.name
    WHERE coalesce(budget.drawn, 0) + _amount > wanted.most
    ORDER BY wanted.place LIMIT 1
$$;

CREATE FUNCTION draw_v1(_names text[], _limits numeric[], _keep_until bigint[], _amount numeric)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    exceeded text := exceeded_v1(_names, _limits, _amount);
BEGIN
    IF exceeded IS NOT NULL THEN
        RETURN exceeded;  -- without a lock
    END IF;
    PERFORM lock_budgets_v1(_names);
    exceeded := exceeded_v1(_names, _limits, _amount);
    IF exceeded IS NULL THEN
        INSERT INTO budget (name, drawn, keep_until)
        SELECT name, _amount, keep FROM unnest(_names, _keep_until) AS wanted (name, keep)
        ON CONFLICT (name) DO UPDATE
        SET drawn = budget.drawn + excluded.drawn,
            keep_until = greatest(budget.keep_until, excluded.keep_until);
    END IF;
    RETURN exceeded;
END
$$;

CREATE FUNCTION put_back_v1(_names text[], _amount numeric) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM lock_budgets_v1(_names);
    UPDATE budget SET drawn = greatest(0, drawn - _amount) WHERE name = ANY (_names);
END
$$;

CREATE TABLE answer (
    key text COLLATE "C" PRIMARY KEY,
    request text NOT NULL,
    content bytea NOT NULL,
    keep_until bigint NOT NULL
);
CREATE INDEX answer_by_expiry ON answer (keep_until);

-- Whoever is at work on one of these keeps it for now.
CREATE FUNCTION purge_v1(_now bigint, _limit integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    ids text[];
    gone integer;
    also integer;
BEGIN
    ids := ARRAY (
        SELECT id FROM charge WHERE keep_until <= _now ORDER BY keep_until LIMIT _limit
        FOR UPDATE SKIP LOCKED
    );
    DELETE FROM charge WHERE id = ANY (ids);
    GET DIAGNOSTICS gone = ROW_COUNT;
    DELETE FROM proof WHERE charge_id = ANY (ids);
    DELETE FROM budget WHERE name = ANY (ARRAY (
        SELECT name FROM budget WHERE keep_until <= _now ORDER BY keep_until LIMIT _limit - gone
        FOR UPDATE SKIP LOCKED
    ));
    GET DIAGNOSTICS also = ROW_COUNT;
    gone := gone + also;
    DELETE FROM answer WHERE key = ANY (ARRAY (
        SELECT key FROM answer WHERE keep_until <= _now ORDER BY keep_until LIMIT _limit - gone
        FOR UPDATE SKIP LOCKED
    ));
    GET DIAGNOSTICS also = ROW_COUNT;
    gone := gone + also;
    -- There are as many as there are processes and jobs.
    DELETE FROM heartbeat WHERE owner = ANY (ARRAY (
        SELECT owner FROM heartbeat WHERE alive_until <= _now FOR UPDATE SKIP LOCKED
    ));
    DELETE FROM lease WHERE name = ANY (ARRAY (
        SELECT name FROM lease WHERE until <= _now FOR UPDATE SKIP LOCKED
    ));
    RETURN gone;
END
$$;
"""
"""Loans, budgets and answers; purging them, and charges with them."""

BORROWING = """
CREATE FUNCTION borrow_v2(
    _accounts text[], _until bigint, _now bigint, _latest bigint,
    OUT account text, OUT fence bigint, OUT sequence bigint
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    best record;
BEGIN
    -- Whoever borrows at the same time takes another one, without waiting.
    SELECT loan.account, loan.sequence FROM loan
    WHERE loan.account = ANY (_accounts) AND loan.free_at NOT BETWEEN _now + 1 AND _latest
      AND loan.returned > 0
    ORDER BY loan.returned DESC LIMIT 1 FOR UPDATE SKIP LOCKED INTO best;
    IF FOUND THEN
        UPDATE loan SET fence = nextval('loan_turn'), free_at = _until, sequence = NULL,
                        returned = 0
        WHERE loan.account = best.account
        RETURNING loan.account, loan.fence INTO account, fence;
        sequence := best.sequence;
        RETURN;
    END IF;
    LOOP
        SELECT wanted.account, loan.fence, loan.sequence, loan.returned
        FROM unnest(_accounts) WITH ORDINALITY AS wanted (account, place)
            LEFT JOIN loan ON loan.account = wanted.account
        WHERE loan.account IS NULL OR loan.free_at NOT BETWEEN _now + 1 AND _latest
        ORDER BY coalesce(loan.returned, 0) DESC, wanted.place LIMIT 1 INTO best;
        IF NOT FOUND THEN
            RETURN;
        END IF;
        IF best.fence IS NULL THEN
            INSERT INTO loan (account, fence, free_at, sequence, returned)
            VALUES (best.account, nextval('loan_turn'), _until, NULL, 0)
            ON CONFLICT (account) DO NOTHING
            RETURNING loan.account, loan.fence INTO account, fence;
        ELSE
            UPDATE loan SET fence = nextval('loan_turn'), free_at = _until, sequence = NULL,
                            returned = 0
            WHERE loan.account = best.account AND loan.fence = best.fence
              AND loan.returned = best.returned
              AND loan.free_at NOT BETWEEN _now + 1 AND _latest
            RETURNING loan.account, loan.fence INTO account, fence;
        END IF;
        IF FOUND THEN
            sequence := best.sequence;
            RETURN;
        END IF;
    END LOOP;
END
$$;
"""
"""How an account is lent."""
