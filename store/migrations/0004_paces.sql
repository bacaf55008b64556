-- How long people took of late to answer what was asked of a role.
CREATE TABLE paces (
  role    TEXT    NOT NULL PRIMARY KEY,
  version INTEGER NOT NULL,
  body    TEXT    NOT NULL
) STRICT;
