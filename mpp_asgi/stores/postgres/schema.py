"""The tables and functions behind a `PostgresStore`, and how a database gets them.

What has to be atomic is one statement or one function, so that a call is one round trip and holds
no lock while it waits for us. All functions run at READ COMMITTED, where each statement in them
sees what was committed by then. They lock in one order: a charge, then the heartbeat of its owner,
then proofs by key. Nobody waits for one of these while holding a later one, so no two calls wait
for each other.

A function is never changed: processes of an older version may be running. What it does anew has a
new name, and the old one goes two versions later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpp_asgi.stores.channels import RECENT_LENGTH
from mpp_asgi.stores.contract import StoreUnavailableError

if TYPE_CHECKING:
    from mpp_asgi.stores.postgres.connection import Connection

_CHARGES = """
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

_CHANNELS = """
CREATE TABLE channel (
    id text COLLATE "C" PRIMARY KEY,
    key text NOT NULL,
    funder text NOT NULL,
    recipient text NOT NULL,
    token text NOT NULL,
    waiting_period bigint NOT NULL,
    deposited numeric(39, 0) NOT NULL,
    settled numeric(39, 0) NOT NULL,
    seen_ledger bigint NOT NULL,
    opened_at bigint NOT NULL,
    closes_at bigint,
    accepted numeric(39, 0) NOT NULL,
    signature text NOT NULL,
    published numeric(39, 0) NOT NULL,
    spent numeric(39, 0) NOT NULL,
    units bigint NOT NULL,
    settled_units bigint NOT NULL,
    status text COLLATE "C" NOT NULL CHECK (status IN ('open', 'closing', 'closed')),
    closing_amount numeric(39, 0),
    closing_signature text NOT NULL,
    used_at bigint NOT NULL,
    settled_at bigint NOT NULL,
    -- Of those that may be forgotten, so that spending writes no index.
    unused_since bigint GENERATED ALWAYS AS (CASE WHEN status = 'closed' THEN used_at END) STORED
) WITH (fillfactor = 50);
CREATE INDEX channel_by_status ON channel (status, id);
CREATE INDEX channel_unused ON channel (unused_since, id) WHERE unused_since IS NOT NULL;

CREATE TABLE lease (
    name text COLLATE "C" PRIMARY KEY,
    owner text NOT NULL,
    until bigint NOT NULL
);
"""

_LOANS_BUDGETS_AND_ANSWERS = """
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

_ENTRIES_AND_CLOCKS = """
ALTER TABLE channel ADD COLUMN recent text NOT NULL DEFAULT '';

CREATE FUNCTION spend_v2(
    _id text, _amount numeric, _signature text, _cost numeric, _units bigint, _min_delta numeric,
    _now bigint, _shown boolean, _entry text,
    OUT outcome text, OUT kept channel
) LANGUAGE plpgsql AS $$
BEGIN
    LOOP
        -- What goes well, as it mostly does, is one update.
        UPDATE channel
        SET accepted = _amount,
            signature = CASE WHEN _amount > accepted THEN _signature ELSE signature END,
            spent = spent + _cost, units = units + _units, used_at = _now,
            recent = CASE WHEN _entry = '' THEN recent
                          ELSE right(recent || '+' || _entry, RECENT_LENGTH) END
        WHERE id = _id AND status = 'open' AND closes_at IS NULL
          AND (_entry = '' OR position(_entry IN recent) = 0)
          AND (_amount = accepted
               OR _amount > accepted AND _amount >= accepted + _min_delta AND _amount <= deposited)
          AND spent + _cost <= _amount
          AND NOT (_shown AND _cost <> 0 AND _amount <= published)
        RETURNING * INTO kept;
        IF FOUND THEN
            outcome := 'spent';
            RETURN;
        END IF;

        SELECT * FROM channel WHERE id = _id INTO kept;
        outcome := CASE
            WHEN NOT FOUND THEN 'unknown'
            WHEN _entry <> '' AND position('+' || _entry IN kept.recent) > 0 THEN 'spent'
            WHEN _entry <> '' AND position('-' || _entry IN kept.recent) > 0 THEN 'void'
            WHEN kept.status = 'closed' THEN 'closed'
            WHEN kept.status = 'closing' OR kept.closes_at IS NOT NULL THEN 'closing'
            WHEN _amount < kept.accepted THEN 'lower'
            WHEN _amount > kept.accepted AND _amount < kept.accepted + _min_delta
                THEN 'delta-too-small'
            WHEN _amount > kept.accepted AND _amount > kept.deposited THEN 'exceeds-deposit'
            WHEN kept.spent + _cost > _amount THEN 'insufficient'
            WHEN _shown AND _cost <> 0 AND _amount <= kept.published THEN 'published'
        END;
        CONTINUE WHEN outcome IS NULL;  -- by now it would go well
        IF outcome NOT IN ('insufficient', 'published') OR _amount = kept.accepted THEN
            RETURN;
        END IF;
        -- The voucher is accepted all the same, unless something has changed meanwhile.
        UPDATE channel SET accepted = _amount, signature = _signature, used_at = _now
        WHERE id = _id AND status = 'open' AND closes_at IS NULL AND accepted = kept.accepted
          AND deposited = kept.deposited AND spent = kept.spent AND published = kept.published
        RETURNING * INTO kept;
        IF FOUND THEN
            RETURN;
        END IF;
    END LOOP;
