-- Items are JSON documents in body, guarded by version. The columns beside them
-- repeat what is looked up by. Times are Unix milliseconds.

CREATE TABLE requests (
  id      TEXT    NOT NULL PRIMARY KEY,
  version INTEGER NOT NULL,
  due     INTEGER,
  body    TEXT    NOT NULL
) STRICT;
CREATE INDEX requests_due ON requests (due, id) WHERE due IS NOT NULL;

CREATE TABLE users (
  name    TEXT    NOT NULL PRIMARY KEY,
  version INTEGER NOT NULL,
  email   TEXT,             -- NULL for none and for tombstones
  due     INTEGER,
  body    TEXT    NOT NULL
) STRICT;
CREATE INDEX users_email ON users (email, name) WHERE email IS NOT NULL;
CREATE INDEX users_due ON users (due, name) WHERE due IS NOT NULL;

CREATE TABLE identities (
  team    TEXT    NOT NULL,
  person  TEXT    NOT NULL,
  version INTEGER NOT NULL,
  user    TEXT    NOT NULL, -- users.name; it need not exist
  body    TEXT    NOT NULL,
  PRIMARY KEY (team, person)
) STRICT;

-- Policy documents by the digest of their content, compressed with gzip.
CREATE TABLE documents (
  digest TEXT NOT NULL PRIMARY KEY,
  body   BLOB NOT NULL
) STRICT;

-- One row a version of the Policy; the newest is the head. revision guards the
-- row itself, whose Trail changes after the version is made.
CREATE TABLE policies (
  version  INTEGER NOT NULL PRIMARY KEY,
  digest   TEXT    NOT NULL REFERENCES documents (digest),
  revision INTEGER NOT NULL,
  due      INTEGER,
  body     TEXT    NOT NULL
) STRICT;
CREATE INDEX policies_due ON policies (due, version) WHERE due IS NOT NULL;

CREATE TABLE events (
  id            TEXT    NOT NULL PRIMARY KEY,
  time          INTEGER NOT NULL,
  request_id    TEXT,
  access_key_id TEXT,
  actor         TEXT,
  role          TEXT,
  body          TEXT    NOT NULL
) STRICT;
CREATE INDEX events_time ON events (time);
CREATE INDEX events_request ON events (request_id, id) WHERE request_id IS NOT NULL;
CREATE INDEX events_access_key ON events (access_key_id, id) WHERE access_key_id IS NOT NULL;
CREATE INDEX events_actor ON events (actor, id) WHERE actor IS NOT NULL;
CREATE INDEX events_role ON events (role, id) WHERE role IS NOT NULL;

-- Jobs in the order in which they came. visible is when the next worker may
-- claim one.
CREATE TABLE jobs (
  seq      INTEGER PRIMARY KEY AUTOINCREMENT,
  id       TEXT    NOT NULL UNIQUE,
  visible  INTEGER NOT NULL,
  claims   INTEGER NOT NULL,
  deadline INTEGER NOT NULL,
  body     BLOB    NOT NULL
) STRICT;

-- The audit trail only grows, and a name once used stays used.
CREATE TRIGGER events_keep BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'events are never deleted'); END;
CREATE TRIGGER events_same BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;
CREATE TRIGGER users_keep BEFORE DELETE ON users
BEGIN SELECT RAISE(ABORT, 'users are never deleted'); END;
