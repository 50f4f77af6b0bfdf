"""What a PostgreSQL database keeps of charges: tables, and the functions that change them."""

from __future__ import annotations

CHARGES = """
CREATE TABLE charge (
    id text COLLATE "C" PRIMARY KEY,
    credential text NOT NULL,
    state text NOT NULL CHECK (state IN ('claimed', 'submitted', 'settled', 'delivered', 'failed')),
    keep_until bigint NOT NULL,
    owner text,
    reference text,
    envelope text,
    valid_until bigint,
    payer text,
    receipt text,
    problem text,
    -- As long as no index sees a difference, an update writes no index.
    unsettled boolean NOT NULL GENERATED ALWAYS AS (state IN ('claimed', 'submitted')) STORED
) WITH (fillfactor = 80);
CREATE INDEX charge_by_expiry ON charge (keep_until);
CREATE INDEX charge_unsettled ON charge (keep_until, id) WHERE unsettled;

-- No foreign key: it would lock the charge once more for every proof. Proofs come and go under the
-- lock on their charge.
CREATE TABLE proof (
    key text COLLATE "C" PRIMARY KEY,
    charge_id text COLLATE "C" NOT NULL
);
CREATE INDEX proof_by_charge ON proof (charge_id);

CREATE TABLE heartbeat (owner text COLLATE "C" PRIMARY KEY, alive_until bigint NOT NULL);

CREATE TABLE secret (one boolean PRIMARY KEY CHECK (one), value text NOT NULL);

-- Whose heartbeat is being written, or judged to be missing. A row that is not there cannot be
-- locked, so its name is.
CREATE FUNCTION heartbeat_lock_v1(_owner text) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT hashtextextended('mpp-asgi heartbeat ' || _owner, 0)
$$;

CREATE FUNCTION heartbeat_v1(_owner text, _alive_until bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(heartbeat_lock_v1(_owner));
    INSERT INTO heartbeat (owner, alive_until) VALUES (_owner, _alive_until)
    ON CONFLICT (owner) DO UPDATE SET alive_until = excluded.alive_until;
END
$$;

-- Add proofs (sorted, each once) to a charge that the caller has locked, or none of them: false if
-- one of them is another's.
CREATE FUNCTION add_proofs_v1(_id text, _proofs text[]) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    added text[];
    own bigint;
BEGIN
    -- Waits for whoever is about to add or delete the same key.
    WITH new AS (
        INSERT INTO proof (key, charge_id) SELECT key, _id FROM unnest(_proofs) AS key
        ON CONFLICT (key) DO NOTHING RETURNING key
    )
    SELECT coalesce(array_agg(key), '{}') FROM new INTO added;
    IF cardinality(added) = cardinality(_proofs) THEN
        RETURN true;
    END IF;
    SELECT count(*) FROM proof WHERE key = ANY (_proofs) AND charge_id = _id INTO own;
    IF own = cardinality(_proofs) THEN
        RETURN true;
    END IF;
    DELETE FROM proof WHERE key = ANY (added);
    RETURN false;
END
$$;

CREATE FUNCTION ruling_v1(kept charge, _credential text, _owner text, owner_lives boolean)
RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN kept.credential <> _credential THEN 'conflict'
        WHEN kept.state IN ('delivered', 'failed') THEN 'over'
        WHEN owner_lives AND kept.owner <> _owner THEN 'busy'
        ELSE 'taken'
    END
$$;

CREATE FUNCTION claim_v1(
    _id text, _credential text, _state text, _keep_until bigint, _owner text, _reference text,
    _envelope text, _valid_until bigint, _payer text, _receipt text, _problem text,
    _proofs text[], _now bigint,
    OUT outcome text, OUT kept charge
) LANGUAGE plpgsql AS $$
DECLARE
    seen record;
    owner_lives boolean;
BEGIN
    LOOP
        -- What is refused as of one moment is refused without a lock and without a write.
        SELECT EXISTS (SELECT FROM proof WHERE key = ANY (_proofs) AND charge_id <> _id) AS used,
               charge, coalesce(heartbeat.alive_until > _now, false) AS owner_lives
        FROM (VALUES (_id)) AS wanted (id)
            LEFT JOIN charge ON charge.id = wanted.id
            LEFT JOIN heartbeat ON heartbeat.owner = charge.owner
        INTO seen;
        IF seen.used THEN
            outcome := 'conflict';
            RETURN;
        END IF;
        kept := seen.charge;

        IF kept.id IS NULL THEN
            INSERT INTO charge (id, credential, state, keep_until, owner, reference, envelope,
                                valid_until, payer, receipt, problem)
            VALUES (_id, _credential, _state, _keep_until, _owner, _reference, _envelope,
                    _valid_until, _payer, _receipt, _problem)
            ON CONFLICT (id) DO NOTHING RETURNING * INTO kept;
            CONTINUE WHEN NOT FOUND;
            outcome := 'new';
            IF NOT add_proofs_v1(_id, _proofs) THEN
                DELETE FROM charge WHERE id = _id;
                outcome := 'conflict';
                kept := NULL;
            END IF;
            RETURN;
        END IF;

        outcome := ruling_v1(kept, _credential, _owner, seen.owner_lives);
        IF outcome <> 'taken' THEN
            RETURN;
        END IF;
        SELECT * FROM charge WHERE id = _id FOR UPDATE INTO kept;
        CONTINUE WHEN NOT FOUND;
        owner_lives := false;
        IF kept.owner <> _owner THEN
            -- Once we have said that its owner is dead, a heartbeat has to come too late.
            PERFORM pg_advisory_xact_lock_shared(heartbeat_lock_v1(kept.owner));
            owner_lives := EXISTS (
                SELECT FROM heartbeat WHERE owner = kept.owner AND alive_until > _now
            );
        END IF;
        outcome := ruling_v1(kept, _credential, _owner, owner_lives);
        IF outcome = 'taken' THEN
            IF NOT add_proofs_v1(_id, _proofs) THEN
                outcome := 'conflict';
                kept := NULL;
            ELSIF kept.owner IS DISTINCT FROM _owner THEN
                UPDATE charge SET owner = _owner WHERE id = _id;
                kept.owner := _owner;
            END IF;
        END IF;
        RETURN;
    END LOOP;
END
$$;

CREATE FUNCTION write_v1(
    _id text, _credential text, _state text, _keep_until bigint, _owner text, _reference text,
    _envelope text, _valid_until bigint, _payer text, _receipt text, _problem text,
    _proofs text[], _writer text
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM charge WHERE id = _id AND owner = _writer FOR UPDATE;
    IF NOT FOUND OR NOT add_proofs_v1(_id, _proofs) THEN
        RETURN false;
    END IF;
    UPDATE charge
    SET credential = _credential, state = _state, keep_until = _keep_until, owner = _owner,
        reference = _reference, envelope = _envelope, valid_until = _valid_until, payer = _payer,
        receipt = _receipt, problem = _problem
    WHERE id = _id;
    RETURN true;
END
$$;

-- In two statements: the second sees proofs that were added while the first waited for the charge.
CREATE FUNCTION release_v1(_id text, _owner text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM charge WHERE id = _id AND owner = _owner AND state = 'claimed';
    IF FOUND THEN
        DELETE FROM proof WHERE charge_id = _id;
    END IF;
END
$$;
"""
"""Charges with their proofs, heartbeats, the secret."""
