"""The SQL of the table of revocations, alike for the ORM and for plain SQL.

Arguments are numbered as PostgreSQL numbers them; times are in seconds since 1970.
"""

KEPT = 100_000
"""Newest revocations that are never forgotten, in the table and in a worker's memory, whatever a clock says."""

PAGE = 10_000
"""Rows of one answer when a worker reads all of them."""

_PRUNE = f"""
DELETE FROM revocation WHERE position IN (
    SELECT position FROM revocation
    WHERE expires_at < now() - interval '7 days'
        AND position <= (SELECT max(position) FROM revocation) - {KEPT}
    ORDER BY expires_at LIMIT 100 FOR UPDATE SKIP LOCKED
)"""  # noqa: S608  (a number of our own)

# The condition, since a conflict would use up a position: a dead token presented again and again would
# push others out of the newest.
END_TOKENS = f"""
WITH pruned AS ({_PRUNE})
INSERT INTO revocation (key, kind, expires_at)
SELECT new.key, new.kind, to_timestamp(new.expires_at)
FROM unnest(CAST($1 AS text[]), CAST($2 AS text[]), CAST($3 AS float8[])) AS new (key, kind, expires_at)
WHERE NOT EXISTS (SELECT FROM revocation WHERE revocation.key = new.key)
ON CONFLICT (key) DO NOTHING
RETURNING key
"""  # noqa: S608  (a statement of our own)
"""Keys, kinds, expiries of tokens -> the keys that are new."""

OUTDATE_USER = """
INSERT INTO revocation (key, kind, version, expires_at)
SELECT CAST(id AS text), 'user', token_version, to_timestamp(CAST($2 AS float8))
FROM user_account WHERE id = CAST($1 AS uuid)
ON CONFLICT (key) DO UPDATE
SET version = EXCLUDED.version, expires_at = EXCLUDED.expires_at, position = EXCLUDED.position
RETURNING version
"""
"""User, expiry of the tokens that are dead now -> the user's version; in the transaction that raised it."""

IN_MEMORY = f"""
SELECT position, key, kind, version, CAST(extract(epoch FROM expires_at) AS float8) AS expires_at
FROM revocation
WHERE kind <> 'refresh' AND position > $1
    AND (expires_at > to_timestamp(CAST($2 AS float8))
        OR position > (SELECT max(position) FROM revocation) - {KEPT})
ORDER BY position LIMIT {PAGE}
"""  # noqa: S608  (numbers of our own)
"""Position and time after which -> one page."""

IS_LIVE = """
SELECT id FROM user_account
WHERE id = $1 AND token_version = CAST($2 AS int) AND NOT EXISTS (SELECT FROM revocation WHERE key = $3)
"""
"""User, version and jti of a token -> a row if it is live."""
