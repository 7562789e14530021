"""How many jobs at once a destination may have after its breaker closed."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("destination_states", sa.Column("places", sa.Integer(), nullable=True))
