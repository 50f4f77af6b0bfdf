"""What a PostgreSQL database keeps of channels: tables, and the functions that change them."""

from __future__ import annotations

from mpp_asgi.stores.channels import RECENT_LENGTH

CHANNELS = """
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
"""Channels and leases."""

ENTRIES = """
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
""".replace("RECENT_LENGTH", str(RECENT_LENGTH))
"""What each channel remembers of its spends, and how it is spent from."""
