"""Users and records.

Revision ID: 0001
Revises:
Create Date: 2026-11-21
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("token_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "char_length(name) BETWEEN 1 AND 250", name=op.f("ck_users_name_length")
        ),
        sa.CheckConstraint(
            "octet_length(token_sha256) = 32", name=op.f("ck_users_token_sha256_length")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("name", name=op.f("uq_users_name")),
        sa.UniqueConstraint("token_sha256", name=op.f("uq_users_token_sha256")),
    )
    op.create_table(
        "records",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("uploader_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("duration", sa.Double(), nullable=False),
        sa.Column("sample_rate", sa.Integer(), nullable=False),
        sa.Column("channels", sa.SmallInteger(), nullable=False),
        sa.Column("bitrate", sa.Integer(), nullable=False),
        sa.Column("samples", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("source_format", sa.Text(), nullable=False),
        sa.Column("source_sample_rate", sa.Integer(), nullable=False),
        sa.Column("source_channels", sa.SmallInteger(), nullable=False),
        sa.Column("source_samples", sa.BigInteger(), nullable=False),
        sa.Column("source_size", sa.BigInteger(), nullable=False),
        sa.Column("source_sha256", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint(
            "char_length(name) BETWEEN 1 AND 250", name=op.f("ck_records_name_length")
        ),
        sa.CheckConstraint(
            "samples > 0 AND source_samples > 0", name=op.f("ck_records_samples_positive")
        ),
        sa.CheckConstraint("size > 0 AND source_size > 0", name=op.f("ck_records_sizes_positive")),
        sa.CheckConstraint(
            "octet_length(sha256) = 32 AND octet_length(source_sha256) = 32",
            name=op.f("ck_records_sha256_length"),
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_records_user_id_users")),
        sa.ForeignKeyConstraint(
            ["uploader_id"], ["users.id"], name=op.f("fk_records_uploader_id_users")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_records")),
        sa.UniqueConstraint("user_id", "name", name=op.f("uq_records_user_id_name")),
    )


def downgrade() -> None:
    op.drop_table("records")
    op.drop_table("users")
