-- Who a caller is, is looked up by key for every command. Without a rowid, a
-- look-up reads one tree and not two, which counts where there are many.

CREATE TABLE users_by_key (
  name    TEXT    NOT NULL PRIMARY KEY,
  version INTEGER NOT NULL,
  email   TEXT,             -- NULL for none and for tombstones
  owner   TEXT,             -- users.name, of applications; it need not exist
  team    TEXT,             -- identities.team; NULL for none
  person  TEXT,             -- identities.person
  due     INTEGER,
  body    TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO users_by_key SELECT name, version, email, owner, team, person, due, body FROM users;
DROP TABLE users;
ALTER TABLE users_by_key RENAME TO users;
CREATE INDEX users_email ON users (email, name) WHERE email IS NOT NULL;
CREATE INDEX users_due ON users (due, name) WHERE due IS NOT NULL;
CREATE TRIGGER users_keep BEFORE DELETE ON users
BEGIN SELECT RAISE(ABORT, 'users are never deleted'); END;

CREATE TABLE identities_by_key (
  team    TEXT    NOT NULL,
  person  TEXT    NOT NULL,
  version INTEGER NOT NULL,
  user    TEXT    NOT NULL, -- users.name; it need not exist
  body    TEXT    NOT NULL,
  PRIMARY KEY (team, person)
) STRICT, WITHOUT ROWID;
INSERT INTO identities_by_key SELECT team, person, version, user, body FROM identities;
DROP TABLE identities;
ALTER TABLE identities_by_key RENAME TO identities;
