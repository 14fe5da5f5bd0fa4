"""The whole first schema, as plain SQL beside this file."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Runs 0001_initial.sql through the driver itself: colons and percent signs stay what they are."""
    script = Path(__file__).with_suffix(".sql").read_text()
    connection = op.get_bind().connection.driver_connection
    assert connection is not None
    connection.execute(script)
