"""What managing a library needs: usage per user, an order to page by, uploaders that may go.

Revision ID: 0002
Revises: 0001
Create Date: 2026-11-21
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Statement by statement, so that rows made in bulk cost one update of their user. A record's
# size, duration and user never change, so there is nothing to count in an UPDATE.
_COUNT_RECORDS = """
CREATE FUNCTION count_records() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    sign integer := CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END;
BEGIN
    UPDATE users SET
        records = users.records + sign * changed.records,
        size = users.size + sign * changed.size,
        duration = users.duration + sign * changed.duration
    FROM (
        SELECT user_id, count(*) AS records, sum(size) AS size, sum(duration::numeric) AS duration
        FROM changed_records GROUP BY user_id
    ) AS changed
    WHERE users.id = changed.user_id;
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    # Both at once, in the order in which an upload takes them: an older umusic may be running.
    op.execute("LOCK TABLE records, users IN ACCESS EXCLUSIVE MODE")
    for column in ("records", "size"):
        op.add_column(
            "users", sa.Column(column, sa.BigInteger(), server_default="0", nullable=False)
        )
    op.add_column("users", sa.Column("duration", sa.Numeric(), server_default="0", nullable=False))
    op.execute(
        "UPDATE users SET records = sums.records, size = sums.size, duration = sums.duration "
        "FROM (SELECT user_id, count(*) AS records, sum(size) AS size, "
        "sum(duration::numeric) AS duration FROM records GROUP BY user_id) AS sums "
        "WHERE users.id = sums.user_id"
    )
    op.execute(_COUNT_RECORDS)
    for event, rows in (("INSERT", "NEW"), ("DELETE", "OLD")):
        op.execute(
            f"CREATE TRIGGER records_counted_on_{event.lower()} AFTER {event} ON records "
            f"REFERENCING {rows} TABLE AS changed_records "
            "FOR EACH STATEMENT EXECUTE FUNCTION count_records()"
        )

    op.create_index(
        op.f("ix_records_user_id_created_at_id"), "records", ["user_id", "created_at", "id"]
    )

    op.drop_constraint(op.f("fk_records_uploader_id_users"), "records", type_="foreignkey")
    op.alter_column("records", "uploader_id", nullable=True)
    op.create_foreign_key(
        op.f("fk_records_uploader_id_users"),
        "records",
        "users",
        ["uploader_id"],
        ["id"],
        ondelete="SET NULL",
    )
    op.create_index(op.f("ix_records_uploader_id"), "records", ["uploader_id"])


def downgrade() -> None:
    op.execute("LOCK TABLE records, users IN ACCESS EXCLUSIVE MODE")
    op.drop_index(op.f("ix_records_uploader_id"), "records")
    op.drop_constraint(op.f("fk_records_uploader_id_users"), "records", type_="foreignkey")
    op.execute("UPDATE records SET uploader_id = user_id WHERE uploader_id IS NULL")
    op.alter_column("records", "uploader_id", nullable=False)
    op.create_foreign_key(
        op.f("fk_records_uploader_id_users"), "records", "users", ["uploader_id"], ["id"]
    )
    op.drop_index(op.f("ix_records_user_id_created_at_id"), "records")
    op.execute("DROP TRIGGER records_counted_on_insert ON records")
    op.execute("DROP TRIGGER records_counted_on_delete ON records")
    op.execute("DROP FUNCTION count_records()")
    for column in ("records", "size", "duration"):
        op.drop_column("users", column)
