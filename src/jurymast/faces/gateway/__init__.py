"""A door for other programs: the vendors' own APIs, answered by whoever is well."""
