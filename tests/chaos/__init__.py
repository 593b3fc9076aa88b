"""Many uploads while everything that can die does: the server, its ffmpegs, Postgres, clients."""
