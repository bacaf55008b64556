-- What is read along with a User: an application's owner, and the Identity that
-- the User is bound to. A body that cannot be read is left for its readers to
-- complain of.
ALTER TABLE users ADD COLUMN owner  TEXT; -- users.name, of applications; it need not exist
ALTER TABLE users ADD COLUMN team   TEXT; -- identities.team; NULL for none
ALTER TABLE users ADD COLUMN person TEXT; -- identities.person
UPDATE users SET
  owner  = iif(body ->> '$.is_app', body ->> '$.owner', NULL),
  team   = body ->> '$.slack.team',
  person = body ->> '$.slack.user'
WHERE json_valid(body);

-- Whose Token has an ID: the User may have it yet, or not.
CREATE TABLE tokens (
  id   TEXT NOT NULL PRIMARY KEY,
  user TEXT NOT NULL -- users.name; it need not exist
) STRICT;

CREATE TABLE proposals (
  id      TEXT    NOT NULL PRIMARY KEY,
  version INTEGER NOT NULL,
  due     INTEGER,
  body    TEXT    NOT NULL
) STRICT;
CREATE INDEX proposals_due ON proposals (due, id) WHERE due IS NOT NULL;

-- The Token of an ID is one User's for good.
CREATE TRIGGER tokens_keep BEFORE DELETE ON tokens
BEGIN SELECT RAISE(ABORT, 'tokens are never deleted'); END;
CREATE TRIGGER tokens_same BEFORE UPDATE ON tokens WHEN NEW.id <> OLD.id OR NEW.user <> OLD.user
BEGIN SELECT RAISE(ABORT, 'tokens are never changed'); END;
