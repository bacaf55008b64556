-- Whose Request it is, as long as they have it open. A body that cannot be read
-- is left for its readers to complain of.
ALTER TABLE requests ADD COLUMN holder TEXT; -- users.name; NULL unless pending, approved or open
UPDATE requests SET
  holder = iif(body ->> '$.state' IN ('pending', 'approved', 'open'), nullif(body ->> '$.user', ''), NULL)
WHERE json_valid(body);
CREATE INDEX requests_holder ON requests (holder) WHERE holder IS NOT NULL;

-- What keeps ended Sessions out of an IAM role.
CREATE TABLE fences (
  role_arn TEXT    NOT NULL PRIMARY KEY,
  version  INTEGER NOT NULL,
  body     TEXT    NOT NULL
) STRICT;
