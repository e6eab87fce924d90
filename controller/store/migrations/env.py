"""What Alembic runs around the migrations: on the connection it is handed, in that connection's transaction.

Without a connection it prints the SQL for a person who may change the database by hand.
"""

from __future__ import annotations

from alembic import context

connection = context.config.attributes.get("connection")
if connection is None:
    context.configure(dialect_name=context.config.get_main_option("dialect"), as_sql=True)
else:
    context.configure(connection=connection)
with context.begin_transaction():
    context.run_migrations()