END
$$;

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

MIGRATIONS: tuple[str, ...] = (
    _CHARGES + _CHANNELS + _LOANS_BUDGETS_AND_ANSWERS,
    _ENTRIES_AND_CLOCKS.replace("RECENT_LENGTH", str(RECENT_LENGTH)),
)
"""What takes a database from each version to the next. Only ever added to."""

MIGRATION_LOCK = 0x4D50_5041_0001
"""The advisory lock of whoever migrates."""

_TABLES = """
    SELECT to_regnamespace(quote_ident($1)) IS NOT NULL AS exists, coalesce(
        array_agg(relname::text) FILTER (WHERE relkind IN ('r', 'p', 'v', 'm', 'f')), '{}'
    ) AS tables
    FROM pg_class WHERE relnamespace = to_regnamespace(quote_ident($1))
"""
_VERSION = "SELECT number FROM schema_version"
_VERSION_TABLE = """
    CREATE TABLE schema_version (one boolean PRIMARY KEY CHECK (one), number integer NOT NULL)
"""
_SET_VERSION = """
    INSERT INTO schema_version (one, number) VALUES (true, $1)
    ON CONFLICT (one) DO UPDATE SET number = excluded.number
"""


async def prepare(connection: Connection, schema: str) -> None:
    """Make the schema or bring it up to date, where needed: one process at a time.

    Args:
        connection: with ``schema`` as its search path.
        schema: a plain identifier.

    Raises:
        StoreUnavailableError: it is another program's, or newer than this code.
    """
    if await _version(connection, schema) == len(MIGRATIONS):
        return  # with no lock, and no right to create anything
    async with connection.transaction():
        await connection.execute("SET LOCAL statement_timeout = 0")  # whoever opens has a deadline
        await connection.execute("SELECT pg_advisory_xact_lock($1)", MIGRATION_LOCK)
        version = await _version(connection, schema)
        if version is None:
            await connection.execute(f'CREATE SCHEMA "{schema}"')
        if not version:
            await connection.execute(_VERSION_TABLE)
        for script in MIGRATIONS[version or 0 :]:
            await connection.execute(script)
        await connection.execute(_SET_VERSION, len(MIGRATIONS))


async def _version(connection: Connection, schema: str) -> int | None:
    """Which one the schema is at; 0: it is empty, ``None``: it is not there."""
    found = await connection.fetchrow(_TABLES, schema)
    if found is None or not found["exists"]:
        return None
    if not found["tables"]:
        return 0
    if "schema_version" not in found["tables"]:
        raise StoreUnavailableError(
            f'Cannot open the PostgreSQL store: its schema "{schema}" is another program\'s; name '
            "another one with ?schema=... at the end of its URL."
        )
    version = int(await connection.fetchval(_VERSION))
    if version > len(MIGRATIONS):
        raise StoreUnavailableError(
            f"Cannot open the PostgreSQL store: a newer mpp-asgi wrote it (schema {version}, this "
            f"one knows {len(MIGRATIONS)}); upgrade mpp-asgi or use another database."
        )
    return version
