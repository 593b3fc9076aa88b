"""A real S3 store for the tests: one-node Ceph with its gateway, from Debian's packages (`up`)."""
