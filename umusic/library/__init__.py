"""All that is kept: users, records and their files. No HTTP."""
