"""The store of the catalogue: records, revisions, and the SQL that keeps them."""
